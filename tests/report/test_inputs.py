"""What is shown above the cells: what their scenes name, one for each value where axes vary it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from s2v_core.errors import SettingsError, VideoError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweep_report.inputs import MOST, Input, as_inputs, inputs_of
from s2v_core.sweeps.axes import Sweep, make_axis, make_part, zip_axes
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.run import SweepResult
from s2v_core.sweeps.scene import PoseSource, Scene
from s2v_core.sweeps.store import CellStore
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_png
from tests.report.conftest import TINY


@pytest.fixture
def picture(tmp_path):
    """Writes a grey picture of a level."""
    return lambda level: str(write_png(np.full((8, 8, 3), level, np.uint8), tmp_path / f"{level}.png"))


def planned(tmp_path, axes, scene):
    sweep = Sweep(Prompt("a dancer"), TINY, axes, scene=scene)
    cells = plan(sweep, {"model": "none"}, str)
    return SweepResult(sweep, cells, (), (), {}, CellStore(tmp_path / "cells"), 0.0)


def control(source, settings):
    """A pose video whose level is the file's name."""
    if not source.file:
        return None
    if not source.file.isdigit():
        raise SettingsError(f"Nobody was found in {source.file}.")
    return Clip(np.full((settings.frames, 16, 32, 3), int(source.file), np.uint8), Fraction(16))


def said(found):
    return [(one.name, int(one.frames[0, 0, 0, 0]), len(one.frames), one.axis, one.at) for one in found]


def test_the_sweeps_own_pictures_belong_to_all_cells(tmp_path, picture):
    scene = Scene(pose=PoseSource("7", drawn=True), reference=(picture(50), picture(60)))
    found, notes = inputs_of(planned(tmp_path, (make_axis("seed", [0, 1]),), scene), control)
    assert said(found) == [
        ("control video", 7, 5, None, None),
        ("reference 1", 50, 1, None, None),
        ("reference 2", 60, 1, None, None),
    ]
    assert notes == ()


def test_axes_over_dances_and_persons_have_one_for_each_value(tmp_path, picture):
    poses = make_part("pose", [PoseSource("7"), PoseSource("9")])
    people = make_part("reference", [(picture(50),), (picture(60),)])
    axes = (make_axis("seed", [0, 1]), zip_axes([poses, people], ["calm", "quick"]))
    found, _ = inputs_of(planned(tmp_path, axes, Scene()), control)
    assert said(found) == [
        ("control video: calm", 7, 5, 1, 0),
        ("control video: quick", 9, 5, 1, 1),
        ("reference: calm", 50, 1, 1, 0),
        ("reference: quick", 60, 1, 1, 1),
    ]


def test_what_cannot_be_had_is_a_note(tmp_path):
    axes = (make_axis("pose", [PoseSource("empty room.mp4"), PoseSource(""), PoseSource("5")]),)
    found, notes = inputs_of(planned(tmp_path, axes, Scene(reference=("gone.png",))), control)
    assert said(found) == [("control video: 5", 5, 5, 0, 2)]
    assert notes[0] == "The control video: empty room is not shown: Nobody was found in empty room.mp4."
    assert notes[1].startswith("The reference is not shown: ")


def test_there_is_a_limit(tmp_path):
    axes = (make_axis("pose", [PoseSource(str(number)) for number in range(1, 20)]),)
    assert len(inputs_of(planned(tmp_path, axes, Scene()), control)[0]) == MOST


def test_wrong_pictures_are_refused():
    assert [one.name for one in as_inputs({"a": np.zeros((1, 2, 2, 3), np.uint8)})] == ["a"]
    with pytest.raises(VideoError, match="no picture and no clip"):
        Input("a", np.zeros((2, 2, 3), np.uint8))
