"""What the pack's pages in the browser may ask for: grids, cells, films and clips. Nothing can be changed here.

Files are read and made in threads; the host's loop only waits for them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..s2v_core.errors import S2VError, SettingsError, StoreError
from ..s2v_core.sweeps.shelf import CELLS
from . import host, live, server

PATH = "/skeleton2video"
FILM_HEADER = "X-Skeleton2Video-Film"
# Films and clips are decoded: more at once would take the processor from the rendering.
_makers = ThreadPoolExecutor(2, thread_name_prefix="skeleton2video")
# What never changes under its address, which holds the clip's version.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}
Asked = Mapping[str, str]


def add_routes() -> None:
    """Answer from now on. Without a running server nothing happens."""
    if (host_server := server.running()) is None:
        return
    for path, answer in (("sweep", sweep), ("cell", cell)):
        host_server.routes.get(f"{PATH}/{path}")(partial(_json, answer))
    for path, make in (("film", film), ("clip", clip)):
        host_server.routes.get(f"{PATH}/{path}")(partial(_file, make))


def sweep(asked: Asked) -> dict[str, Any]:
    """The grid of a sweep with the states of its cells, and its latest run in this session."""
    from ..s2v_core.sweeps.view import grid_view

    key = live.shelf().put(_folder(asked))
    feed = live.feed_of(key)
    result = _result(key, _folder(asked))
    grid = grid_view(result, asked.get("layout") or "auto")
    return {"sweep": key, "grid": grid, "run": feed.to_dict() if feed else None}


def cell(asked: Asked) -> dict[str, Any]:
    """What the fields of a sampler shall say to give this cell."""
    from ..s2v_core.sweeps.view import cell_form

    result = _result(live.shelf().put(_folder(asked)), _folder(asked))
    id = _given(asked, "id")
    found = next((one for one in result.cells if one.id == id), None)
    if found is None:
        raise StoreError("This cell is not in the sweep's latest plan.", remedy="Reload the grid.")
    form = cell_form(result.sweep, found)
    for use in (*form["loras"], *form["base"]["loras"]):
        use["name"] = host.model_name("loras", use["file"])
    return form


def film(asked: Asked) -> tuple[Path, dict[str, str]]:
    """All frames of a cell in one picture; a header says where they stand."""
    from ..s2v_core.sweeps.film import film_file

    tile = _given(asked, "tile")
    side = int(tile) if tile.isascii() and tile.isdecimal() else -1
    made, film = film_file(_store(asked), _given(asked, "id"), side, host.scratch_folder())
    return made, {FILM_HEADER: json.dumps(film.to_dict())}


def clip(asked: Asked) -> tuple[Path, dict[str, str]]:
    """A cell as MP4."""
    from ..s2v_core.sweeps.film import clip_file

    return clip_file(_store(asked), _given(asked, "id"), host.scratch_folder()), {}


def _given(asked: Asked, name: str) -> str:
    if not (value := asked.get(name, "")):
        raise SettingsError(f"{name!r} is missing.", expected=f"?{name}=...")
    return value


def _folder(asked: Asked) -> Path:
    return live.shelf().find(_given(asked, "sweep"))


def _result(key: str, folder: Path) -> Any:
    """The sweep as it was planned last; of a store without a plan, what its cells tell."""
    from ..s2v_core.sweeps.planfile import PLAN, planned_result
    from ..s2v_core.sweeps.stored import result_of_store

    feed = live.feed_of(key)
    if feed and feed.plan:
        return feed.result()
    if not (folder / CELLS / "store.json").exists():
        raise StoreError(f"The sweep {key!r} has no cells yet: Run makes them.")
    if (folder / PLAN).exists():
        return planned_result(folder)
    store = _open(folder / CELLS)
    try:
        return result_of_store(store, folder.name)
    except StoreError:
        # The command line names sweeps otherwise; where there is one only, it is meant.
        return result_of_store(store)


def _store(asked: Asked) -> Any:
    return _open(_folder(asked) / CELLS)


@lru_cache(maxsize=64)
def _open(folder: Path) -> Any:
    """A store for reading; kept, because it remembers which clips it has found sound."""
    from ..s2v_core.sweeps.store import CellStore

    return CellStore(folder, look=True)


async def _json(answer: Callable[[Asked], dict[str, Any]], request: Any) -> Any:
    from aiohttp import web

    try:
        return web.json_response(await asyncio.to_thread(answer, request.query), headers=_NEVER)
    except (S2VError, OSError) as error:
        return _refusal(error)


async def _file(make: Callable[[Asked], tuple[Path, dict[str, str]]], request: Any) -> Any:
    from aiohttp import web

    try:
        made, said = await asyncio.get_running_loop().run_in_executor(_makers, make, request.query)
    except (S2VError, OSError) as error:
        return _refusal(error)
    # Answers requests for parts (ranges) too.
    return web.FileResponse(made, headers=said | _FOR_EVER)


def _refusal(error: Exception) -> Any:
    from aiohttp import web

    status = 400 if isinstance(error, SettingsError) else 404 if isinstance(error, StoreError) else 500
    # Where a refused path would have led is nobody's business.
    problem = error.problem if isinstance(error, SettingsError) else str(error)
    return web.json_response({"problem": problem}, status=status, headers=_NEVER)
