"""The net that finds the toy world's dancers: on people, clothes and dances that it has never seen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.errors import ModelFileError
from s2v_core.nano.body import KNOWN
from s2v_core.nano.detect import find_toy_dancer, load_pose_net
from s2v_core.nano.world import HELD_OUT, Take, render, scene
from s2v_core.video.clip import Clip
from s2v_core.video.fit import fit_clip

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    scenes = [scene(number, held=HELD_OUT) for number in range(8)]
    return [render(made.character, made.motion, seed=made.seed, frames=3) for made in scenes]


def off(takes: list[Take], change: Any) -> Array:
    """Distances in pixels of 96, of all points of all frames."""
    away = []
    for take in takes:
        clip = change(take.clip)
        found = find_toy_dancer(clip)
        scale = np.array([96 / clip.width, 96 / clip.height])
        away.append(np.linalg.norm(found.points[:, 0, KNOWN] * scale - take.track.points[:, 0, KNOWN], axis=-1))
    return np.concatenate(away)


def test_new_people_are_found_to_a_pixel(takes: list[Take]) -> None:
    away = off(takes, lambda clip: clip)
    assert away.mean() < 0.7
    assert (away < 2).mean() > 0.97


@pytest.mark.parametrize("deviation", [8, 24])
def test_noise_hardly_matters(takes: list[Take], deviation: float) -> None:
    chance = np.random.default_rng(0)

    def change(clip: Clip) -> Clip:
        noisy = clip.frames + chance.normal(0, deviation, clip.frames.shape)
        return clip.with_frames(np.clip(noisy, 0, 255).astype(np.uint8))

    assert off(takes, change).mean() < 1


def test_any_size_will_do(takes: list[Take]) -> None:
    assert off(takes[:3], lambda clip: fit_clip(clip, (192, 192))).mean() < 0.8


def test_the_points_are_in_the_clips_own_pixels(takes: list[Take]) -> None:
    track = find_toy_dancer(fit_clip(takes[0].clip, (192, 192)))
    assert (track.canvas, track.fps, track.backend) == ((192, 192), Fraction(16), "toy pose net")
    assert track.found.all()
    assert set(track.notes) == {""}
    assert not track.scores[..., KNOWN.stop :].any()
    assert ((track.scores >= 0) & (track.scores <= 1)).all()


def test_nobody_is_found_where_nobody_is(takes: list[Take]) -> None:
    empty = np.repeat(takes[0].clip.frames[:, :, :1], 96, axis=2)
    chance = np.random.default_rng(1)
    for frames in (empty, np.zeros_like(empty), chance.integers(0, 256, empty.shape, np.uint8)):
        track = find_toy_dancer(Clip(frames, Fraction(16)))
        assert not track.found.any()
        assert set(track.notes) == {"no person found"}


def test_missing_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="pose nets"):
        load_pose_net(tmp_path / "dancers.safetensors")


def test_a_training_writes_the_same_weights_each_time(tmp_path: Path) -> None:
    from s2v_core.nano.training.pose import PoseTraining, train
    from s2v_core.nano.training.pose_samples import drawings

    how = PoseTraining(scenes=6, steps=3, batch=4)
    files = [train(drawings(tmp_path, how.scenes), how, tmp_path / f"{name}.safetensors") for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_pose_net(files[0]) is not None


def test_samples_know_what_is_not_drawn(tmp_path: Path) -> None:
    from s2v_core.nano.training.pose_samples import drawings

    pictures, points = drawings(tmp_path, 4)(np.random.default_rng(3), 40)
    assert (pictures.shape, points.shape) == ((40, 96, 96, 3), (40, 24, 2))
    assert not np.isfinite(points[:, 18:]).any(), "feet"
    seen = points[:, :18][np.isfinite(points[:, :18, 0])]
    assert ((seen >= 0) & (seen <= 96)).all()
    assert 0.5 < np.isfinite(points[:, :18, 0]).mean() < 1
