from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s2v_core.errors import SettingsError, VideoError
from s2v_core.pose import draw, skeleton, strokes
from s2v_core.pose.draw import draw_pose, fit_track, overlay
from s2v_core.pose.track import BODY, FACE, LEFT_HAND, RIGHT_HAND, PoseTrack, scale_track
from s2v_core.video.clip import Clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def library() -> Iterator[ModuleType]:
    """controlnet-aux's own ``dwpose`` package, without the rest of controlnet-aux (ten seconds of nets)."""
    found = importlib.util.find_spec("controlnet_aux")
    assert found is not None, "controlnet-aux is missing"
    parent = ModuleType("controlnet_aux_for_tests")
    parent.__path__ = list(found.submodule_search_locations or [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KMP_DUPLICATE_LIB_OK", os.environ.get("KMP_DUPLICATE_LIB_OK", "TRUE"))  # it sets this itself
        patch.setitem(sys.modules, parent.__name__, parent)
        yield importlib.import_module(f"{parent.__name__}.dwpose")


def people(count: int = 2, frames: int = 2, height: int = 240, width: int = 320, seed: int = 3) -> PoseTrack:
    random = np.random.default_rng(seed)
    points = random.uniform(5, (width - 5, height - 5), (frames, count, 134, 2)).astype(np.float32)
    scores = random.uniform(0, 1, (frames, count, 134)).astype(np.float32)
    return PoseTrack(points, scores, (height, width), Fraction(16), "test", ("",) * frames)


def by_controlnet_aux(
    library: ModuleType, track: PoseTrack, frame: int, hands: bool = True, face: bool = True, size: Any = None
) -> Any:
    """The picture by ``controlnet_aux.dwpose.draw_pose``, its arrays made as its detector makes them.

    Its detector has no switch for layers: one is switched off by leaving its points out, as VACE's annotator does.
    """
    height, width = track.canvas
    relative = track.points[frame].astype(np.float64) / (width, height)
    seen = track.scores[frame] > 0.3
    count = len(relative)
    subset = np.where(seen[:, :18], np.arange(18 * count).reshape(count, 18), -1).astype(np.float64)
    bodies = {"candidate": relative[:, :18].reshape(-1, 2).copy(), "subset": subset}
    relative[~seen] = -1
    both = np.vstack([relative[:, 92:113], relative[:, 113:]])
    pose = {"bodies": bodies, "hands": both if hands else [], "faces": relative[:, 24:92] if face else []}
    return library.draw_pose(pose, *(size or track.canvas))


def by_vaces_annotator(library: ModuleType, track: PoseTrack, frame: int, hands: bool = False) -> Any:
    """As ali-vilab/VACE's annotator: drawn at 1024, red and blue swapped, resized to the picture in one piece."""
    height, width = track.canvas
    scale = 1024 / min(height, width)
    large = [round(side * scale / 64) * 64 for side in (height, width)]
    drawn = by_controlnet_aux(library, track, frame, hands, size=large)[..., ::-1]
    bigger = height * width > large[0] * large[1]
    return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LANCZOS4 if bigger else cv2.INTER_AREA)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(("hands", "face"), [(False, True), (True, True), (False, False), (True, False)])
def test_pictures_are_controlnet_auxs(library: ModuleType, count: int, hands: bool, face: bool) -> None:
    track = people(count)
    openpose = draw_pose(track, palette="openpose", hands=hands, face=face, stick="fixed")
    vace = draw_pose(track, hands=hands, face=face, stick="fixed")
    assert openpose.fps == track.fps
    for index in range(len(track)):
        expected = by_controlnet_aux(library, track, index, hands, face)
        assert expected.any()
        assert np.array_equal(openpose.frames[index], expected)
        assert np.array_equal(vace.frames[index], expected[..., ::-1])


def test_the_whole_detector_draws_the_same(library: ModuleType) -> None:
    """``DWposeDetector.__call__`` itself; only its nets are replaced, by ones that answer with the track's points."""
    track = people(3, 2, 512, 768)
    drawn = draw_pose(track, palette="openpose", hands=True, stick="fixed").frames
    for index in range(len(track)):
        detector = library.DWposeDetector.__new__(library.DWposeDetector)
        detector.pose_estimation = lambda _, i=index: (track.points[i].astype(np.float64), track.scores[i].copy())
        expected = detector(np.zeros((512, 768, 3), np.uint8), output_type="np")
        assert expected.any()
        assert np.array_equal(drawn[index], expected)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 720), (720, 1280), (832, 480), (480, 832), (350, 175), (640, 640), (1000, 999), (1024, 1024), (1920, 1080)],
)
def test_the_stick_is_vaces(library: ModuleType, width: int, height: int) -> None:
    random = np.random.default_rng(width)
    track = people(2, 2, height, width)
    # Somebody small in a corner and somebody large over the edges.
    track.points[:, 0] = random.normal((0.1 * width, 0.8 * height), 0.05 * height, (2, 134, 2))
    track.points[:, 1] = random.normal((0.6 * width, 0.5 * height), 0.5 * height, (2, 134, 2))
    drawn = draw_pose(track, hands=True).frames
    for index in range(len(track)):
        assert np.array_equal(drawn[index], by_vaces_annotator(library, track, index, hands=True))


