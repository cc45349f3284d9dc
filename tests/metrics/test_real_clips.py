"""Known answers on a real dancer, found by BlazePose in every clip anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from s2v_core.metrics.registry import score_clip
from s2v_core.metrics.scorecard import Scorecard
from s2v_core.pose.blazepose import extract_blazepose
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track import PoseTrack
from s2v_core.video.clip import Clip
from tests.conftest import load_webp, real_clip_path
from tests.metrics import changes

Array = np.ndarray[Any, Any]
FRAMES = slice(14, 24)  # he moves his arms
METRICS = (
    "identity_clothes", "background", "leakage", "pose_pck", "pose_oks", "pose_mpjpe", "motion", "flicker", "warp",
    "sharpness", "blockiness",
)  # fmt: skip


@pytest.fixture(scope="module")
def man(dancer_clip: Clip) -> Clip:
    return dancer_clip.with_frames(dancer_clip.frames[FRAMES])


@pytest.fixture(scope="module")
def other_man() -> Clip:
    """Somebody else, in another street, who dances the same dance: the right half of the same file."""
    clip = load_webp(real_clip_path("video_wan_animate2_distilled-1"))
    return clip.with_frames(np.ascontiguousarray(clip.frames[FRAMES, :, 175:]))


@pytest.fixture(scope="module")
def track(man: Clip, blazepose_models: Any) -> PoseTrack:
    return extract_blazepose(man, hands=False, face=False)


@pytest.fixture(scope="module")
def score(man: Clip, other_man: Clip, track: PoseTrack, tmp_path_factory: pytest.TempPathFactory) -> Any:
    known: dict[bytes, Scorecard] = {}

    def measure(frames: Array, metrics: tuple[str, ...] = METRICS) -> Scorecard:
        key = frames.tobytes() + repr(metrics).encode()
        if key not in known:
            known[key] = score_clip(
                man.with_frames(frames),
                control=track,
                reference=man.frames[0],
                training=[other_man],
                driving=man,
                metrics=metrics,
            )
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2V_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield measure


@pytest.fixture(scope="module")
def same(score: Callable[[Array], Scorecard], man: Clip) -> Scorecard:
    return score(man.frames)


def test_the_clip_itself_is_right(same: Scorecard) -> None:
    assert same.value("pose_pck") == same.value("pose_oks") == 1
    assert same.value("pose_mpjpe") < 1e-4
    assert same.value("motion") == pytest.approx(1, abs=1e-6)
    assert same.value("identity_clothes") < 4
    assert same.value("background") < 4
    assert abs(same.value("leakage")) < 0.12
    assert "blazepose" in same["pose_pck"].how
    assert "10 of 10 frames" in same["pose_pck"].how


def test_shifts_cost_pose_by_the_pixel(score: Any, same: Scorecard, man: Clip) -> None:
    cards = [score(changes.shifted(man.frames, pixels)) for pixels in (4, 10)]
    assert same.value("pose_oks") > cards[0].value("pose_oks") > cards[1].value("pose_oks")
    # His hips are near the edge of the picture, so that fewer joints than all are found where they were.
    assert cards[0].value("pose_mpjpe") == pytest.approx(cards[1].value("pose_mpjpe") * 0.4, rel=0.35)
    for card in cards:
        assert card.value("identity_clothes") == pytest.approx(same.value("identity_clothes"), abs=1)
        assert card.value("motion") == pytest.approx(1, abs=0.08)
        assert card.value("flicker") == pytest.approx(same.value("flicker"), abs=0.003)


def test_a_frozen_dancer_does_not_move(score: Any, same: Scorecard, man: Clip) -> None:
    card = score(changes.frozen(man.frames, 0))
    assert (card.value("motion"), card.value("flicker"), card.value("warp")) == (0, 1, 0)
    assert card.value("pose_pck") < 0.7
    assert card.value("identity_clothes") == pytest.approx(same.value("identity_clothes"), abs=2)


def test_noise_and_blur_are_quality_not_pose(score: Any, same: Scorecard, man: Clip) -> None:
    noisy, blurred = score(changes.noised(man.frames, 8)), score(changes.blurred(man.frames, 1.2))
    assert noisy.value("sharpness") > 2 * same.value("sharpness")
    assert noisy.value("warp") > same.value("warp") + 3
    assert blurred.value("sharpness") < 0.3 * same.value("sharpness")
    for card in (noisy, blurred):
        assert card.value("pose_pck") > 0.9
        assert card.value("motion") == pytest.approx(1, abs=0.12)
        assert card.value("identity_clothes") == pytest.approx(same.value("identity_clothes"), abs=1.5)
        assert card.value("leakage") == pytest.approx(same.value("leakage"), abs=0.06)


def test_blocks_show(score: Any, same: Scorecard, man: Clip) -> None:
    blocky = [score(changes.compressed(man.frames, loss), ("blockiness",)).value("blockiness") for loss in (50, 80, 95)]
    assert [same.value("blockiness"), *blocky] == sorted([same.value("blockiness"), *blocky])
    assert blocky[-1] > 2.5


def test_a_mirrored_dance_is_another(score: Any, same: Scorecard, man: Clip) -> None:
    card = score(changes.mirrored(man.frames))
    assert card.value("pose_pck") < 0.3
    assert card.value("identity_clothes") == pytest.approx(same.value("identity_clothes"), abs=1)
    for metric in ("motion", "flicker"):
        assert card.value(metric) == pytest.approx(same.value(metric), abs=0.08)


def test_another_man_who_dances_the_same(score: Any, same: Scorecard, man: Clip, other_man: Clip) -> None:
    """He is also the training set: his street is where the leakage goes. Both wear black."""
    cards = [score(changes.mixed(man.frames, other_man.frames, share), METRICS[:3]) for share in (0.4, 1)]
    for metric in ("background", "leakage"):
        values = [card.value(metric) for card in (same, *cards)]
        assert values == sorted(values), metric
    assert cards[-1].value("background") > 20
    assert cards[-1].value("leakage") > 0.8


def test_the_drawn_control_is_as_good_as_its_points(man: Clip, track: PoseTrack, same: Scorecard) -> None:
    """At a size at which thin lines can be read."""
    from s2v_core.pose.track import scale_track
    from s2v_core.video.fit import fit_clip

    large = fit_clip(man.with_frames(man.frames[:6]), (350, 700))
    big = scale_track(track, 2)
    drawn = draw_pose(big).frames[:6]
    by_points, by_drawing = (
        score_clip(large, control=control, metrics=["pose_pck", "pose_mpjpe"]) for control in (big, drawn)
    )
    assert by_drawing.value("pose_pck") == pytest.approx(by_points.value("pose_pck"), abs=0.03)
    assert by_drawing.value("pose_mpjpe") == pytest.approx(by_points.value("pose_mpjpe"), abs=0.3)
    assert "read back" in by_drawing["pose_pck"].how


def test_a_picture_of_nobody_gives_reasons(man: Clip, track: PoseTrack, blazepose_models: Any) -> None:
    empty = np.full((4, 350, 175, 3), 90, np.uint8)
    card = score_clip(empty, control=track, reference=man.frames[0], metrics=METRICS[:6])
    assert card.value("pose_pck") is None
    assert "No person was found in the clip" in card["pose_pck"].reason
    assert card.value("identity_clothes") is None
    assert card.value("background") > 10, "where the control has the dancer is left out"
    assert "control gives the dancer" in card["background"].how


def test_without_nets_poses_are_empty_and_say_so(
    man: Clip, track: PoseTrack, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    monkeypatch.setenv("S2V_CACHE", str(tmp_path))
    card = score_clip(man, control=track, metrics=["pose_pck", "warp"])
    assert card.value("warp") is not None
    assert "pose_detection.tflite" in card["pose_pck"].reason
    assert "pip download" in card["pose_pck"].reason
