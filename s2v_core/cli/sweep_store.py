"""``s2v sweep status``, ``verify``, ``prune`` and ``merge``: looking after stores of cells."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import LoraError, SettingsError
from .console import Json, command, live_console
from .sweep import sweep_app

if TYPE_CHECKING:
    from ..sweeps.axes import Sweep
    from ..sweeps.load import SweepFile
    from ..sweeps.store import CellStore
    from ..sweeps.upkeep import Damage, Named, Progress

Store = Annotated[Path, typer.Argument(help="A folder of cells, or the results folder that holds it.")]
_SHORT = 12
_MISSING_SHOWN = 20


@sweep_app.command("status")
def status(
    target: Annotated[Path, typer.Argument(metavar="STORE|FILE", help="A folder of cells, or a sweep file (YAML).")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Instead of the sweep file's `out`.")] = None,
    as_json: Json = False,
) -> None:
    """What a store holds and who is at work on it; of a sweep file, also which of its cells are missing."""
    with command(as_json) as done:
        from rich.filesize import decimal

        from ..sweeps.upkeep import status as look

        file, sweep = _sweep_of(target) if target.is_file() else (None, None)
        store = _open(_place_of(file, out) if file else _place(target))
        found = look(store)
        result: dict[str, Any] = {
            "store": store.folder,
            "version": found.version,
            "can be written": found.writable,
            "cells": found.cells,
            "with latents": found.latents,
            "with scores": found.scored,
            "damaged": _rows(found.damaged, as_json),
            "set aside": len(found.set_aside),
            "in flight": [_who(id, who, as_json) for id, who in found.in_flight.items()],
            "sweeps": {name or "(no name)": count for name, count in found.sweeps.items()},
            "disk": found.bytes if as_json else {part: decimal(size) for part, size in found.bytes.items() if size},
        }
        notes = ["Clips were not read; s2v sweep verify checks every byte."]
        if file and sweep:
            from ..sweeps.upkeep import stored_ids

            named = stored_ids(sweep, store, _lora_sha256)
            missing = [text for one in named for text in _missing(one)]
            more = [] if as_json else missing[_MISSING_SHOWN:]
            cells = sum(len(one.cells) for one in named)
            result |= {
                "sweep": file.name,
                "distinct cells": cells,
                "stored": cells - sum(one.missing for one in named),
                "missing": missing[: len(missing) - len(more)] + ([f"and {len(more)} more"] if more else []),
            }
            notes.append("A cell counts as stored whatever models and pictures it was rendered with.")
        done(result, note="\n".join(notes))


@sweep_app.command("verify")
def verify(
    store: Store,
    frames: Annotated[bool, typer.Option("--decode", help="Also decode every frame of every clip.")] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move what is damaged into damaged/; the next run computes it anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every byte of every cell against its checksum; exit code 1 when something is damaged."""
    with command(as_json) as done:
        from ..sweeps.upkeep import verify as check

        cells = _open(_place(store), look=not set_aside)
        with _bar() as show:
            found = check(cells, read_frames=frames, set_aside=set_aside, on_progress=show)
        result = {"store": cells.folder, "cells": len(cells.ids()), "damaged": _rows(found, as_json)}
        note = "" if set_aside or not found else "The next run of their sweep computes damaged cells anew."
        done(result, note=note, failed=bool(found))