def test_resizing_by_tiles_is_used() -> None:
    for height, width in ((720, 1280), (480, 832), (1280, 720), (832, 480)):
        rows, columns = draw._tiles(draw._vace_canvas(height, width), (height, width))
        assert rows * columns >= 64
    assert draw._tiles((1024, 1024), (1080, 1080)) == (1, 1)
    assert draw._tiles((1024, 1792), (175, 350)) == (1, 14), "rows of no whole number of pixels"


@settings(max_examples=60, deadline=None)
@given(
    places=arrays.arrays(
        np.float32,
        (2, 134, 2),
        elements=st.one_of(
            st.floats(-40, 200, width=32),
            st.integers(-3, 130).map(float),
            st.sampled_from([0.0, -0.5, 0.99, 1e4, -1e5]),
        ),
        fill=st.floats(5, 90, width=32),
    ),
    scores=arrays.arrays(np.float32, (2, 134), elements=st.sampled_from([0.0, 1.0]), fill=st.just(1.0)),
    canvas=st.tuples(st.integers(1, 130), st.integers(1, 130)),
)
def test_any_points_are_drawn_the_same(library: ModuleType, places: Any, scores: Any, canvas: tuple[int, int]) -> None:
    track = PoseTrack(places[None], scores[None], canvas, Fraction(1), "test", ("",))
    picture = np.zeros((*canvas, 3), np.uint8)
    rows, columns = strokes.draw_skeletons(picture, places, scores > 0.3, canvas)
    assert np.array_equal(picture, by_controlnet_aux(library, track, 0))
    picture[rows, columns] = 0
    assert not picture.any(), "nothing outside of the box that is promised"


def test_the_limbs_are_the_skeletons() -> None:
    assert {(limb.start, limb.end) for limb in skeleton.LIMBS} == set(strokes.LIMBS)


def test_long_limbs_stay_in_their_box() -> None:
    """Limbs are turned by whole degrees, so that a long one ends pixels away from its points."""
    random = np.random.default_rng(5)
    picture = np.zeros((1400, 1400, 3), np.uint8)
    points, shown = np.zeros((1, 134, 2), np.float32), np.zeros((1, 134), bool)
    shown[0, [2, 3]] = True
    for _ in range(300):
        points[0, [2, 3]] = random.uniform(0, 1400, (2, 2))
        rows, columns = strokes.draw_skeletons(picture, points, shown, (1400, 1400))
        assert picture[rows, columns].any()
        picture[rows, columns] = 0
    assert not picture.any()


def test_points_that_are_nowhere_are_not_drawn() -> None:
    track = people(1, 4)
    track.scores[:] = 1
    for frame, nowhere in enumerate((np.nan, np.inf, -3e38, 2.0**21)):
        track.points[frame] = nowhere
    with np.errstate(all="raise"):
        assert not draw_pose(track, hands=True).frames.any()
    track.points[0, 0, 1], track.points[0, 0, 2] = (100, 100), (200, 100)
    assert draw_pose(track).frames[0].any()


def test_a_real_dancer_is_drawn_the_same(library: ModuleType, dancer_track: PoseTrack) -> None:
    drawn = draw_pose(dancer_track, palette="openpose", stick="fixed").frames
    by_default = draw_pose(dancer_track).frames
    assert drawn.shape == (45, 350, 175, 3)
    for index in (0, 20, 44):
        assert np.array_equal(drawn[index], by_controlnet_aux(library, dancer_track, index, False))
        assert np.array_equal(by_default[index], by_vaces_annotator(library, dancer_track, index))


def test_shoulders_are_blue_for_vace() -> None:
    track = people(1, 1)
    track.scores[:] = 0
    track.scores[0, 0, [1, 2]] = 1  # the neck and the right shoulder, whose limb is red in openpose
    track.points[0, 0, 1], track.points[0, 0, 2] = (100, 100), (200, 100)
    for stick in draw.STICKS:
        assert draw_pose(track, palette="openpose", stick=stick).frames[0, 100, 150].tolist() == [153, 0, 0]
        assert draw_pose(track, stick=stick).frames[0, 100, 150].tolist() == [0, 0, 153]


