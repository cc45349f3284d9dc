from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.pose.before_after import before_and_after, before_and_after_clip
from s2v_core.pose.retarget import RetargetResult, retarget
from s2v_core.pose.settings import RetargetSettings
from s2v_core.pose.track import PoseTrack
from s2v_core.video.clip import Clip
from s2v_core.video.text import GROUND
from tests.pose.toy_dancer import ADULT, OTHER, dance, seen, still

GREY = 90


@pytest.fixture(scope="module")
def toy() -> PoseTrack:
    return seen(dance(ADULT, 24)[0])


@pytest.fixture(scope="module")
def result(toy: PoseTrack) -> RetargetResult:
    return retarget(toy, seen(still(OTHER), (400, 800), 3.0))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.full((800, 400, 3), GREY, np.uint8)


def test_the_clip_beside_its_result(toy: PoseTrack, result: RetargetResult, image: np.ndarray) -> None:
    drawn = before_and_after_clip(None, toy, result, image)
    assert (len(drawn), drawn.fps) == (len(toy), toy.fps)
    assert drawn.height % 2 == drawn.width % 2 == 0
    left, middle, right = slice(28, 428), slice(442, 642), slice(-228, -28)
    frames = drawn.frames[:, -428:-28]
    assert np.array_equal(frames[0, :, middle], frames[-1, :, middle]), "the reference stands still"
    for panel in (left, right):
        steps = [np.abs(frames[i, :, panel].astype(int) - frames[i + 4, :, panel]).sum() for i in (0, 8, 12)]
        assert min(steps) > 0, "the dance moves"
    assert (frames[..., left, :].max(axis=(0, 1, 2)) > 200).all(), "skeletons on black when there is no clip"
    # The new skeleton is drawn where the new points are: the wrist is a joint of its own colour.
    for frame in (0, 10, 20):
        x, y = (result.track.points[frame, 0, 1] / 2).round().astype(int)
        neck = frames[frame, :, right][y, x].astype(int)
        assert np.abs(neck - int(GREY * 0.4)).max() > 100


def test_the_page(toy: PoseTrack, result: RetargetResult, image: np.ndarray, tmp_path: Path) -> None:
    clip = Clip(np.full((len(toy), 720, 720, 3), 200, np.uint8), toy.fps)
    page = before_and_after(clip, toy, result, image)
    assert page.dtype == np.uint8
    assert page.ndim == 3
    few = before_and_after(clip, toy, result, image, moments=2)
    assert few.shape[1] < page.shape[1]
    assert (page[:20] == GROUND).all(), "a margin"
    assert (page[:, -20:] == GROUND).all()
    assert (page[-20:] == GROUND).all(), "no text runs out of the page"
    assert not np.array_equal(page, before_and_after(None, toy, result, image))


def test_stand_ins_are_marked(toy: PoseTrack, image: np.ndarray) -> None:
    reference = seen(still(OTHER), (400, 800), 3.0)
    scores = reference.scores.copy()
    scores[..., [9, 10, 12, 13, *range(18, 24)]] = 0
    whole, cut = (retarget(toy, one) for one in (reference, replace(reference, scores=scores)))
    pages = [before_and_after(None, toy, one, image) for one in (whole, cut)]
    assert pages[1].shape[0] > pages[0].shape[0], "its notes are on the page"


def test_two_sides_with_two_ratios_are_two_rows(toy: PoseTrack, image: np.ndarray) -> None:
    reference = seen(still(OTHER), (400, 800), 3.0)
    points = reference.points.copy()
    points[0, 0, 4] += (points[0, 0, 4] - points[0, 0, 3]) * 0.2
    result = retarget(toy, replace(reference, points=points), RetargetSettings(sides="each"))
    before_and_after(None, toy, result, image)
    from s2v_core.pose.before_after import _table_rows

    names = [name for name, _, _ in _table_rows(result.ratios)]
    assert {"left forearm", "right forearm"} < set(names)
    assert len(names) == len(set(names))


def test_a_small_and_a_wide_picture(toy: PoseTrack) -> None:
    for size in ((1600, 200), (60, 90)):
        result = retarget(toy, seen(still(OTHER), size, 0.4))
        picture = np.full((size[1], size[0], 3), GREY, np.uint8)
        assert before_and_after(None, toy, result, picture).shape[1] < 6000
        assert len(before_and_after_clip(None, toy, result, picture)) == len(toy)


def test_what_does_not_belong_together(toy: PoseTrack, result: RetargetResult, image: np.ndarray) -> None:
    for wrong in (image[:-1], image.astype(np.float32)):
        with pytest.raises(SettingsError, match="do not belong"):
            before_and_after(None, toy, result, wrong)
    short = replace(toy, points=toy.points[:3], scores=toy.scores[:3], notes=toy.notes[:3])
    with pytest.raises(SettingsError, match="do not belong"):
        before_and_after_clip(None, short, result, image)
    with pytest.raises(SettingsError, match="do not belong together"):
        before_and_after(Clip(np.zeros((3, 720, 720, 3), np.uint8), Fraction(24)), toy, result, image)
