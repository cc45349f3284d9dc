from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.training.manifest import read_manifest

HEADER = "video,prompt,vace_video,vace_reference_image"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mkv", "pose.mkv", "face.png", "mask.mkv"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "metadata.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def test_a_toy_world_is_a_training_set(toy_set: Path) -> None:
    found = read_manifest(toy_set)
    assert [row.number for row in found.rows] == [1, 2, 3]
    for row in found.rows:
        assert row.prompt.startswith("The video shows a dancer")
        assert row.video.parent.name == "clips"
        assert row.control is not None
        assert row.control.parent.name == "controls"
        assert row.reference is not None
        assert row.reference.suffix == ".png"
        assert row.mask is None
    assert read_manifest(toy_set / "metadata.csv") == found


def test_the_hash_follows_contents_and_order_not_names(folder: Path) -> None:
    one = read_manifest(write(folder, 'a.mkv,"one, two",pose.mkv,face.png', "a.mkv,three,pose.mkv,")).sha256()
    (folder / "b.mkv").write_bytes((folder / "a.mkv").read_bytes())
    assert read_manifest(write(folder, 'b.mkv,"one, two",pose.mkv,face.png', "a.mkv,three,pose.mkv,")).sha256() == one
    (folder / "b.mkv").write_bytes(b"other")
    changed = read_manifest(write(folder, 'b.mkv,"one, two",pose.mkv,face.png', "a.mkv,three,pose.mkv,")).sha256()
    turned = read_manifest(write(folder, "a.mkv,three,pose.mkv,", 'a.mkv,"one, two",pose.mkv,face.png')).sha256()
    assert len({one, changed, turned}) == 3


def test_masks_byte_order_marks_and_other_columns_are_taken(folder: Path) -> None:
    table = write(folder, "a.mkv,x,pose.mkv,,mask.mkv,7", header=f"{HEADER},vace_video_mask,seed") / "metadata.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    (row,) = read_manifest(folder).rows
    assert row.mask == folder / "mask.mkv"
    assert row.reference is None


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([], HEADER, "holds no clips"),
        (["a.mkv,x"], "video,prompt", "lacks columns"),
        (["a.mkv,pose.mkv"], "video,vace_video", "lacks columns"),
        (["a.mkv,,pose.mkv,"], HEADER, "Row 1 .*incomplete"),
        (["a.mkv,x,pose.mkv,", "b.mkv,x,pose.mkv,"], HEADER, "Row 2 .*video that is not there"),
        (["a.mkv,x,,"], HEADER, "Row 1 .*nothing for VACE"),
        (["a.mkv,x,../pose.mkv,"], HEADER, "Row 1 .*vace_video that cannot be used"),
        (["a.mkv,one, two,pose.mkv,face.png"], HEADER, "Row 1 .*more fields"),
    ],
)
def test_what_cannot_be_trained_is_named(folder: Path, lines: list[str], header: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_manifest(write(folder, *lines, header=header))


def test_a_missing_set_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no training set") as caught:
        read_manifest(tmp_path / "nothing")
    assert "vace_video" in caught.value.remedy


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: f"{HEADER}\n{text}".encode())))
def test_no_table_ends_in_another_error(folder: Path, data: bytes) -> None:
    (folder / "metadata.csv").write_bytes(data)
    try:
        assert read_manifest(folder).rows
    except SettingsError as error:
        assert error.expected