def test_layers() -> None:
    track = people(1, 1)

    def lit(**layers: bool) -> int:
        return int(draw_pose(track, **layers).frames.any(axis=-1).sum())

    assert lit(body=False, face=False) == 0
    assert lit(body=False, face=True) > 0
    assert lit(body=True, face=False) < lit() < lit(hands=True)
    for part in (BODY, FACE, LEFT_HAND, RIGHT_HAND):
        one = people(1, 1)
        one.scores[:] = 0
        one.scores[:, :, part] = 1
        assert draw_pose(one, hands=True).frames.any()


def test_what_scores_too_little_is_not_drawn(caplog: pytest.LogCaptureFixture) -> None:
    track = people(2, 3)
    track.scores[1] = 0.3
    track.scores[2] = 0
    track.points[2] = np.nan
    with caplog.at_level(logging.WARNING):
        drawn = draw_pose(track, hands=True).frames
    assert drawn[0].any()
    assert not drawn[1:].any()
    assert "2 of 3 pose pictures are black" in caplog.text
    assert draw_pose(track, threshold=0.29).frames[1].any()
    assert not draw_pose(people(0, 2)).frames.any(), "a track of nobody"


def test_another_size_is_another_canvas() -> None:
    track = people()
    same_shape = draw_pose(track, size=(640, 480))
    assert np.array_equal(same_shape.frames, draw_pose(scale_track(track, 2.0)).frames)
    wide = fit_track(track, (1280, 720))
    assert wide.canvas == (720, 1280)
    assert wide.points == pytest.approx(track.points * 3 + np.array([160, 0]), abs=1e-3), "not stretched, in the middle"
    assert draw_pose(track, size=(1280, 720)).frames.shape == (2, 720, 1280, 3)
    with pytest.raises(SettingsError, match="this size"):
        draw_pose(track, size=(0, 100))


def test_the_stick_of_vace_thins_with_the_picture(dancer_track: PoseTrack) -> None:
    fixed, thin = draw_pose(dancer_track, stick="fixed").frames, draw_pose(dancer_track, stick="vace").frames
    assert thin.shape == fixed.shape
    assert 0 < thin.astype(int).sum() < fixed.astype(int).sum() / 3
    # On a picture that already has the annotator's size both are one.
    large = people(1, 1, 1024, 1024)
    assert np.array_equal(draw_pose(large).frames, draw_pose(large, stick="fixed").frames)


def test_every_palette_has_its_stick() -> None:
    track = people()
    for palette, stick in (("vace", "vace"), ("openpose", "fixed")):
        by_default, chosen = draw_pose(track, palette=palette), draw_pose(track, palette=palette, stick=stick)
        assert np.array_equal(by_default.frames, chosen.frames)


def test_choices_that_do_not_exist() -> None:
    with pytest.raises(SettingsError, match="does not exist") as caught:
        draw_pose(people(), palette="rgb")
    assert "vace or openpose" in caught.value.expected


def test_the_skeleton_over_the_dancer(dancer_clip: Clip, dancer_track: PoseTrack) -> None:
    over = overlay(dancer_clip, dancer_track)
    assert over.frames.shape == dancer_clip.frames.shape
    assert over.source is dancer_clip.source
    drawn = draw_pose(dancer_track, palette="openpose", hands=True, stick="vace").frames
    lines = drawn.any(axis=-1)
    assert 0.01 < lines.mean() < 0.3
    expected = (dancer_clip.frames * np.float32(0.55)).astype(np.uint8)
    assert np.array_equal(over.frames[~lines], expected[~lines])
    assert (over.frames >= expected).all()
    assert (over.frames[drawn.max(axis=-1) > 100].max(axis=-1) > 160).all(), "the lines are bright"
    double = np.repeat(np.repeat(dancer_clip.frames, 2, axis=1), 2, axis=2)
    assert overlay(dancer_clip.with_frames(double), dancer_track).frames.shape == double.shape
    with pytest.raises(VideoError, match="belong together"):
        overlay(dancer_clip.with_frames(dancer_clip.frames[:3]), dancer_track)


def test_drawing_imports_no_nets() -> None:
    script = (
        "import sys, numpy as np; from fractions import Fraction; from s2v_core.pose.draw import draw_pose; "
        "from s2v_core.pose.track import PoseTrack; t = np.full((1, 1, 134, 2), 9, np.float32), np.ones((1, 1, 134)); "
        "assert draw_pose(PoseTrack(*t, (64, 64), Fraction(1), '', ('',)), hands=True).frames.any(); "
        "print([n for n in ('controlnet_aux', 'torch', 'timm', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
