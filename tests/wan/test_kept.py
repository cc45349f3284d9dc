"""Text states and latents that are kept on disk: the same bits, without the nets that made them, whatever happens."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2v_core.errors import Interrupted, ModelFileError, SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan import engine as engine_module
from s2v_core.wan import kept as kept_module
from s2v_core.wan import parts, text_states, vace
from s2v_core.wan.engine import load_engine
from s2v_core.wan.kept import Kept, open_kept
from s2v_core.wan.render import Renderer, needed_texts
from s2v_core.wan.tiny import build_tiny
from tests.wan.other_weights import spoil

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("kept_process.py")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def loaded(tiny, folder):
    """Gives an engine as a new run has it."""
    return lambda **how: load_engine(tiny, device="cpu", **{"dtype": "float32", "kept": Kept(folder), **how})


@pytest.fixture
def encoded(monkeypatch):
    """What is encoded from now on."""
    calls = []
    for place, name in ((text_states, "encode_text"), (vace, "encode")):
        made = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, _made=made, _name=name: calls.append(_name) or _made(*a))
    return calls


@pytest.fixture
def own_model(tmp_path):
    """A tiny model whose files may be spoiled."""
    return build_tiny(tmp_path / "model")


def process(model, folder, *more, wait=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(SCRIPT), str(Path(model.transformer).parent), str(folder), *map(str, more)]
    ran = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result_of(ran) if wait else ran


def result_of(ran):
    out, err = ran.communicate()
    assert ran.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    "case", ["pose and reference", "diffsynth", "mask", "start clip", "tiles", "text alone", "reference alone"]
)
def test_the_bits_are_those_of_a_run_without(loaded, engine, prompt, settings, control, reference, encoded, case):
    precision = "diffsynth" if case == "diffsynth" else "float32"
    settings = replace(settings, precision=precision, steps=1, tiling=case == "tiles")
    pictures = {"control": control, "reference": [reference, reference[::-1].copy()]}
    if case == "mask":
        mask = np.zeros((9, 48, 64), np.uint8)
        mask[:, :, 20:44] = 255
        mask[:, 10:20] = 90
        pictures["mask"] = mask
    elif case == "start clip":
        settings = replace(settings, denoise=0.6)
        pictures["start"] = control.with_frames(control.frames[::-1].copy())
    elif case == "text alone":
        pictures = {}
    elif case == "reference alone":
        del pictures["control"]
    engine.grey.clear()
    engine._texts.clear()
    wanted = Renderer(engine, **pictures).render(prompt, settings)
    calls = sorted(encoded)
    for again in (False, True):
        encoded.clear()
        one = loaded()
        found = Renderer(one, **pictures).render(prompt, settings)
        assert np.array_equal(found.frames, wanted.frames)
        # Two streams need the references with a start clip: kept, they are encoded for the first only.
        assert sorted(encoded) == ([] if again else calls[2 if case == "start clip" else 0 :])
        assert ("text_encoder" in one.parts) is not again
    assert torch.equal(one.text_states(prompt.text), engine.text_states(prompt.text))


def test_a_second_process_reads_no_text_encoder(own_model, folder):
    first = process(own_model, folder)
    assert (first["texts"], first["pictures"], first["encoder"]) == (2, 3, True)
    spoil(own_model.text_encoder)
    second = process(own_model, folder)
    assert second == first | {"texts": 0, "pictures": 0, "encoder": False}
    # It was spoiled indeed.
    assert process(own_model, folder.with_name("other"))["sha256"] != first["sha256"]


def test_processes_at_the_same_time(own_model, folder):
    runs = [process(own_model, folder, wait=False) for _ in range(2)]
    one, other = map(result_of, runs)
    assert one["sha256"] == other["sha256"]
    assert not one["warnings"] + other["warnings"]
    assert len(list(folder.iterdir())) == 5
    last = process(own_model, folder)
    assert (last["sha256"], last["texts"], last["pictures"], last["warnings"]) == (one["sha256"], 0, 0, [])


@pytest.mark.parametrize("largest", [100, 3000])
def test_a_full_disk_is_said_once_and_hinders_nothing(own_model, folder, largest):
    """The largest files do not fit, or none does."""
    wanted = process(own_model, folder.with_name("other"))
    found = process(own_model, folder, largest)
    assert found["sha256"] == wanted["sha256"]
    assert len(found["warnings"]) == 1
    assert "Nothing more is kept" in found["warnings"][0]
    assert not list(folder.glob(".*")), "what could not be finished is removed"


def test_a_folder_that_cannot_be_written(loaded, folder, prompt, settings, control, engine, caplog):
    folder.write_text("in the way")
    wanted = Renderer(engine, control).render(prompt, settings)
    assert np.array_equal(Renderer(loaded(), control).render(prompt, settings).frames, wanted.frames)
    assert caplog.text.count("Nothing more is kept") == 1


def test_damaged_files_are_removed_and_made_again(
    loaded, folder, prompt, settings, control, reference, caplog, encoded
):
    def flip(data):
        return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]

    def other(data):
        return next(path for path in files if path != file).read_bytes()

    def render():
        encoded.clear()
        caplog.clear()
        return Renderer(loaded(), control, reference).render(prompt, settings).frames

    wanted = render()
    files = sorted(folder.iterdir())
    assert len(encoded) == len(files) == 5
    for number, spoiled in enumerate([flip, lambda data: data[:200], lambda data: b"", other, lambda data: data * 2]):
        file = files[number]
        whole = file.read_bytes()
        file.write_bytes(spoiled(whole))
        assert np.array_equal(render(), wanted)
        assert len(encoded) == 1
        assert f"{file} is damaged" in caplog.text
        assert file.stat().st_size == len(whole)
    render()
    assert not encoded
    assert not caplog.text


def test_what_was_used_longest_ago_goes_first(loaded, folder, prompt):
    one = loaded()
    for age, text in enumerate(["a man", "a woman", "a stage"]):
        one.text_states(text)
        for path in folder.iterdir():
            if path.stat().st_mtime > 1e9 + 10:
                os.utime(path, (1e9 + age, 1e9 + age))
    largest = max(path.stat().st_size for path in folder.iterdir())
    two = loaded(kept=Kept(folder, limit=4 * largest))
    two.text_states("a man")  # used now
    three = loaded(kept=Kept(folder, limit=3 * largest))
    three.text_states("a light")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3 * largest
    four = loaded()
    four.text_states("a man")
    four.text_states("a light")
    assert "text_encoder" not in four.parts
    four.text_states("a woman")
    assert "text_encoder" in four.parts


def test_what_killed_processes_left_is_removed(folder):
    folder.mkdir()
    old, new = folder / ".a-1.safetensors", folder / ".b-2.safetensors"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    Kept(folder)
    assert [path.name for path in folder.iterdir()] == [new.name]


def test_whatever_decides_the_bits_is_in_the_key(loaded, folder, own_model, monkeypatch, prompt):
    def files(**how):
        loaded(**how).text_states("a man")
        return len(list(folder.iterdir()))

    assert files() == 1
    assert files() == 1
    assert files(dtype="bfloat16") == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert files() == 3
    monkeypatch.setattr(engine_module, "_ARITHMETIC", 0)
    assert files() == 4
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert files() == 5
    spoil(own_model.text_encoder)
    load_engine(own_model, device="cpu", dtype="float32", kept=Kept(folder)).text_states("a man")
    assert len(list(folder.iterdir())) == 6
    # Not the name of the file, nor white space that the tokenizer does not see.
    loaded().text_states(" a  man\n")
    assert len(list(folder.iterdir())) == 6


def test_the_settings_of_a_gpu_are_in_its_key(engine):
    """There is none here; the settings are read all the same."""
    found = kept_module._cuda()
    assert {"versions", "attention", "cudnn", "float16", "bfloat16"} <= set(found)
    assert "cudnn tf32" in found or "float32, by type" in found
    assert all(isinstance(value, str) for value in found.values())


def test_nothing_is_kept_of_a_file_that_changed_since_it_was_read(own_model, folder, control, settings):
    one = load_engine(own_model, device="cpu", dtype="float32", kept=Kept(folder))
    old = one.text_states("a man")
    vae = vace.encode_pictures(one, settings, control).vace_context
    assert len(list(folder.iterdir())) == 3
    for path in (own_model.text_encoder, own_model.vae):
        spoil(path)
        os.utime(path)
    one._texts.clear()
    one.grey.clear()
    assert torch.equal(one.text_states("a man"), old)
    assert torch.equal(vace.encode_pictures(one, settings, control).vace_context, vae)
    one.text_states("a woman")
    assert len(list(folder.iterdir())) == 3
    again = load_engine(own_model, device="cpu", dtype="float32", kept=Kept(folder))
    assert not torch.equal(again.text_states("a man"), old)


def test_what_is_not_finite_is_not_kept(loaded, folder, monkeypatch):
    monkeypatch.setattr(text_states, "encode_text", lambda *a: torch.full((1, 512, 32), float("nan")))
    assert loaded().text_states("a man").isnan().any()
    assert not folder.exists()


def test_the_environment_says_how_much_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("S2V_CACHE", str(tmp_path))
    for said, limit in (("", 2e9), ("0.5", 5e8), (" 3 ", 3e9)):
        monkeypatch.setenv("S2V_KEPT_GB", said)
        found = open_kept()
        assert (found.folder, found.limit) == (tmp_path / "kept", limit)
    monkeypatch.setenv("S2V_KEPT_GB", "0")
    assert open_kept() is None
    for said in ("-1", "nan", "inf", "two"):
        monkeypatch.setenv("S2V_KEPT_GB", said)
        with pytest.raises(SettingsError, match="S2V_KEPT_GB") as caught:
            open_kept()
        assert said in caught.value.got


# The text encoder


def test_loading_reads_no_text_encoder_but_checks_its_file(own_model, reads):
    one = load_engine(own_model, device="cpu", dtype="float32")
    assert set(one.parts) == {"dit", "vace", "vae"}
    one.use("vae")
    one.use()
    assert not reads
    one.text_states("a man")
    assert len(reads) == 1
    path = Path(own_model.text_encoder)
    data = path.read_bytes()
    for spoiled in (b"", data[: len(data) // 2], Path(own_model.vae).read_bytes()):
        path.write_bytes(spoiled)
        with pytest.raises(ModelFileError, match=str(path)):
            load_engine(own_model, device="cpu", dtype="float32")
    path.unlink()
    with pytest.raises(ModelFileError, match=r"no model file"):
        load_engine(own_model, device="cpu", dtype="float32")


def test_a_tensor_that_is_missing_in_the_text_encoder_is_said_when_loading(own_model):
    from safetensors.torch import load_file, save_file

    tensors = load_file(own_model.text_encoder)
    del tensors["blocks.1.ffn.fc2.weight"]
    save_file(tensors, own_model.text_encoder)
    with pytest.raises(ModelFileError, match="does not fit the net"):
        load_engine(own_model, device="cpu", dtype="float32")


class Machine:
    """Stands in for the machine's memory, whose size a test cannot choose."""

    def __init__(self, available):
        self.available = available


