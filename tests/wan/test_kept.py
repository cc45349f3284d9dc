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

from s2v_core.errors import SettingsError
from s2v_core.wan import engine as engine_module
from s2v_core.wan import kept as kept_module
from s2v_core.wan import text_states, vace
from s2v_core.wan.engine import load_engine
from s2v_core.wan.kept import Kept, open_kept
from s2v_core.wan.render import Renderer
from s2v_core.wan.tiny import build_tiny
from tests.wan.other_weights import spoil

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("kept_process.py")


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


def test_a_model_moved_elsewhere_is_the_same_model(tiny, tmp_path, folder, encoded):
    moved = tmp_path / "elsewhere"
    shutil.copytree(Path(tiny.transformer).parent, moved)
    one = load_engine(tiny, device="cpu", dtype="float32", kept=Kept(folder))
    wanted = one.text_states("a man")
    encoded.clear()
    two = load_engine(build_tiny(moved), device="cpu", dtype="float32", kept=Kept(folder))
    assert torch.equal(two.text_states("a man"), wanted)
    assert not encoded
