from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.aist.keypoints import Keypoints2d
from s2v_core.errors import SettingsError, VideoError
from s2v_core.pose.aistpp import LACKS, aistpp_track, load_aistpp, to_dwpose
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND

# A person who stands and faces the camera: COCO's 17 points. Their right is the picture's left.
STANDING = np.array(
    [
        [960, 200], [980, 185], [940, 185], [1005, 195], [915, 195], [1050, 330], [870, 330], [1090, 480], [830, 480],
        [1100, 620], [820, 620], [1020, 620], [900, 620], [1025, 800], [895, 800], [1030, 980], [890, 980],
    ],
    np.float32,
)  # fmt: skip


def keypoints(frames: int = 300, times: tuple[Fraction, ...] | None = None) -> Keypoints2d:
    """Nine cameras; the person moves one pixel to the right a frame, ten pixels down a camera."""
    points = np.tile(STANDING, (9, frames, 1, 1))
    points[..., 0] += np.arange(frames)[:, None]
    points[..., 1] += 10 * np.arange(9)[:, None, None]
    scores = np.full((9, frames, 17), 0.8, np.float32)
    return Keypoints2d(points, scores, times or tuple(Fraction(index, 60) for index in range(frames)))


def test_the_layout_is_openposes() -> None:
    points, scores = to_dwpose(STANDING[None], np.linspace(0.4, 1.2, 17, dtype=np.float32)[None])
    nose, neck, right_shoulder, left_wrist, right_ankle, left_ear = points[0, [0, 1, 2, 7, 10, 17]].tolist()
    assert nose == [960, 200]
    assert neck == [960, 330]
    assert right_shoulder == [870, 330]
    assert left_wrist == [1100, 620]
    assert right_ankle == [890, 980]
    assert left_ear == [1005, 195]
    assert points[0, 14].tolist() == [940, 185], "the right eye"
    assert scores[0, 1] == pytest.approx(0.4 + 0.05 * 5)
    assert scores.max() == 1
    for part in (FEET, FACE, LEFT_HAND, RIGHT_HAND):
        assert not scores[:, part].any()


def test_what_is_not_a_number_is_not_there() -> None:
    points, scores = np.tile(STANDING, (4, 1, 1)), np.full((4, 17), 0.8, np.float32)
    points[0, 5, 1] = np.nan
    scores[1, 6] = np.nan
    points[2] = np.nan
    scores[3, 5] = 0.3
    out, sure = to_dwpose(points, scores)
    assert np.isfinite(out).all()
    assert sure[0, [1, 2, 5]] == pytest.approx([0, 0.8, 0]), "no neck without a left shoulder"
    assert sure[1, [1, 2, 5]] == pytest.approx([0, 0, 0.8])
    assert not sure[2].any()
    assert sure[3, [1, 5]] == pytest.approx([0, 0.3])


def test_a_camera_and_a_time(tmp_path: Path) -> None:
    track = aistpp_track(keypoints(), "c03", start=1, frames=49, fps=16)
    assert track.points.shape == (49, 1, 134, 2)
    assert (track.canvas, track.fps, track.backend) == ((1080, 1920), Fraction(16), "AIST++ keypoints2d, c03")
    # 60/16 = 3.75 frames a step; halves go to the earlier frame.
    assert (track.points[:5, 0, 0, 0] - 960).tolist() == [60, 64, 67, 71, 75]
    assert track.points[0, 0, 0, 1] == 220
    assert track.notes == (LACKS, *[""] * 48)
    assert draw_pose(track, size=(640, 360)).frames.any(axis=(1, 2, 3)).all()
    value = {"keypoints2d": np.concatenate([keypoints().points, keypoints().scores[..., None]], axis=-1)}
    (tmp_path / "gBR_sBM_cAll_d04_mBR0_ch01.pkl").write_bytes(pickle.dumps(value))
    read = load_aistpp(tmp_path / "gBR_sBM_cAll_d04_mBR0_ch01.pkl", "c03", start=1, frames=49)
    assert np.array_equal(read.points, track.points)


@given(
    start=st.fractions(0, 2, max_denominator=1000),
    fps=st.fractions(1, 120, max_denominator=1001),
    count=st.integers(1, 90),
)
def test_every_frame_is_the_nearest(start: Fraction, fps: Fraction, count: int) -> None:
    frames = 300
    if start + (count - 1) / fps >= Fraction(frames, 60):
        with pytest.raises(SettingsError, match="does not reach"):
            aistpp_track(keypoints(frames), start=start, fps=fps, frames=count)
        return
    track = aistpp_track(keypoints(frames), start=start, fps=fps, frames=count)
    for index, x in enumerate(track.points[:, 0, 0, 0] - 960):
        exact = (start + index / fps) * 60
        assert abs(int(x) - exact) <= Fraction(1, 2) or (int(x) == frames - 1 and exact > x)


def test_all_to_the_end() -> None:
    assert len(aistpp_track(keypoints(300), fps=16)) == 80
    assert len(aistpp_track(keypoints(301), fps=16)) == 81
    assert len(aistpp_track(keypoints(300), fps=60, start=4)) == 60
    for start in (5, 5.1, 1e6):
        with pytest.raises(SettingsError, match="does not reach"):
            aistpp_track(keypoints(300), start=start)
    for start in (-1, float("nan"), "x"):
        with pytest.raises(SettingsError, match="start"):
            aistpp_track(keypoints(300), start=start)  # type: ignore[arg-type]


def test_gaps_and_empty_frames_are_said() -> None:
    known = keypoints(6, tuple(Fraction(index, 60) for index in (0, 1, 2, 9, 10, 11)))
    known.points[0, 4] = np.nan
    track = aistpp_track(known, fps=60)
    assert len(track) == 12
    gap = "AIST++ has no frame at this moment"
    assert track.notes == (LACKS, "", "", "", *[gap] * 4, "", "", "no person found", "")
    assert track.found.tolist() == [not note or note == LACKS for note in track.notes]


@pytest.mark.parametrize(("fit", "scale", "dx", "dy"), [("crop", 0.5, -300, 0), ("letterbox", 0.1875, 0, 168.75)])
def test_the_points_lie_on_the_fitted_clip(fit: str, scale: float, dx: float, dy: float) -> None:
    whole, fitted = aistpp_track(keypoints(), frames=3), aistpp_track(keypoints(), frames=3, size=(360, 540), fit=fit)
    assert fitted.canvas == (540, 360)
    assert fitted.points[:, 0, BODY] == pytest.approx(whole.points[:, 0, BODY] * scale + np.array([dx, dy]), abs=1e-3)
    with pytest.raises(VideoError, match="fit"):
        aistpp_track(keypoints(), frames=3, size=(360, 540), fit="stretch")
