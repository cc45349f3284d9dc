"""Toy clips as files: videos under AIST names, with reference pictures, control videos, points, masks and prompts."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Interrupted, SettingsError
from ..files import atomic_path, write_text_atomic
from ..pose.draw import draw_pose
from ..pose.track_file import save_track
from ..video.write import write_clip, write_png
from .paint import LABELS
from .world import FRAMES, SIZE, Scene, caption, motions, reference, render, scene

INDEX, TABLE = "world.json", "metadata.csv"
SUFFIXES = (".mkv", ".mp4")
# The names that DiffSynth's training reads: its video, its prompt and VACE's two inputs.
_COLUMNS = ("video", "prompt", "vace_video", "vace_reference_image")


def write_world(
    folder: str | os.PathLike[str],
    count: int,
    *,
    start: int = 0,
    held: Collection[str] = (),
    fixed: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    size: tuple[int, int] = SIZE,
    frames: int = FRAMES,
    suffix: str = ".mkv",
    stick: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write the scenes ``start`` to ``start + count`` (``held`` and ``fixed`` as for ``world.scene``); give the index.

    ``folder`` gets clips/NAME.mkv (without loss; ``suffix`` ".mp4" is H.264), controls/NAME.mkv, references/NAME.png,
    poses/NAME.npz (a pose track), labels/NAME.npz (uint8 [T, H, W], see ``part_mask``), the index world.json and
    metadata.csv in the columns of DiffSynth's training. ``without``: parts that the prompts do not mention.
    ``stick``: as for ``draw_pose``. Each clip has another name. Files that are there are replaced.

    ``on_progress(done, total)``. Raises SettingsError for more clips than there are names, and ``Interrupted`` when
    ``should_stop()`` says so; the index then lists what was finished.
    """
    names = len(motions("motions" in held))
    if not 1 <= count <= names or start < 0 or suffix not in SUFFIXES:
        raise SettingsError(
            "These toy clips cannot be written.",
            expected=f"1 to {names} clips, so that each has a name of its own, from number 0; {' or '.join(SUFFIXES)}",
            got=f"{count} clips from number {start}, as {suffix}",
        )
    root = Path(folder)
    rows: list[dict[str, Any]] = []
    stopped = False
    for number in range(start, start + count):
        if should_stop and should_stop():
            stopped = True
            break
        rows.append(_write_scene(root, scene(number, held=held, fixed=fixed), without, size, frames, suffix, stick))
        if on_progress:
            on_progress(len(rows), count)
    index = {
        "format": "skeleton2video toy world",
        "version": 1,
        "size": list(size),
        "frames": frames,
        "held_out": sorted(held),
        "fixed": dict(fixed or {}),
        "without": sorted(without),
        "labels": list(LABELS),
        "clips": rows,
    }
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(root / TABLE, table.getvalue())
    write_text_atomic(root / INDEX, json.dumps(index, indent=1, ensure_ascii=False))
    if stopped:
        raise Interrupted
    return root / INDEX


def _write_scene(
    root: Path, made: Scene, without: Collection[str], size: tuple[int, int], frames: int, suffix: str, stick: str
) -> dict[str, Any]:
    take = render(made.character, made.motion, size=size, frames=frames, seed=made.seed)
    prompt = caption(made.character, made.motion, without=without)
    name = str(made.motion)
    paths = {
        "video": f"clips/{name}{suffix}",
        "vace_video": f"controls/{name}{suffix}",
        "vace_reference_image": f"references/{name}.png",
        "pose": f"poses/{name}.npz",
        "labels": f"labels/{name}.npz",
    }
    for path in paths.values():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    write_clip(take.clip, root / paths["video"])
    write_clip(draw_pose(take.track, stick=stick), root / paths["vace_video"])
    picture = reference(made.character, made.motion, size=size, seed=made.seed)
    write_png(picture, root / paths["vace_reference_image"])
    save_track(take.track, root / paths["pose"])
    with atomic_path(root / paths["labels"]) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, labels=take.labels)
    return paths | {"prompt": prompt.text, "negative": prompt.negative, **made.to_dict()}
