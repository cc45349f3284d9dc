"""LoRAs that were trained here, on the nano model, in ComfyUI's own loader and net: they do there what they do here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from s2v_core.nano.write import write_world
from s2v_core.training.lora import train_lora
from s2v_core.training.settings import TrainSettings
from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.embedded import nano_files
from s2v_core.wan.lora_file import load_lora
from s2v_core.wan.settings import LoraUse
from tests.host.conftest import comfy_root, need_requirements
from tests.host.test_lora import ours, run_in_comfy

pytestmark = pytest.mark.host
PRESETS = {"article": 6 * 6, "self-attention": 6 * 4, "vace": 3 * 10}  # and how many layers that is


def test_a_trained_lora_does_in_comfyui_what_it_does_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = comfy_root()
    need_requirements(root)
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    nano = nano_files()
    dataset = write_world(tmp_path / "set", 1, size=(64, 48), frames=5).parent
    made = {}
    for preset in PRESETS:
        settings = TrainSettings(preset=preset, rank=8, steps=3, learning_rate=0.02, file_dtype="float32")
        made[preset] = train_lora(dataset, nano, tmp_path / preset, settings, device="cpu", dtype="float32")
    files = {preset: one.for_comfyui for preset, one in made.items()}
    theirs, told = run_in_comfy(root, tmp_path, nano, {**files, "DiffSynth's names": made["article"].file})

    both = load_transformer(nano.transformer, device="cpu", dtype=torch.float32)
    base = ours(both)
    assert (theirs["base"] - base).norm() / base.norm() < 1e-5
    assert torch.equal(theirs["base again"], theirs["base"])
    for preset, layers in PRESETS.items():
        assert told[preset]["warnings"] == [], preset
        assert len(told[preset]["patched"]) == layers
        file = made[preset].file
        wanted, got = ours(both, [(load_lora(file), LoraUse(str(file)))]) - base, theirs[preset] - theirs["base"]
        assert wanted.norm() / base.norm() > 0.005, preset
        assert (got - wanted).norm() / wanted.norm() < 1e-3, preset
    # Why there is a file of its own for ComfyUI.
    assert len(told["DiffSynth's names"]["warnings"]) == len(load_file(made["article"].file))
    assert torch.equal(theirs["DiffSynth's names"], theirs["base"])
