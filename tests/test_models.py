from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core import get_blazepose, models
from s2v_core.errors import ModelFileError, SettingsError
from s2v_core.get_blazepose import install_blazepose
from s2v_core.models import (
    BLAZEPOSE,
    BLAZEPOSE_DETECTION,
    BLAZEPOSE_FACE,
    BLAZEPOSE_HANDS,
    BLAZEPOSE_LANDMARKS,
    DWPOSE,
    MODEL_FILES,
    add_model_folder,
    find_model,
    model_entry,
    model_folders,
    require_model,
    verify_model,
)

ALL_NETS = (*BLAZEPOSE, *BLAZEPOSE_HANDS, *BLAZEPOSE_FACE)
TASK_NAMES = ("pose_detector.tflite", "pose_landmarks_detector.tflite")


@pytest.fixture
def empty_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model folders but one in the temporary folder, which does not exist yet."""
    monkeypatch.setattr(models, "_host_folders", [])
    monkeypatch.setattr(models, "_verified", set())
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("S2V_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def nets(mediapipe_wheel: Path) -> tuple[bytes, bytes]:
    with zipfile.ZipFile(mediapipe_wheel) as wheel:
        first, second = (wheel.read(entry.members[0]) for entry in BLAZEPOSE)
    return first, second


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def test_the_table_is_the_wheel(mediapipe_wheel: Path) -> None:
    checked = 0
    with zipfile.ZipFile(mediapipe_wheel) as wheel:
        for entry in MODEL_FILES:
            if entry.members:
                content = wheel.read(entry.members[0])
                assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size, entry.sha256), entry.name
                checked += 1
    assert checked == len(ALL_NETS) == 7


def test_the_table_is_in_order() -> None:
    for names in ([entry.name for entry in MODEL_FILES], [entry.file for entry in MODEL_FILES]):
        assert len(set(names)) == len(names)
    assert all(len(bytes.fromhex(entry.sha256)) == 32 and entry.licence and entry.source for entry in MODEL_FILES)
    assert [entry for entry in MODEL_FILES if entry.used_by] == [*ALL_NETS, *DWPOSE]
    assert model_entry("yolox_l.onnx").name == "dwpose-detector"
    with pytest.raises(SettingsError, match="no model file named 'yolo'"):
        model_entry("yolo")


def test_folders_in_order(tmp_path: Path, empty_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2V_MODELS", os.pathsep.join([f"{tmp_path}/a", "", f"{tmp_path}/b", f"{tmp_path}/a"]))
    add_model_folder(tmp_path / "host")
    add_model_folder(str(tmp_path / "host"))
    assert model_folders() == [tmp_path / name for name in ("a", "b", "host", "cache/models")]
    monkeypatch.delenv("S2V_MODELS")
    assert model_folders() == [tmp_path / "host", tmp_path / "cache" / "models"]


def test_the_first_folder_that_has_it_wins(tmp_path: Path, empty_house: Path) -> None:
    assert find_model("blazepose-detection") is None
    late = tmp_path / "cache" / "models" / "pose_detection.tflite"
    late.parent.mkdir(parents=True)
    late.write_bytes(b"x")
    assert find_model("blazepose-detection") == late
    add_model_folder(tmp_path / "host")
    early = tmp_path / "host" / "pose_detection.tflite"
    early.parent.mkdir()
    early.write_bytes(b"x")
    assert find_model("blazepose-detection") == early


@pytest.mark.parametrize("entry", MODEL_FILES, ids=lambda entry: entry.name)
def test_a_missing_file_says_where_and_how(entry: models.ModelFile, empty_house: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        require_model(entry.name)
    assert entry.file in str(caught.value)
    assert str(empty_house) in str(caught.value)
    assert caught.value.remedy
    if entry in ALL_NETS:
        assert "s2v models get blazepose --from" in caught.value.remedy


def test_install_from_the_wheel(mediapipe_wheel: Path, empty_house: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = install_blazepose(mediapipe_wheel, on_progress=lambda done, total: seen.append((done, total)))
    assert paths == [empty_house / entry.file for entry in ALL_NETS]
    assert everything_below(empty_house) == sorted(path.name for path in paths)
    assert [require_model(entry.name) for entry in ALL_NETS] == paths
    total = sum(entry.size for entry in ALL_NETS)
    assert (len(seen), seen[0], seen[-1]) == (7, (BLAZEPOSE_DETECTION.size, total), (total, total))

    times = [path.stat().st_mtime_ns for path in paths]
    assert install_blazepose(mediapipe_wheel) == paths
    assert [path.stat().st_mtime_ns for path in paths] == times, "what is right is left alone"

    paths[0].write_bytes(b"broken")
    install_blazepose(mediapipe_wheel)
    assert [path.stat().st_mtime_ns for path in paths][1:] == times[1:]
    verify_model(paths[0], BLAZEPOSE_DETECTION)


def test_install_from_a_task_a_folder_and_single_files(nets: tuple[bytes, bytes], tmp_path: Path) -> None:
    task = zip_of(tmp_path / "pose_landmarker_full.task", dict(zip(TASK_NAMES, nets, strict=True)))
    flat = tmp_path / "flat"
    flat.mkdir()
    deep = tmp_path / "deep"
    for entry, content in zip(BLAZEPOSE, nets, strict=True):
        (flat / entry.file).write_bytes(content)
        (deep / entry.members[0]).parent.mkdir(parents=True)
        (deep / entry.members[0]).write_bytes(content)
    for number, source in enumerate((task, flat, deep, deep / "mediapipe")):
        paths = install_blazepose(source, tmp_path / f"out{number}")
        assert [path.read_bytes() for path in paths] == list(nets), source
        assert everything_below(tmp_path / f"out{number}") == sorted(entry.file for entry in BLAZEPOSE), "no more"
    odd_name = tmp_path / "my net.tflite"
    odd_name.write_bytes(nets[1])
    (path,) = install_blazepose(odd_name, tmp_path / "single")
    assert path.name == BLAZEPOSE_LANDMARKS.file
    assert everything_below(tmp_path / "single") == [path.name]


def test_what_a_source_lacks_for_hands_and_face_is_said(
    nets: tuple[bytes, bytes], mediapipe_wheel: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = zip_of(tmp_path / "pose_landmarker_full.task", dict(zip(TASK_NAMES, nets, strict=True)))
    install_blazepose(task, tmp_path / "body")
    for entry in (*BLAZEPOSE_HANDS, *BLAZEPOSE_FACE):
        assert entry.file in caplog.text
    caplog.clear()
    assert len(install_blazepose(tmp_path / "body" / BLAZEPOSE_DETECTION.file, tmp_path / "one")) == 1
    assert not caplog.text, "one file was given, one file is put"
    everything = install_blazepose(mediapipe_wheel, tmp_path / "all")
    assert install_blazepose(tmp_path / "all", tmp_path / "again") == [
        tmp_path / "again" / path.name for path in everything
    ]
    assert not caplog.text


def test_a_wrong_net_for_the_hands_is_refused_too(
    nets: tuple[bytes, bytes], mediapipe_wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(mediapipe_wheel) as wheel:
        extra = {entry.members[0]: wheel.read(entry.members[0]) for entry in (*BLAZEPOSE_HANDS, *BLAZEPOSE_FACE)}
    body = {entry.members[0]: content for entry, content in zip(BLAZEPOSE, nets, strict=True)}
    others = {name: content + b"\0" * 16 for name, content in extra.items()}
    source = zip_of(tmp_path / "other.whl", body | others)
    with pytest.raises(ModelFileError, match="another version"):
        install_blazepose(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(install_blazepose(source, tmp_path / "out", accept_unknown=True)) == 7, "the shapes are right"
    recrop, palm, *_ = (entry.members[0] for entry in BLAZEPOSE_HANDS)
    swapped = zip_of(tmp_path / "swapped.whl", body | extra | {recrop: extra[palm], palm: extra[recrop]})
    with pytest.raises(ModelFileError, match="another net"):
        install_blazepose(swapped, tmp_path / "not", accept_unknown=True)


def test_a_wrong_hash_is_refused_and_leaves_nothing(nets: tuple[bytes, bytes], tmp_path: Path) -> None:
    damaged = bytearray(nets[1])
    damaged[5_000_000] ^= 1
    wheel = zip_of(
        tmp_path / "mediapipe-0.10.14-x.whl",
        {BLAZEPOSE_DETECTION.members[0]: nets[0], BLAZEPOSE_LANDMARKS.members[0]: bytes(damaged)},
    )
    with pytest.raises(ModelFileError) as caught:
        install_blazepose(wheel, tmp_path / "out")
    assert BLAZEPOSE_LANDMARKS.sha256 in caught.value.expected
    assert hashlib.sha256(damaged).hexdigest() in caught.value.got
    assert "--accept-unknown" in caught.value.remedy
    assert not (tmp_path / "out").exists(), "not even the first, right net is written"


def test_another_version_of_the_nets_by_its_shapes(
    nets: tuple[bytes, bytes], tmp_path: Path, empty_house: Path, mediapipe_wheel: Path
) -> None:
    others = tuple(net + b"\0" * 16 for net in nets)  # the same net for LiteRT, another file for a hash
    task = zip_of(tmp_path / "other.task", dict(zip(TASK_NAMES, others, strict=True)))
    with pytest.raises(ModelFileError, match="another version"):
        install_blazepose(task)
    paths = install_blazepose(task, accept_unknown=True)
    assert [path.read_bytes() for path in paths] == list(others)
    assert [require_model(entry.name) for entry in BLAZEPOSE] == paths
    paths[1].write_bytes(others[1][:-1] + b"\1")
    with pytest.raises(ModelFileError, match="is damaged"):
        require_model(BLAZEPOSE_LANDMARKS.name)
    install_blazepose(mediapipe_wheel)
    left = sorted(entry.file for entry in ALL_NETS)
    assert everything_below(empty_house) == left, "the notes are gone with the files"


def test_another_net_is_refused_even_when_unknown_is_accepted(nets: tuple[bytes, bytes], tmp_path: Path) -> None:
    swapped = zip_of(tmp_path / "swapped.task", dict(zip(TASK_NAMES, (nets[1], nets[0]), strict=True)))
    with pytest.raises(ModelFileError, match="another net") as caught:
        install_blazepose(swapped, tmp_path / "out", accept_unknown=True)
    assert "224" in caught.value.expected
    assert "256" in caught.value.got
    noise = zip_of(tmp_path / "noise.task", dict(zip(TASK_NAMES, (b"\1" * 900, b"\1" * 900), strict=True)))
    with pytest.raises(ModelFileError, match=r"not a \.tflite file"):
        install_blazepose(noise, tmp_path / "out", accept_unknown=True)
    magic = zip_of(tmp_path / "magic.task", dict(zip(TASK_NAMES, (b"\0\0\0\0TFL3" + b"\7" * 900,) * 2, strict=True)))
    with pytest.raises(ModelFileError, match="not a net that LiteRT can open"):
        install_blazepose(magic, tmp_path / "out", accept_unknown=True)
    assert not (tmp_path / "out").exists()


def test_names_in_an_archive_never_become_paths(nets: tuple[bytes, bytes], tmp_path: Path) -> None:
    climbing = {f"../../{entry.file}": b"evil" for entry in BLAZEPOSE}
    climbing |= {f"{tmp_path}/outside/{entry.file}": b"evil" for entry in BLAZEPOSE}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with pytest.raises(ModelFileError, match="does not hold"):
        install_blazepose(zip_of(inner / "slip.whl", climbing), inner / "out", accept_unknown=True)
    both = climbing | {entry.members[0]: content for entry, content in zip(BLAZEPOSE, nets, strict=True)}
    install_blazepose(zip_of(inner / "both.whl", both), inner / "out")
    files = [path for path in everything_below(tmp_path) if path.endswith(".tflite")]
    assert files == [f"a/b/out/{entry.file}" for entry in BLAZEPOSE]


def test_sources_that_do_not_work(nets: tuple[bytes, bytes], mediapipe_wheel: Path, tmp_path: Path) -> None:
    text = tmp_path / "page.html"
    text.write_text("<html>404</html>")
    half = zip_of(tmp_path / "half.whl", {BLAZEPOSE_DETECTION.members[0]: nets[0]})
    cut = tmp_path / "cut.whl"
    cut.write_bytes(mediapipe_wheel.read_bytes()[:20_000_000])
    folder = tmp_path / "folder"
    folder.mkdir()
    strange = tmp_path / "strange.tflite"
    strange.write_bytes(b"1234")
    for source, words in (
        (tmp_path / "no.whl", "does not exist"),
        (text, "not a file that"),
        (cut, "not a file that"),
        (half, "does not hold"),
        (folder, "does not hold"),
        (strange, "not one of"),
    ):
        with pytest.raises(ModelFileError, match=words) as caught:
            install_blazepose(source, tmp_path / "out")
        assert str(source) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_swollen_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_blazepose, "LARGEST_NET", 1000)
    swollen = zip_of(tmp_path / "swollen.task", dict(zip(TASK_NAMES, (b"\0" * 5000, b"\0" * 5000), strict=True)))
    with pytest.raises(ModelFileError, match="too large"):
        install_blazepose(swollen, tmp_path / "out", accept_unknown=True)


def test_damage_is_found(mediapipe_wheel: Path, empty_house: Path) -> None:
    path, *_ = install_blazepose(mediapipe_wheel)
    require_model("blazepose-detection")
    content = bytearray(path.read_bytes())
    content[1_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is damaged") as caught:
        require_model("blazepose-detection")
    assert BLAZEPOSE_DETECTION.sha256 in caught.value.expected
    path.write_bytes(content[:1000])
    with pytest.raises(ModelFileError, match="is damaged") as caught:
        require_model("blazepose-detection")
    assert "1,000 bytes" in caught.value.got


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 255)), max_size=4))
def test_broken_archives_are_one_kind_of_error(tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list) -> None:
    folder = tmp_path_factory.mktemp("broken")
    archive = zip_of(folder / "a.task", dict.fromkeys(TASK_NAMES, b"abc" * 20))
    content = bytearray(archive.read_bytes())
    for place, bits in flips:
        content[place % len(content)] ^= bits
    archive.write_bytes(content[: len(content) - cut] if cut < len(content) else content)
    with pytest.raises(ModelFileError):
        install_blazepose(archive, folder / "out")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("S2V_MODELS", ""),
        ("S2V_MODELS", "yzd-v/DWPose"),
        ("S2V_MODELS", "VACE-Annotators/pose"),
        ("S2V_MODELS", "pose"),
        ("AUX_ANNOTATOR_CKPTS_PATH", "yzd-v/DWPose"),
        ("HF_HUB_CACHE", "models--yzd-v--DWPose/snapshots/1a2b"),
    ],
)
def test_files_of_other_programs_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
) -> None:
    for name in ("S2V_MODELS", "AUX_ANNOTATOR_CKPTS_PATH", "HF_HUB_CACHE", "S2V_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / f"no {name}"))
    assert find_model("dwpose-detector") is None
    monkeypatch.setenv(variable, str(tmp_path / "there"))
    file = tmp_path / "there" / place / "yolox_l.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"1")
    assert find_model("dwpose-detector") == file
