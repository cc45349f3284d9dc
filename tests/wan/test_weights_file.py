"""Files of weights, whole and broken."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from s2v_core.errors import Interrupted, ModelFileError
from s2v_core.wan import weights_file
from s2v_core.wan.weights_file import read_table, read_tensors, weight_files

TENSORS = {f"block.{index}.weight": torch.arange(6.0).reshape(2, 3) + index for index in range(5)}


def read(path):
    ((files),) = weight_files(path)
    table = read_table(files, str(path))
    return table, dict(read_tensors(table, table.tensors))


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def write_shards(folder, stem="diffusion_pytorch_model", index=True, count=3):
    keys = sorted(TENSORS)
    names = [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    places = {key: names[place % count] for place, key in enumerate(keys)}
    for name in names:
        save_file({key: TENSORS[key] for key in keys if places[key] == name}, folder / name)
    if index:
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return names


def test_a_table_is_read_once_for_each_state_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    reads, plain = [], weights_file._read_one_table
    monkeypatch.setattr(weights_file, "_read_one_table", lambda file: reads.append(file) or plain(file))
    first = read_table((str(path),))
    first.tensors.clear()  # whoever changes what was given changes nothing for others
    assert read_table((str(path),)).tensors.keys() == TENSORS.keys()
    assert len(reads) == 1
    stat = path.stat()
    save_file({name.replace("block", "other"): tensor for name, tensor in TENSORS.items()}, path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert {name[:5] for name in read_table((str(path),)).tensors} == {"other"}
    assert len(reads) == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".old.pth"])
def test_a_single_file(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path, {"note": "ours"})
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=suffix != ".old.pth")
    table, found = read(path)
    assert same(found, TENSORS)
    assert table.tensors["block.0.weight"].shape == (2, 3)
    assert table.tensors["block.0.weight"].dtype == "float32"
    assert table.size == path.stat().st_size
    assert table.metadata == ({"note": "ours"} if suffix == ".safetensors" else {})


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "uint8", "int64"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_types_have_torch_s_names(tmp_path, kind, suffix):
    path = str(tmp_path / f"model{suffix}")
    tensors = {"x": torch.ones(4).to(getattr(torch, kind))}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    assert read_table((path,)).tensors["x"].dtype == kind


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("choice", ["folder", "index", "first", "last"])
def test_shards_are_one_model_however_they_are_chosen(tmp_path, choice, index):
    names = write_shards(tmp_path, index=index)
    places = {"folder": tmp_path, "first": tmp_path / names[0], "last": tmp_path / names[-1]}
    if index:
        places["index"] = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    if choice in places:
        table, found = read(places[choice])
        assert same(found, TENSORS)
        assert [Path(file).name for file in table.files] == names


def test_a_folder_gives_each_set_once(tmp_path):
    write_shards(tmp_path)
    save_file(TENSORS, tmp_path / "vae.safetensors")
    (tmp_path / "readme.md").write_text("no weights")
    assert [len(files) for files in weight_files(tmp_path)] == [3, 1]


@pytest.mark.parametrize("choice", ["folder", "index", "shard"])
def test_a_missing_shard_is_named(tmp_path, choice):
    names = write_shards(tmp_path)
    (tmp_path / names[1]).unlink()
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    with pytest.raises(ModelFileError, match=f"2; without {names[1]}"):
        weight_files({"folder": tmp_path, "index": index, "shard": tmp_path / names[0]}[choice])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../b.safetensors"}}', '{"weight_map": {"a": 1}}']
)
def test_a_broken_index(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(ModelFileError, match="index"):
        weight_files(path)


def test_an_empty_index(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {}}')
    with pytest.raises(ModelFileError, match="Shards"):
        weight_files(path)


def test_shards_that_repeat_a_tensor(tmp_path):
    names = write_shards(tmp_path)
    save_file(TENSORS, tmp_path / names[2])
    with pytest.raises(ModelFileError, match="repeats a tensor"):
        read(tmp_path)


def test_the_config_of_a_library_is_read_and_other_configs_are_not(tmp_path):
    save_file(TENSORS, tmp_path / "diffusion_pytorch_model.safetensors")
    save_file(TENSORS, tmp_path / "wan2.1_vace_1.3B_fp16.safetensors")
    (tmp_path / "config.json").write_text('{"num_heads": 12}')
    table = {Path(files[0]).name: read_table(files).config for files in weight_files(tmp_path)}
    assert table == {
        "diffusion_pytorch_model.safetensors": {"num_heads": 12},
        "wan2.1_vace_1.3B_fp16.safetensors": {},
    }
    for text in ("[1]", "{"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelFileError, match=r"config\.json"):
            read_table((str(tmp_path / "diffusion_pytorch_model.safetensors"),))


class Hostile:
    """Would make a folder where the test can see it."""

    def __reduce__(self):
        return (os.mkdir, ("hostile-was-here",))


class Harmless:
    """A class of the test's own, as training scripts pickle theirs."""


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch", "in a wrapper"])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    hostile = {"token_embedding.weight": Hostile()}
    if form == "pickle":
        path.write_bytes(pickle.dumps(hostile))
    else:
        torch.save(
            {"state_dict": hostile} if form == "in a wrapper" else hostile,
            path,
            _use_new_zipfile_serialization=form != "old torch",
        )
    with pytest.raises(ModelFileError, match="cannot be read") as caught:
        read(path)
    assert not (tmp_path / "hostile-was-here").exists()
    assert "weights_only" not in str(caught.value), "torch's advice to load unsafely is passed on"
    if form != "pickle":
        assert "mkdir, which is no tensor; nothing was run" in caught.value.got
    # The same bytes do run when they are loaded without care: the test would notice.
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert (tmp_path / "hostile-was-here").exists()


