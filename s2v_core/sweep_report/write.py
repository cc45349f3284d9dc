"""``write_report``: a sweep as one page to look at, in any browser, from a disk and without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import __version__
from ..errors import Interrupted, SettingsError
from ..files import atomic_path
from ..sweeps.run import SweepResult
from ..sweeps.scores import Scores, say_score
from . import clips, facts
from .findings import Findings, Number, findings_json, whiskers
from .inputs import Frames, Input, as_inputs
from .options import ReportOptions

PAGE = Path(__file__).with_name("page")
# The scripts in their order: each may use what stands before it.
SCRIPTS = (
    *("base.js", "media.js", "clock.js", "layout.js", "grid.js", "tools.js", "charts.js", "curves.js"),
    *("details.js", "compare.js", "hover.js", "keys.js"),
)
_OWN = re.compile(r"(cell-[0-9a-f]{16}|input-\d+)\.(webp|mp4|png)")
_MEDIA = {clips.SHEET: "image/webp", clips.VIDEO: "video/mp4", clips.STILL: "image/png"}


def write_report(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    options: ReportOptions | None = None,
    findings: Findings | None = None,
    inputs: Mapping[str, Frames] | Iterable[Input] = (),
    scores: Scores | None = None,
    title: str = "",
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write the page of a sweep; returns its path. Nothing is rendered and no model is read.

    ``path``: ends in .html. With ``options.beside`` the clips lie in a folder called as the page with ``_clips`` at its
    end; what an earlier report left there is replaced. ``findings``: what an analysis says of the scores.
    ``inputs``: control videos and references, shown above the cells in step with them: those of ``inputs_of``, or name
    -> frames uint8 [T, H, W, 3], of which one alone is a still picture. ``scores``: cell id ->
    metric -> value (see ``sweeps.scores``), those in the store when left out. ``title``: the sweep's name when empty.
    ``on_progress(clips done, clips in all)``. The same cells and scores give the same bytes.

    Cells that failed or are missing are shown as such, with their reason. The page replaces an older one when it is
    whole. Raises ``SettingsError``, ``StoreError``, ``VideoError``, and ``Interrupted`` when ``should_stop()`` says so.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(
            f"A report cannot be written as {target.name}.", expected="a name that ends in .html", got=target.suffix
        )
    chosen = options or ReportOptions()
    known = facts.cell_facts(result)
    said = facts.page_facts(result, known, facts.stored_scores(result) if scores is None else scores)
    found = findings or Findings()
    said |= findings_json(found, {one.cell.id: number for number, one in reversed(list(enumerate(known)))})
    beside = target.with_name(f"{target.stem}_clips")
    with ExitStack() as held:
        if chosen.beside:
            folder = beside
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="s2v-report-")))
        packer = _Packer(folder, chosen, _tile(chosen, said), on_progress, should_stop)
        packer.pack(result, known, as_inputs(inputs), said)
        if chosen.beside:
            for file in packer.files.values():
                said["files"][file.stem + file.suffix] = f"{quote(beside.name)}/{quote(file.name)}"
        page = _render(said, found, result, known, title, {} if chosen.beside else packer.files)
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            for piece in page:
                if should_stop and should_stop():
                    raise Interrupted
                stream.write(piece)
        if chosen.beside:
            keep = {file.name for file in packer.files.values()}
            for old in folder.iterdir():
                if _OWN.fullmatch(old.name) and old.name not in keep:
                    old.unlink()
    return target


class _Packer:
    """Writes the clips of a page into ``folder``, each distinct cell once, and says in the facts where they are."""

    def __init__(
        self,
        folder: Path,
        options: ReportOptions,
        tile: int,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.files: dict[str, Path] = {}
        self._folder, self._options, self._tile = folder, options, tile
        self._on_progress, self._should_stop = on_progress, should_stop

    def pack(
        self, result: SweepResult, known: tuple[facts.CellFacts, ...], inputs: tuple[Input, ...], said: dict[str, Any]
    ) -> None:
        distinct = {one.cell.id: one for one in known if one.state == "there"}
        total = len(distinct) + len(inputs)
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            if self._on_progress:
                self._on_progress(done, total)

        made: dict[str, Any] = {}
        for id, one in distinct.items():
            stem = self._folder / f"cell-{id[:16]}"
            made[id] = self._clip(result.store.frames(id), one.frames, one.fps, one.size, stem)
            tell()
        for cell in said["cells"]:
            cell["clip"] = made.get(cell["id"])
        base = facts.base_fps(known)
        said["inputs"] = []
        for number, given in enumerate(inputs, start=1):
            stem = self._folder / f"input-{number}"
            frames = given.frames
            height, width = frames.shape[1:3]
            if len(frames) == 1:
                self._keep(clips.pack_still(frames[0], stem))
                shown: dict[str, Any] = {"still": f"{stem.name}{clips.STILL}", "size": [width, height]}
            else:
                shown = {"clip": self._clip(iter(frames), len(frames), base, (width, height), stem)}
            said["inputs"].append({"name": given.name, "axis": given.axis, "at": given.at, **shown})
            tell()
        said["files"] = {}

    def _clip(self, frames: Iterator[Frames], count: Any, fps: Any, size: Any, stem: Path) -> dict[str, Any]:
        options = self._options
        packed = clips.pack(
            frames,
            count,
            fps,
            size,
            stem,
            tile=self._tile,
            quality=options.quality,
            full=options.full,
            should_stop=self._should_stop,
        )
        self._keep(packed.picture)
        if packed.video:
            self._keep(packed.video)
        sheet = packed.sheet
        return {
            "sheet": packed.picture.name,
            "video": packed.video.name if packed.video else None,
            "columns": sheet.columns,
            "tile": [sheet.width, sheet.height],
            "kept": sheet.frames,
            "every": sheet.every,
            "frames": packed.frames,
            "fps": float(packed.fps),
            "size": list(packed.size),
        }

    def _keep(self, file: Path) -> None:
        self.files[file.name] = file


def _tile(options: ReportOptions, said: Mapping[str, Any]) -> int:
    """The width of a cell's pictures: as asked for, or what a wide window shows of one column."""
    if options.tile:
        return options.tile
    columns = 1
    for axis in said["columns"]:
        columns *= len(said["axes"][axis]["labels"])
    return max(_LEAST, min(_MOST, _WINDOW // columns))


_WINDOW, _LEAST, _MOST = 1400, 112, 320


def _render(
    said: Mapping[str, Any],
    found: Findings,
    result: SweepResult,
    known: tuple[facts.CellFacts, ...],
    title: str,
    files: Mapping[str, Path],
) -> Iterator[str]:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    style = _read("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_read(name) for name in SCRIPTS) + "\n})();\n"
    template = environment.from_string(_read("page.html"))
    sweep = result.sweep
    counts = {state: sum(one.state == state for one in known) for state in ("there", "missing", "failed")}
    return template.generate(
        title=title or sweep.name,
        sweep=sweep,
        said=said,
        counts=counts,
        size=_one_size(known),
        distinct=len({one.cell.id for one in known}),
        found=found,
        whiskers=whiskers,
        say=_say,
        policy=_policy(style, script),
        style=style,
        script=script,
        # In a script element only the end tag and comments mean anything; "<" as an escape is the same JSON.
        data=json.dumps(said, ensure_ascii=False, allow_nan=False).translate(_ESCAPES),
        files=((name, _data_url(file)) for name, file in files.items()),
        version=__version__,
    )


def _one_size(known: tuple[facts.CellFacts, ...]) -> tuple[int, int] | None:
    """The size of all clips, None where they differ."""
    sizes = {one.size for one in known if one.size}
    return sizes.pop() if len(sizes) == 1 else None


_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def _say(value: float, number: Number) -> str:
    """A number of a claim with as many digits as its interval needs, and a real minus sign."""
    known = [abs(one) for one in (number.value, number.low, number.high) if one is not None]
    return say_score(value, max(known)).replace("-", "−")


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the browser lets this page do: its own script and style, its own pictures, nothing else and no network."""

    def own(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    media = "data: blob: file: 'self'"
    return (
        f"default-src 'none'; script-src {own(script)}; style-src {own(style)}; "
        f"img-src {media}; media-src {media}; base-uri 'none'; form-action 'none'"
    )


def _data_url(file: Path) -> str:
    return f"data:{_MEDIA[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"
