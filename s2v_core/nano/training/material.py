"""The toy world as arrays on the disk: clips, control videos, references, and references that disagree."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import Interrupted
from ...files import atomic_path
from ...pose.draw import STICKS, draw_pose
from ..palette import names
from ..world import Scene, held_out, reference, render, scene
from .config import World

Array = np.ndarray[Any, Any]
KINDS = ("clip", "control", "reference", "edited")
_WAYS = tuple(stick for stick in STICKS if stick != "auto")


def material(
    folder: Path,
    world: World,
    seed: int,
    *,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, list[Array]]:
    """The arrays of ``KINDS``, uint8, one entry for each file: [clips, frames, H, W, 3], references [clips, H, W, 3].

    What is in ``folder`` already is not rendered again. Raises Interrupted when ``should_stop()`` says so.
    """
    starts = range(0, world.clips, world.per_file)
    missing = [start for start in starts if not all(_file(folder, kind, start).exists() for kind in KINDS)]
    done = len(starts) - len(missing)
    if missing:
        make = partial(_write, str(folder), world, seed)
        with ProcessPoolExecutor(workers, initializer=os.nice, initargs=(5,)) as pool:
            running: set[Future[None]] = {pool.submit(make, start) for start in missing}
            while running:
                finished, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                if should_stop and should_stop():
                    for future in running:
                        future.cancel()
                    raise Interrupted
                for future in finished:
                    future.result()
                    done += 1
                    if on_progress:
                        on_progress(done, len(starts))
    return {kind: [np.load(_file(folder, kind, start), mmap_mode="r") for start in starts] for kind in KINDS}


def edit(made: Scene, world: World, seed: int) -> tuple[Scene, tuple[str, ...]]:
    """The scene with other colours in one or more of ``world.edits``, and which; still one of training."""
    chance = random.Random(f"edit {seed} {made.seed}")
    count = 1 + int(chance.random() * world.edits_most)
    while True:
        parts = tuple(chance.sample(world.edits, min(count, len(world.edits))))
        chosen: dict[str, Any] = {
            part: chance.choice([name for name in names(part) if name != getattr(made.character, part)])
            for part in parts
        }
        character = replace(made.character, **chosen)
        if held_out(character, made.motion) == held_out(made.character, made.motion):
            return replace(made, character=character), parts


def _write(folder: str, world: World, seed: int, start: int) -> None:
    kinds: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    for number in range(start, min(start + world.per_file, world.clips)):
        made = scene(number)
        take = render(made.character, made.motion, seed=made.seed)
        kinds["clip"].append(take.clip.frames)
        # Thin lines are what Wan-VACE was trained on; thick ones are easier to see at this size. It shall follow both.
        kinds["control"].append(draw_pose(take.track, stick=_WAYS[number % len(_WAYS)]).frames)
        kinds["reference"].append(reference(made.character, made.motion, seed=made.seed))
        other, _ = edit(made, world, seed)
        kinds["edited"].append(reference(other.character, made.motion, seed=made.seed))
    for kind, arrays in kinds.items():
        with atomic_path(_file(Path(folder), kind, start)) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.stack(arrays))


def _file(folder: Path, kind: str, start: int) -> Path:
    return folder / f"{kind}-{start:05d}.npy"
