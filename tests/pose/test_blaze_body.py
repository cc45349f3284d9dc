from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from s2v_core.litert import LiteRTNet
from s2v_core.models import BLAZEPOSE, require_model
from s2v_core.pose import blaze_body
from s2v_core.pose.blaze_body import BodyTracker, OneEuro
from s2v_core.video.clip import Clip


@pytest.mark.parametrize(
    ("edge", "degrees"), [((50, 10), 0), ((90, 50), 90), ((50, 90), 180), ((10, 50), -90), ((78.284, 21.716), 45)]
)
def test_the_square_stands_on_the_body(edge: tuple[float, float], degrees: float) -> None:
    roi = blaze_body.roi_from_points(np.array([50.0, 50.0]), np.array(edge))
    assert (roi.x, roi.y) == (50, 50)
    assert roi.side == pytest.approx(2 * 40 * 1.25, rel=1e-3)
    assert math.remainder(math.degrees(roi.angle) - degrees, 360) == pytest.approx(0, abs=1e-2)


def test_points_move_to_the_middle_of_their_heat() -> None:
    heatmap = np.full((64, 64, 3), -20.0, np.float32)
    heatmap[20, 31, 0] = heatmap[20, 32, 0] = 5.0
    heatmap[20, 40, 1] = -0.1  # not sure enough
    points = np.array([[30 * 4 + 1, 21 * 4 + 3], [40 * 4, 20 * 4], [-5, 300]], np.float32)
    refined = blaze_body.refine(points, heatmap)
    assert refined[0] == pytest.approx([31.5 * 4, 20 * 4], abs=1e-2)
    assert (refined[1:] == points[1:]).all(), "left alone: not sure, and outside of the map"


def test_the_filter_holds_still_and_lets_go() -> None:
    still, moving = OneEuro(30), OneEuro(30)
    here = np.array([[10.0, 10.0], [10.0, 50.0]])
    for noise in (0.0, 0.05, -0.05, 0.05):
        value = still(here + noise, 80)
    assert np.abs(value - here).max() < 0.01, "noise of a twentieth of a pixel is nearly gone"
    for step in range(20):
        value = moving(here + 8 * step, 80)
    assert np.abs(value - (here + 8 * 19)).max() < 3, "eight pixels a frame are followed"


def test_after_a_loss_the_detector_runs_in_the_same_frame(dancer_clip: Clip, blazepose_models: Path) -> None:
    tracker = BodyTracker(*(LiteRTNet(require_model(entry.name)) for entry in BLAZEPOSE), fps=15.0)
    wide = np.zeros((350, 700, 3), np.uint8)
    left, right = wide.copy(), wide.copy()
    left[:, :175], right[:, 525:] = dancer_clip.frames[0], dancer_clip.frames[0]
    first, _ = tracker.next(left)
    second, note = tracker.next(right)
    assert first is not None
    assert second is not None, "a jump of three widths costs no frame"
    assert note == ""
    assert np.median(second[:, 0] - first[:, 0]) == pytest.approx(525, abs=3)