@pytest.mark.parametrize(
    ("policy", "available", "stays"),
    [("auto", 1 << 40, True), ("auto", 1000, False), ("keep", 1000, True), ("release", 1 << 40, False)],
)
def test_how_long_the_text_encoder_stays(loaded, prompt, settings, engine, monkeypatch, policy, available, stays):
    monkeypatch.setattr("psutil.virtual_memory", lambda: Machine(available))
    one = loaded(text_encoder=policy, kept=None)
    found = Renderer(one).render(prompt, settings)
    assert ("text_encoder" in one.parts) is stays
    assert set(one._texts) == {prompt.text, prompt.negative}
    again = Renderer(one).render(replace(prompt, text="a woman"), settings)
    assert np.array_equal(found.frames, Renderer(engine).render(prompt, settings).frames)
    assert np.array_equal(again.frames, Renderer(engine).render(replace(prompt, text="a woman"), settings).frames)


def test_a_policy_that_does_not_exist(loaded):
    with pytest.raises(SettingsError, match="'never'"):
        loaded(text_encoder="never")


def test_a_host_decides_for_itself(loaded, prompt, settings, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: Machine(0))
    one = loaded()
    one.mover = lambda engine, names: None
    Renderer(one).render(prompt, settings)
    assert "text_encoder" in one.parts


