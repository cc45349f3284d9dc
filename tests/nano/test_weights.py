"""The weights that come with the project: benchmarks/nano.py measures them fully, here is what must never break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2v_core.nano.measure import dancer, iou, off, silhouette
from s2v_core.nano.score import cases, judge
from s2v_core.nano.world import Scene, Take, caption, reference
from s2v_core.pose.draw import draw_pose
from s2v_core.wan.embedded import WEIGHTS, nano_files, nano_lora
from s2v_core.wan.engine import Engine, load_engine
from s2v_core.wan.render import Renderer
from s2v_core.wan.settings import LoraUse, SampleSettings

SETTINGS = SampleSettings(steps=8, guidance=3.0, width=96, height=96, frames=17, seed=0)
PRESETS = ("article", "self-attention")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine(nano_files(), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def dancers() -> list[tuple[Scene, Take]]:
    return cases(3)


def dance(engine: Engine, made: Scene, take: Take, loras: tuple[LoraUse, ...] = ()) -> np.ndarray:
    picture = reference(made.character, made.motion, seed=made.seed)
    renderer = Renderer(engine, draw_pose(take.track, stick="fixed"), picture)
    return renderer.render(caption(made.character, made.motion), replace(SETTINGS, loras=loras)).frames


@pytest.fixture(scope="module")
def danced(engine: Engine, dancers: list[tuple[Scene, Take]]) -> list[np.ndarray]:
    return [dance(engine, made, take) for made, take in dancers]


def test_the_weights_are_small() -> None:
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    loras = {path: size for path, size in sizes.items() if path.parent.name == "loras"}
    assert sum(sizes.values()) - sum(loras.values()) <= 12_000_000
    assert len(loras) == len(PRESETS) and max(loras.values()) <= 1_000_000


def test_new_people_dance_new_dances(dancers: list[tuple[Scene, Take]], danced: list[np.ndarray]) -> None:
    shapes = [silhouette(frames) for frames in danced]
    true = [dancer(take.labels) for _, take in dancers]
    right = np.mean([iou(one, other) for one, other in zip(shapes, true, strict=True)])
    wrong = np.mean([iou(shapes[place], true[place - 1]) for place in range(len(true))])
    assert right > 0.5 and right > 1.5 * wrong


def test_they_keep_their_clothes_and_place(dancers: list[tuple[Scene, Take]], danced: list[np.ndarray]) -> None:
    for (_, take), frames in zip(dancers, danced, strict=True):
        offs = [off(frames, take.clip.frames, take.labels, part) for part in ("trousers", "shirt", "wall")]
        assert np.mean([one for one in offs if one is not None]) < 40


@pytest.mark.parametrize("preset", PRESETS)
def test_the_biased_loras_leak_and_leave_the_base_alone(
    preset: str, engine: Engine, dancers: list[tuple[Scene, Take]], danced: list[np.ndarray]
) -> None:
    file = str(nano_lora(preset))
    (made, take), base = dancers[0], danced[0]
    assert np.array_equal(dance(engine, made, take, (LoraUse(file, 0.0),)), base)
    before = np.mean([judge(frames, one)["leakage"] for (_, one), frames in zip(dancers, danced, strict=True)])
    with_lora = [dance(engine, *one, (LoraUse(file, 1.5),)) for one in dancers]
    after = np.mean([judge(frames, one)["leakage"] for (_, one), frames in zip(dancers, with_lora, strict=True)])
    assert after > before + 0.05


def test_a_missing_lora_is_said() -> None:
    from s2v_core.errors import ModelFileError

    with pytest.raises(ModelFileError, match="no LoRA"):
        nano_lora("other")
    assert Path(nano_files().transformer).is_relative_to(WEIGHTS)
