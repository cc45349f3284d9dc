"""When the text encoder is read, and how long it stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import Interrupted, ModelFileError, SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan import engine as engine_module
from s2v_core.wan import parts
from s2v_core.wan.engine import load_engine
from s2v_core.wan.render import Renderer, needed_texts


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