@pytest.fixture
def reads(monkeypatch):
    """How often the text encoder's file is read."""
    read = []
    real = parts.load_text_encoder
    monkeypatch.setattr(parts, "load_text_encoder", lambda *a, **k: read.append(1) or real(*a, **k))
    return read


PROMPTS = [Prompt(f"A man dances, {what}.", "blurry") for what in ("detailed", "sharp", "static", "hip hop")]


@pytest.mark.parametrize("disk", [True, False])
@pytest.mark.parametrize("most", [64, 4])
def test_a_sweep_reads_it_once_and_lets_go_of_it(loaded, settings, tmp_path, reads, encoded, monkeypatch, disk, most):
    monkeypatch.setattr(engine_module, "_TEXTS", most)
    one = loaded(text_encoder="release", **({} if disk else {"kept": None}))
    there = []
    store, settings = CellStore(tmp_path / "cells"), replace(settings, steps=1)

    def watch(event):
        if type(event).__name__ == "Stepped":
            there.append("text_encoder" in one.parts)

    sweep = Sweep(PROMPTS[0], settings, (make_axis("prompt", PROMPTS),))
    result = run_sweep(sweep, Renderer(one), store, on_event=watch)
    assert not result.failed
    assert len(reads) == 1
    assert encoded.count("encode_text") == 5
    # Of more texts than are remembered it waits for the last ones.
    assert there == ([False] * 4 if disk or most == 64 else [True, False, False, False])


