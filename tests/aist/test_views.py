from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s2v_core.aist.views import load_views, read_views
from s2v_core.errors import SettingsError

AZIMUTHS = {"c01": 0.0, "c02": 44.0, "c03": 91.5, "c04": 135.0, "c05": 179.0, "c06": -130.0, "c07": -88.0, "c08": -45.0}


def setting(turn: Rotation, shift: np.ndarray, heights: tuple[float, ...] = (1.2,)) -> list[dict]:
    """Cameras in a ring of radius 5 that look at the stage's middle, 1 above its floor, anywhere in the world.

    The dancer stands at the origin, up is z, and looks along y to c01; counterclockwise from above is towards -x.
    """
    cameras = []
    for number, (name, azimuth) in enumerate(AZIMUTHS.items()):
        angle = np.radians(azimuth)
        middle = np.array([0, 0, 1.0])
        centre = np.array([-np.sin(angle) * 5, np.cos(angle) * 5, heights[number % len(heights)]])
        forward = (middle - centre) / np.linalg.norm(middle - centre)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])  # x right, y down, z forward
        axes = axes @ turn.inv().as_matrix()
        placed = turn.apply(centre) + shift
        vector = Rotation.from_matrix(axes).as_rotvec()
        cameras.append(
            {"name": name, "size": [1920, 1080], "rotation": vector.tolist(), "translation": (-axes @ placed).tolist()}
        )
    return cameras


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.2,), (1.0, 2.0), (0.5, 1.0, 3.0)]))
def test_the_directions_are_true_in_any_world(tmp_path_factory, seed: int, heights: tuple[float, ...]):
    chance = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("cameras") / "setting1.json"
    path.write_text(json.dumps(setting(Rotation.random(rng=chance), chance.normal(size=3) * 100, heights)))
    views = read_views(path)
    # Cameras of unlike heights tilt what is taken for "up" a little.
    near = 0.1 if len(heights) == 1 else 4
    for name, azimuth in AZIMUTHS.items():
        assert abs((views[name].azimuth - azimuth + 180) % 360 - 180) < near
    assert views["c01"].azimuth == 0 and views["c01"].distance == pytest.approx(5, abs=0.3)
    if len(heights) == 1:
        assert views["c01"].elevation == pytest.approx(np.degrees(np.arctan2(0.2, 5)), abs=0.1)


def test_a_sequence_finds_its_setting(tmp_path: Path):
    (tmp_path / "mapping.txt").write_text("gBR_sBM_cAll_d04_mBR0_ch01 setting1\ngPO_sBM_cAll_d10_mPO0_ch01 ../other\n")
    (tmp_path / "setting1.json").write_text(json.dumps(setting(Rotation.identity(), np.zeros(3))))
    views = load_views(tmp_path, "gBR_sBM_cAll_d04_mBR0_ch01")
    assert views["c03"].azimuth == pytest.approx(91.5)
    with pytest.raises(SettingsError, match="does not name"):
        load_views(tmp_path, "gPO_sBM_cAll_d10_mPO0_ch01")
    with pytest.raises(SettingsError, match="not AIST"):
        load_views(tmp_path / "no", "gBR_sBM_cAll_d04_mBR0_ch01")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", '[{"name": "c01"}]', json.dumps(setting(Rotation.identity(), np.zeros(3))[1:])]
)
def test_a_file_that_is_no_setting(tmp_path: Path, text: str):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(SettingsError, match="holds no cameras"):
        read_views(tmp_path / "s.json")
