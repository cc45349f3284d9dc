"""Compiled code gives the same numbers but for rounding, for any size and with any LoRA, and says that it is there."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.wan import compiled, transformer
from s2v_core.wan.block import PLAIN, Form
from s2v_core.wan.engine import load_engine
from s2v_core.wan.lora import applied
from s2v_core.wan.lora_file import load_lora
from s2v_core.wan.settings import LoraUse


@pytest.fixture(scope="module")
def form(tiny):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch compiles for the CPU with a C++ compiler, and there is none")
    return load_engine(tiny, device="cpu", dtype="float32", compiled=True).form


def predict(engine, form, inputs, frames=2):
    latents, contexts, control, time = inputs
    latents, control = latents[:, :, :frames], control[:, :, :frames]
    nets = (engine.parts["dit"], engine.parts["vace"])
    with torch.no_grad():
        constants = transformer.prepare(*nets, contexts, control, tuple(latents.shape), 1, False, form)
        return transformer.predict(*nets, constants, "positive", latents, time, 0.7, 1.2)


def apart(one, other):
    return float((one - other).abs().max() / one.abs().max())


def test_the_same_but_for_rounding_at_every_size(form, engine, inputs):
    calls = []

    class Spy:
        def __call__(self, *given):
            calls.append(given[1].shape[1])
            return form.turn(*given)

    before = dict(torch._dynamo.utils.counters["frames"])
    for frames in (2, 1):
        plain = predict(engine, PLAIN, inputs, frames)
        assert apart(plain, predict(engine, replace(form, turn=Spy()), inputs, frames)) < 1e-5
    # Queries and keys in 4 transformer and 2 VACE blocks.
    assert calls == [12] * 12 + [6] * 12
    # What was compiled at loading serves every size.
    assert dict(torch._dynamo.utils.counters["frames"]) == before


def test_loras_act_on_compiled_blocks(form, engine, inputs, tiny_lora, tmp_path):
    from safetensors.torch import save_file

    norm = torch.full_like(engine.parts["dit"].blocks[1].self_attn.norm_q.weight, 0.5)
    save_file({"diffusion_model.blocks.1.self_attn.norm_q.diff": norm}, tmp_path / "norm.safetensors")
    nets = (engine.parts["dit"], engine.parts["vace"])
    base = predict(engine, form, inputs)
    seen = []
    for file, strength in ((tiny_lora, 1.0), (tiny_lora, 0.4), (str(tmp_path / "norm.safetensors"), 1.0)):
        with applied(nets, [(load_lora(file), LoraUse(file, strength))]):
            plain, made = predict(engine, PLAIN, inputs), predict(engine, form, inputs)
        assert apart(plain, made) < 1e-5
        assert apart(base, made) > 1e-3
        seen.append(made)
    assert apart(seen[0], seen[1]) > 1e-3
    assert torch.equal(predict(engine, form, inputs), base)


def test_cells_of_compiled_code_are_others(form, engine):
    assert form.identity() == PLAIN.identity() | {"compiled": "inductor"}
    assert "compiled" not in engine.identity()
    assert replace(engine, form=form).identity() == engine.identity() | {"compiled": "inductor"}


def test_where_nothing_can_be_compiled_it_is_an_error(engine, monkeypatch):
    """As torch says it of a machine without a compiler."""

    def refuse(function, **_):
        def call(*_):
            raise RuntimeError("No working C++ compiler found\nmore")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(SettingsError, match="RuntimeError: No working C\\+\\+ compiler found"):
        compiled.compile_form(Form(), engine.parts["dit"], "cpu", torch.float32)