def test_texts_that_nobody_needs_are_not_encoded(settings):
    assert needed_texts([(PROMPTS[0], settings), (PROMPTS[1], settings)]) == [
        PROMPTS[0].text,
        "blurry",
        PROMPTS[1].text,
    ]
    assert needed_texts([(PROMPTS[0], replace(settings, guidance=1.0))]) == [PROMPTS[0].text]


def test_a_text_that_is_too_long_fails_its_own_cell_only(loaded, settings, tmp_path):
    prompts = [PROMPTS[0], Prompt("dance " * 600, "blurry"), PROMPTS[1]]
    sweep = Sweep(PROMPTS[0], replace(settings, steps=1), (make_axis("prompt", prompts),))
    result = run_sweep(sweep, Renderer(loaded()), CellStore(tmp_path / "cells"))
    assert (len(result.computed), len(result.failed)) == (2, 1)
    assert "at most 512 tokens" in next(iter(result.failed.values()))


def test_encoding_for_later_can_be_stopped(loaded, settings):
    one = loaded()
    renderer = Renderer(one)
    renderer.expect((prompt, settings) for prompt in PROMPTS)
    with pytest.raises(Interrupted, match="texts were encoded"):
        renderer.render(PROMPTS[0], settings, should_stop=lambda: len(one._texts) == 3)
    assert len(one._texts) == 3
    with pytest.raises(Interrupted, match="was read"):
        loaded(kept=None).text_states("a man", lambda: True)


def test_a_model_moved_elsewhere_is_the_same_model(tiny, tmp_path, folder, encoded):
    moved = tmp_path / "elsewhere"
    shutil.copytree(Path(tiny.transformer).parent, moved)
    one = load_engine(tiny, device="cpu", dtype="float32", kept=Kept(folder))
    wanted = one.text_states("a man")
    encoded.clear()
    two = load_engine(build_tiny(moved), device="cpu", dtype="float32", kept=Kept(folder))
    assert torch.equal(two.text_states("a man"), wanted)
    assert not encoded