def text_file(text):
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("a.pth", lambda path: torch.save({"x": Harmless()}, path), "Harmless, which is no tensor"),
        ("a.pth", lambda path: torch.save(torch.nn.Linear(2, 2), path), "Linear, which is no tensor"),
        ("a.pth", lambda path: torch.save({"x": torch.zeros(2), "epoch": 3}, path), "'epoch': int"),
        ("a.pth", lambda path: torch.save({3: torch.zeros(2)}, path), "3: Tensor"),
        ("a.pth", lambda path: torch.save([torch.zeros(2)], path), "list"),
        ("a.pth", lambda path: path.write_bytes(b""), "an empty file"),
        ("a.pth", text_file("\n<!DOCTYPE html><html>"), "a web page"),
        ("a.pth", lambda path: save_file(TENSORS, path), "a safetensors file"),
        ("a.pth", lambda path: zipfile.ZipFile(path, "w").writestr("x", "y"), "cut short or damaged"),
        ("a.pth", lambda path: path.write_bytes(bytes(range(200, 256))), "torch did not write"),
        ("a.safetensors", lambda path: path.write_bytes(b""), "an empty file"),
        ("a.safetensors", text_file("<html><body>Sign in</body></html>"), "a web page"),
        ("a.safetensors", text_file("version https://git-lfs.github.com/spec/v1\noid sha256:0"), "Git LFS pointer"),
        ("a.safetensors", text_file('{"error": "Access denied"}'), "a text in JSON"),
        ("a.safetensors", lambda path: torch.save(TENSORS, path), "a .pth file"),
        ("a.safetensors", lambda path: path.write_bytes(b"GGUF\x03\x00\x00\x00"), "a GGUF file"),
        ("a.gguf", lambda path: path.write_bytes(b"GGUF\x03\x00\x00\x00"), "a GGUF file"),
        ("a.safetensors", lambda path: path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}"), "10 bytes"),
        ("a.txt", text_file("words"), "the suffix .txt"),
        ("a", text_file("words"), "the suffix (none)"),
    ],
)
def test_what_is_no_file_of_weights_is_named(tmp_path, name, write, says):
    path = tmp_path / name
    write(path)
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert says in caught.value.got
    assert caught.value.expected
    assert caught.value.remedy


def test_what_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        weight_files(tmp_path / "nothing.safetensors")
    assert weight_files(tmp_path) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    save_file(TENSORS, folder / "a.safetensors")
    torch.save(TENSORS, folder / "a.pth")
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(suffix=st.sampled_from([".safetensors", ".pth"]), share=st.floats(0, 1, exclude_max=True))
def test_any_part_of_a_file_is_refused(tmp_path, whole, suffix, share):
    data = whole[suffix]
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError):
        read(path)


@FEW
@given(suffix=st.sampled_from([".safetensors", ".pth"]), data=st.data())
def test_damage_gives_an_error_of_ours_or_a_table(tmp_path, whole, suffix, data):
    damaged = bytearray(whole[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 900) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(damaged)
    try:
        read(path)
    except ModelFileError as error:
        assert error.expected
        assert error.got


def test_reading_counts_bytes_and_stops(tmp_path):
    write_shards(tmp_path)
    table, _ = read(tmp_path)
    counted = []
    found = dict(read_tensors(table, list(TENSORS)[:3], on_bytes=counted.append))
    assert same(found, {key: TENSORS[key] for key in list(TENSORS)[:3]})
    assert counted == [24, 24, 24]
    with pytest.raises(Interrupted):
        dict(read_tensors(table, TENSORS, should_stop=lambda: True))


def test_a_file_larger_than_the_memory(tmp_path):
    """Four terabytes of nothing: the table is read, and the tensors are refused with a reason."""
    path = tmp_path / "large.safetensors"
    count = 1 << 42
    header = json.dumps({"x": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    try:
        with path.open("wb") as stream:
            stream.write(struct.pack("<Q", len(header)) + header)
            stream.truncate(8 + len(header) + count)
    except OSError as error:
        pytest.skip(f"this disk has no files with holes: {error}")
    table = read_table((str(path),))
    assert table.tensors["x"].shape == (count,)
    try:
        mapped = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
    except RuntimeError:
        with pytest.raises(ModelFileError, match=r"expected: 4398\.0 GB of main memory"):
            dict(read_tensors(table, ["x"]))
    else:
        del mapped
        pytest.skip("this system promises memory that it does not have")
