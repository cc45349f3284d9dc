from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2v_core.aist.keypoints import Keypoints2d, camera_index, load_keypoints2d
from s2v_core.aist.names import ClipName
from s2v_core.errors import SettingsError


def content(frames: int = 5, cameras: int = 9, **changed: Any) -> dict[str, Any]:
    random = np.random.default_rng(1)
    points = random.uniform(0, 1, (cameras, frames, 17, 3)).astype(np.float32)
    points[..., :2] *= (1920, 1080)
    points[0, 0] = np.nan
    stamps = np.arange(frames) * 16667
    return {"keypoints2d": points, "det_scores": np.ones((cameras, frames)), "timestamps": stamps, **changed}


def written(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def by_numpy_1(data: bytes) -> bytes:
    """A pickle of numpy 2 with the names that numpy 1 wrote, as the published files have them."""
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        for before, after in (
            (b"c" + new + b"\n", b"c" + old + b"\n"),
            (bytes([0x8C, len(new)]) + new, bytes([0x8C, len(old)]) + old),
        ):
            count = data.count(before)
            data = data.replace(before, after)
            if count and before[:1] == b"\x8c" and data[2:3] == b"\x95":  # a frame's length stands before it
                data = data[:3] + struct.pack("<Q", struct.unpack("<Q", data[3:11])[0] - count) + data[11:]
    return data


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("old", [False, True])
def test_arrays_of_numpy_1_and_2(tmp_path: Path, protocol: int, old: bool) -> None:
    value = content()
    data = pickle.dumps(value, protocol)
    renamed = by_numpy_1(data)
    assert b"numpy.core" in renamed
    assert b"_core" not in renamed
    assert np.array_equal(pickle.loads(renamed)["det_scores"], value["det_scores"])
    (tmp_path / "a.pkl").write_bytes(renamed if old else data)
    read = load_keypoints2d(tmp_path / "a.pkl")
    assert np.array_equal(read.points, value["keypoints2d"][..., :2], equal_nan=True)
    assert np.array_equal(read.scores, value["keypoints2d"][..., 2], equal_nan=True)
    assert read.times == tuple(Fraction(index, 60) for index in range(5))


@pytest.mark.parametrize(
    "make", [lambda a: a.astype(">f8"), lambda a: np.asfortranarray(a), lambda a: a[:, ::-1][:, ::-1]]
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_any_order(tmp_path: Path, make: Callable[[Any], Any], protocol: int) -> None:
    value = content()
    value["keypoints2d"] = make(value["keypoints2d"])
    read = load_keypoints2d(written(tmp_path / "a.pkl", value, protocol))
    assert np.array_equal(read.points, value["keypoints2d"][..., :2].astype(np.float32), equal_nan=True)


def test_times_have_gaps_where_frames_are_left_out(tmp_path: Path) -> None:
    for unit in (16667, 1, 16.667):
        stamps = np.array([0, 1, 2, 5, 6]) * unit
        times = load_keypoints2d(written(tmp_path / "a.pkl", content(timestamps=stamps))).times
        assert [float(time) * 60 for time in times] == pytest.approx([0, 1, 2, 5, 6])
    no_stamps = content()
    del no_stamps["timestamps"]
    assert load_keypoints2d(written(tmp_path / "a.pkl", no_stamps)).times[-1] == Fraction(4, 60)
    assert load_keypoints2d(written(tmp_path / "a.pkl", content(1))).times == (0,)


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ((os.system, "touch owned"), "posix.system" if os.name == "posix" else "nt.system"),
        ((eval, "1"), "builtins.eval"),
        ((np.load, "x"), "numpy.load"),
        ((np.memmap, "owned", "uint8", "w+", 0, 4), "numpy.memmap"),
        ((Path, "x"), "pathlib"),
        ((np.ndarray.__reduce__, np.zeros(1)), "getattr"),
    ],
)
def test_what_a_pickle_wants_to_run_is_named_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "evil.pkl", content(extra=Evil(*call)))
    with pytest.raises(SettingsError, match="asks for more than arrays") as caught:
        load_keypoints2d(path)
    assert named in caught.value.got
    assert [file.name for file in tmp_path.iterdir()] == ["evil.pkl"]


def test_other_ways_out_of_a_pickle(tmp_path: Path) -> None:
    for data, got in (
        (b"Poutside\n.", "outside object"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "rot13"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"cnumpy.dtype\ntype\n.", "numpy.dtype.type"),
    ):
        (tmp_path / "a.pkl").write_bytes(data)
        with pytest.raises(SettingsError) as caught:
            load_keypoints2d(tmp_path / "a.pkl")
        assert got in caught.value.got
    for data in (
        b"r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\x03\x00\x00\x00a.",
        b"",
        b"I5\n.",
        b"\x80\x05\x95",
    ):
        (tmp_path / "a.pkl").write_bytes(data)
        with pytest.raises(SettingsError, match="no keypoints that can be read"):
            load_keypoints2d(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([1], "a list"),
        ({}, "a dict"),
        ({"keypoints3d": np.zeros((5, 17, 3))}, "keypoints3d"),
        (content(keypoints2d=np.zeros((9, 5, 25, 3))), "[9, 5, 25, 3]"),
        (content(keypoints2d=np.zeros((9, 0, 17, 3))), "[9, 0, 17, 3]"),
        (content(keypoints2d=[[np.zeros((17, 3))]]), "of no array"),
        (content(keypoints2d=np.array([{}], object)), "of no array"),
        (content(keypoints2d=np.zeros(3, "c16")), "of no array"),
        (content(timestamps=np.arange(4)), "timestamps int64 [4] beside 5 frames"),
        (content(timestamps=np.zeros(5)), "do not rise"),
        (content(timestamps=np.full(5, np.nan)), "timestamps float64"),
    ],
)
def test_other_pickles(tmp_path: Path, value: Any, got: str) -> None:
    with pytest.raises(SettingsError, match="no keypoints that can be read") as caught:
        load_keypoints2d(written(tmp_path / "a.pkl", value))
    assert got in caught.value.got


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_keypoints2d(tmp_path / "a.pkl")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), protocol=st.integers(0, 5))
def test_no_bytes_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, protocol: int) -> None:
    good = pickle.dumps(content(2, 1), protocol)
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(changed), 400) - 1))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("fuzz") / "a.pkl"
    path.write_bytes(changed)
    try:
        assert load_keypoints2d(path).points.shape[2:] == (17, 2)
    except SettingsError as error:
        assert error.got


def test_cameras_by_name() -> None:
    keypoints = Keypoints2d(np.zeros((9, 1, 17, 2)), np.zeros((9, 1, 17)), (Fraction(0),))
    assert camera_index(keypoints, "c01") == 0
    assert camera_index(keypoints, 9) == 8
    assert camera_index(keypoints, ClipName.parse("gBR_sBM_c05_d04_mBR0_ch01")) == 4
    for wrong in ("c10", "cAll", "c00", "front", 12):
        with pytest.raises(SettingsError, match="no keypoints of the camera") as caught:
            camera_index(keypoints, wrong)
        assert caught.value.expected == "c01 to c09"
