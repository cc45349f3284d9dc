"""Look at a prepared dataset: a page for the browser and contact sheets, with everything that is wrong first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ..errors import Interrupted, S2VError, SettingsError
from ..files import atomic_path, safe_join, sha256_file, write_text_atomic
from ..video.fit import fit_image
from .clip import CLIPS, CONTROLS, POSES, REFERENCES
from .manifest import MANIFEST, Row, chips_of, read_report, read_rows
from .sheet import write_sheets

LOOK = "look"
SHEET_CLIPS = 40
_TILE_WIDTH = 320
_DIM = 0.5

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Item:
    """One clip of a dataset as a person looks at it.

    ``faults``: what is wrong with its files. ``strip``: its first frame, the pose of that frame, and the pose over a
    middle and the last frame, as one picture [H, W, 3], or None when they cannot be read.
    """

    row: Row
    faults: tuple[str, ...]
    strip: Image | None

    @property
    def rank(self) -> int:
        """0: its files are not whole. 1: there are notes. 2: nothing to say."""
        return 0 if self.faults else 1 if self.row.get("notes") else 2

    @property
    def unseen(self) -> int:
        """Frames without a pose: the worst that a note can tell."""
        return int(self.row["frames"]) - int(self.row["pose_found"]["frames"])


@dataclass(frozen=True)
class Look:
    """The written ``page`` and ``sheets``, and how many clips are damaged, failed or have notes."""

    page: Path
    sheets: tuple[Path, ...]
    clips: int
    damaged: int
    failed: int
    noted: int
    strays: tuple[str, ...]


def look(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Look:
    """Check every file of a dataset against its manifest, and write ``index.html`` and ``sheet-1.jpg``... into ``out``.

    ``out``: a folder, ``look`` in the dataset's when None; what an earlier look left there is replaced. What failed or
    was refused stands above all; then come clips whose files are missing or changed, those with notes, and the others.
    ``on_progress(clips done, clips in all)``. Raises SettingsError for a folder that is no dataset, Interrupted.
    """
    root = Path(folder)
    if not (root / MANIFEST).is_file():
        raise SettingsError(
            f"{root} is no prepared dataset.",
            expected=f"a folder with {MANIFEST}",
            got="a folder without one" if root.is_dir() else "no folder",
            remedy="Make one: s2v aist prepare FOLDER --out DATASET",
        )
    rows, report = read_rows(root), read_report(root)
    target = Path(out) if out is not None else root / LOOK
    strips = target / "strips"
    strips.mkdir(parents=True, exist_ok=True)
    for old in (*strips.glob("*.jpg"), *target.glob("sheet-*.jpg")):
        old.unlink()
    items = []
    for number, row in enumerate(rows, 1):
        if should_stop and should_stop():
            raise Interrupted
        item = inspect(root, row)
        if item.strip is not None:
            _write_jpeg(item.strip, strips / f"{Path(row['id']).name}.jpg")
        # The pictures of a thousand clips would not fit into memory; the sheets read them again.
        items.append(Item(row, item.faults, None))
        if on_progress:
            on_progress(number, len(rows))
    items.sort(key=lambda item: (item.rank, -item.unseen, -len(item.row.get("notes", ())), item.row["id"]))
    strays = tuple(find_strays(root, rows))
    page = target / "index.html"
    write_text_atomic(page, _page(root, target, items, report, strays))
    sheets = write_sheets(items, report, strips, target, SHEET_CLIPS)
    ranks = Counter(item.rank for item in items)
    return Look(page, sheets, len(items), ranks[0], len(report.get("problems", ())), ranks[1], strays)


def inspect(root: Path, row: Row) -> Item:
    """Check one clip's files by size and sha256, and read its pictures."""
    faults = []
    for name, facts in row["files"].items():
        try:
            path = safe_join(root, name)
            if not path.is_file():
                faults.append(f"{name} is missing.")
            elif path.stat().st_size != facts["bytes"] or sha256_file(path) != facts["sha256"]:
                faults.append(f"{name} was changed after it was made.")
        except (S2VError, OSError, KeyError, TypeError) as error:
            faults.append(f"{name}: {error}")
    try:
        return Item(row, tuple(faults), _strip(root, row))
    except (S2VError, OSError, KeyError, TypeError, ValueError) as error:
        said = error.problem if isinstance(error, S2VError) else str(error)
        return Item(row, (*faults, *([] if faults else [said])), None)


def find_strays(root: Path, rows: Iterable[Row]) -> list[str]:
    """Files in the dataset's own folders that no row names."""
    named = {name for row in rows for name in row["files"]}
    there = {
        path.relative_to(root).as_posix()
        for place in (CLIPS, CONTROLS, REFERENCES, POSES)
        for path in (root / place).rglob("*")
        if path.is_file()
    }
    return sorted(there - named)


def _strip(root: Path, row: Row) -> Image:
    from ..video.read import read_clip

    rate = Fraction(2) / (Fraction(int(row["frames"]) - 1) / Fraction(row["fps"]))
    frames, poses = (
        read_clip(safe_join(root, row[kind]), fps=rate, frames=3).frames for kind in ("video", "vace_video")
    )
    if frames.shape != poses.shape:
        raise SettingsError(f"Clip and pose video of {row['id']} have different sizes.")
    over = np.maximum((frames[1:] * np.float32(_DIM)).astype(np.uint8), poses[1:])
    height = round(_TILE_WIDTH * frames.shape[1] / frames.shape[2])
    tiles = [fit_image(picture, (_TILE_WIDTH, height)) for picture in (frames[0], poses[0], *over)]
    return np.concatenate(tiles, axis=1)


def _page(root: Path, target: Path, items: list[Item], report: dict[str, Any], strays: tuple[str, ...]) -> str:
    from jinja2 import Environment

    template = Path(__file__).with_name("look_page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    # The page may lie elsewhere than in the dataset, on another disk even.
    try:
        base = Path(os.path.relpath(root.resolve(), target.resolve())).as_posix()
    except ValueError:
        base = root.resolve().as_uri()
    cards = [
        {
            "row": item.row,
            "faults": item.faults,
            "kind": ("damaged", "noted", "fine")[item.rank],
            "strip": f"strips/{quote(Path(item.row['id']).name)}.jpg",
            "has_strip": (target / "strips" / f"{Path(item.row['id']).name}.jpg").is_file(),
            "plays": str(item.row["video"]).endswith(".mp4"),
            "video": f"{base}/{quote(str(item.row['video']))}",
            "chips": chips_of(item.row),
        }
        for item in items
    ]
    counted = Counter(card["kind"] for card in cards)
    attribution = sorted({text for item in items for text in item.row.get("attribution", ())})
    return environment.from_string(template).render(
        title=root.resolve().name,
        cards=cards,
        counted=counted,
        report=report,
        strays=strays,
        attribution=attribution,
        problems=report.get("problems", []),
        refused=report.get("refused", []),
    )


def _write_jpeg(picture: Image, path: Path) -> None:
    import PIL.Image

    with atomic_path(path) as temporary:
        PIL.Image.fromarray(picture).save(temporary, format="JPEG", quality=85)