@sweep_app.command("prune")
def prune(
    store: Store,
    damaged: Annotated[bool, typer.Option("--damaged", help="What was set aside, and cells that are damaged.")] = False,
    prefixes: Annotated[bool, typer.Option("--prefixes", help="Stored latents of shared steps.")] = False,
    keep: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Cells that this sweep file does not name, nor another one given so."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without this, only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what is not needed from a store; without --yes it only says what would go."""
    with command(as_json) as done:
        from ..sweeps.upkeep import prunable
        from ..sweeps.upkeep import prune as remove

        if not (damaged or prefixes or keep):
            raise SettingsError(
                "Nothing was chosen to be removed.", expected="one or more of --damaged, --prefixes and --keep FILE"
            )
        cells = _open(_place(store), look=not yes)
        sweeps = [_sweep_of(path)[1] for path in keep] if keep else None
        with _bar() as show:
            found = prunable(
                cells,
                damaged=damaged,
                prefixes=prefixes,
                named_by=sweeps,
                lora_sha256=_lora_sha256,
                on_progress=show,
            )
        gone = remove(cells, found) if yes else ()
        stay = [removal for removal in found if removal not in gone]
        done(
            {
                "store": cells.folder,
                "removed" if yes else "would be removed": [
                    {"what": removal.what, "path": str(removal.path.relative_to(cells.folder)), "why": removal.why}
                    for removal in (gone if yes else found)
                ],
                **({"in work, kept": [str(removal.path) for removal in stay]} if yes and stay else {}),
                "bytes": sum(removal.bytes for removal in (gone if yes else found)),
            },
            note="" if yes or not found else "Nothing was removed. Add --yes to do it.",
            failed=bool(yes and stay),
        )


@sweep_app.command("merge")
def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="FROM... INTO", help="Stores to copy from, and last the one to copy into.")
    ],
    as_json: Json = False,
) -> None:
    """Copy the cells of stores into another; exit code 1 when something had to be left out."""
    with command(as_json) as done:
        from ..sweeps.store import CellStore
        from ..sweeps.upkeep import merge as copy

        if len(stores) < 2:
            raise SettingsError(
                "A merge needs two stores.", expected="the stores to copy from, then the one to copy into"
            )
        sources = [_open(_place(path)) for path in stores[:-1]]
        into = CellStore(_place(stores[-1]))
        with _bar() as show:
            merged = copy(sources, into, on_progress=show)
        done(
            {
                "store": into.folder,
                "cells": len(into.ids()),
                "copied": len(merged.copied),
                "there before": len(merged.present),
                "left out": _rows(merged.left_out, as_json),
            },
            failed=bool(merged.left_out),
        )


def _open(folder: Path, *, look: bool = True) -> CellStore:
    from ..sweeps.store import CellStore

    # Looked at first: a mistyped path must not become a store.
    store = CellStore(folder, look=True)
    return store if look else CellStore(folder)


def _place(folder: Path) -> Path:
    """The store itself, for a results folder that holds one."""
    inside = folder / "cells"
    return inside if (inside / "store.json").exists() and not (folder / "store.json").exists() else folder


def _place_of(file: SweepFile, out: Path | None) -> Path:
    folder = out or file.out
    if folder is None:
        raise SettingsError("The sweep file does not say where its store is.", remedy="Give --out, or name the store.")
    return folder / "cells"


def _sweep_of(path: Path) -> tuple[SweepFile, Sweep]:
    from ..recipe import sweep_of
    from ..sweeps.load import load_sweep

    file = load_sweep(path)
    return file, sweep_of(file)


def _lora_sha256(file: str) -> str:
    from ..wan.lora_file import lora_sha256

    try:
        return lora_sha256(file)
    except OSError as error:
        raise LoraError(
            f"The LoRA {file} of the sweep file cannot be read, so its cells are not known.",
            got=error.strerror or str(error),
            remedy="Put it back, or take it out of the sweep file.",
        ) from error


def _missing(named: Named) -> list[str]:
    labels = [", ".join(cell.labels) for cell in named.cells]
    if named.missing in (0, len(labels)):
        return labels[: named.missing]
    # Models and pictures are not read, so that nobody knows which.
    return [f"{named.missing} of these: {'; '.join(labels)}"]


def _rows(found: Sequence[Damage], as_json: bool) -> list[dict[str, str]]:
    if as_json:
        return [dataclasses.asdict(damage) for damage in found]
    return [
        {
            "cell": _short(damage.id, as_json),
            "reason": damage.reason,
            "moved": f"moved to {damage.moved_to}" if damage.moved_to else "",
        }
        for damage in found
    ]


def _who(id: str, who: dict[str, Any], as_json: bool) -> dict[str, Any]:
    if as_json:
        return {"id": id, **who}
    said = f"process {who.get('process', '?')} on {who.get('host', '?')} since {who.get('since', '?')}"
    return {"cell": _short(id, as_json), "who": said if who["sure"] else f"perhaps by {said}"}


def _short(id: str, as_json: bool) -> str:
    return id if as_json else id[:_SHORT]


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar over cells on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=live_console()) as bar:
        task = bar.add_task("cells", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
