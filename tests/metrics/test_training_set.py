"""Leakage towards a training set in each form that it can have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.metrics.inputs import Inputs
from s2v_core.metrics.registry import score_clip
from s2v_core.metrics.scorecard import Score
from s2v_core.metrics.training_look import training_look
from s2v_core.nano.world import AIST_LIKE, Take, reference, render, scene
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track_file import save_track
from s2v_core.video.write import write_clip, write_png


@pytest.fixture(scope="module")
def biased() -> list[Take]:
    scenes = [scene(number, fixed=AIST_LIKE) for number in range(3)]
    return [render(made.character, made.motion, seed=made.seed, frames=5) for made in scenes]


@pytest.fixture(scope="module")
def leaked() -> dict[str, Any]:
    """A clip that has the training set's place and trousers, and the reference that it should be like."""
    made = scene(7)
    made = replace(made, character=replace(made.character, wall="blue", floor="brown", trousers="yellow"))
    other = replace(made.character, **AIST_LIKE)
    return {
        "frames": render(other, made.motion, seed=made.seed, frames=5).clip,
        "reference": reference(made.character, made.motion, seed=made.seed),
    }


def leakage(leaked: dict[str, Any], training: Any) -> Score:
    return score_clip(leaked["frames"], reference=leaked["reference"], training=training, metrics=["leakage"])[
        "leakage"
    ]


def prepared(folder: Path, takes: list[Take], tracks: bool) -> Path:
    rows = ["video,prompt,vace_video,vace_reference_image"]
    for number, take in enumerate(takes):
        names = [f"clips/{number}.mkv", f"controls/{number}.mkv", f"references/{number}.png"]
        write_clip(take.clip, folder / names[0], lossless=True)
        write_clip(draw_pose(take.track), folder / names[1], lossless=True)
        write_png(take.clip.frames[0], folder / names[2])
        if tracks:
            save_track(take.track, folder / "poses" / f"{number}.npz")
        rows.append(f"{names[0]},a dancer,{names[1]},{names[2]}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_every_form_of_the_set_gives_the_same_answer(
    leaked: dict[str, Any], biased: list[Take], tmp_path: Path
) -> None:
    folder = prepared(tmp_path / "set", biased, tracks=True)
    by_clips = leakage(leaked, [take.clip for take in biased])
    by_folder = leakage(leaked, folder)
    assert by_clips.value > 0.6  # type: ignore[operator]
    assert by_folder.value == pytest.approx(by_clips.value, abs=0.03)
    assert leakage(leaked, folder / "metadata.csv").value == by_folder.value
    assert leakage(leaked, folder / "clips").value == pytest.approx(by_clips.value, abs=0.03)
    assert leakage(leaked, [take.clip.frames[0] for take in biased]).value == pytest.approx(by_clips.value, abs=0.06)
    assert "3 of 3 clips" in by_folder.how


def test_the_sets_own_points_are_used_where_they_lie(biased: list[Take], tmp_path: Path) -> None:
    folder = prepared(tmp_path, biased[:1], tracks=True)
    assert training_look(Inputs(training=folder)).how == "the training set's own points"
    bare = prepared(tmp_path / "bare", biased[:1], tracks=False)
    assert "toy pose net" in training_look(Inputs(training=bare)).how


def test_a_changed_set_is_looked_at_again(leaked: dict[str, Any], biased: list[Take], tmp_path: Path) -> None:
    write_png(biased[0].clip.frames[0], tmp_path / "one.png")
    before = leakage(leaked, tmp_path)
    write_png(leaked["reference"], tmp_path / "two.png")
    assert leakage(leaked, tmp_path).value != before.value


def test_a_set_like_the_reference_has_no_way_to_go(leaked: dict[str, Any]) -> None:
    score = leakage(leaked, [leaked["reference"]])
    assert score.value is None
    assert "look alike" in score.reason


@pytest.mark.parametrize("content", ["nothing", "empty", "broken table", "broken video", "nobody"])
def test_a_set_that_cannot_be_used_is_a_reason_not_a_crash(
    leaked: dict[str, Any], content: str, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    if content != "nothing":
        folder.mkdir()
    if content == "broken table":
        (folder / "metadata.csv").write_text("video\nx.mp4\n", encoding="utf-8")
    if content == "broken video":
        (folder / "one.mp4").write_bytes(b"not a video")
    if content == "nobody":
        write_png(np.full((96, 96, 3), 200, np.uint8), folder / "one.png")
    score = leakage(leaked, folder)
    assert score.value is None
    assert len(score.reason) > 20
