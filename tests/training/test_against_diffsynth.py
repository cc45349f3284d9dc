"""One step of ours and one of DiffSynth's own training, on the same files: the same loss and the same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from s2v_core.training.latents import Sample, encode_set, picture_settings
from s2v_core.training.manifest import Row, read_manifest
from s2v_core.training.module import LoraModule, seeded
from s2v_core.training.presets import select_layers
from s2v_core.training.settings import TrainSettings
from s2v_core.video.read import read_clip
from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.engine import ModelFiles
from tests.wan.pipeline_twin import load_pipeline

TARGETS = {"dit": "q,k,v,o,ffn.0,ffn.2", "vace": "q,k,v,o,ffn.0,ffn.2"}  # the lists of its published scripts


def frames_of(path: Path) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in read_clip(path, frames=9).frames]


def theirs(tiny: ModelFiles, row: Row, net: str, reference: bool, settings: TrainSettings) -> Any:
    """Inputs, loss and gradients of DiffSynth's units, loss and forward, joined as in its training script."""
    from diffsynth.diffusion.loss import FlowMatchSFTLoss
    from diffsynth.diffusion.training_module import DiffusionTrainingModule

    pipe, module = load_pipeline(tiny), DiffusionTrainingModule()
    with seeded(settings.seed, "start"):
        module.switch_pipe_to_training_mode(
            pipe, lora_base_model=net, lora_target_modules=TARGETS[net], lora_rank=settings.rank
        )
    assert row.control
    assert row.reference
    shared = {
        "input_video": frames_of(row.video),
        "vace_video": frames_of(row.control),
        "vace_reference_image": [Image.open(row.reference)] if reference else None,
        "height": 48, "width": 64, "num_frames": 9, "cfg_scale": 1, "tiled": False, "rand_device": "cpu",
        "vace_scale": 1, "cfg_merge": False, "use_gradient_checkpointing": True, "batch_size": 1,
    }  # fmt: skip
    inputs: Any = (shared, {"prompt": row.prompt}, {})
    for unit in pipe.units:
        inputs = pipe.unit_runner(unit, pipe, *inputs)
    with seeded(settings.seed, 0, 0):
        loss = FlowMatchSFTLoss(pipe, **inputs[0], **inputs[1])
    loss.backward()
    gradients = {name: one.grad for name, one in getattr(pipe, net).named_parameters() if one.requires_grad}
    return {**inputs[0], **inputs[1]}, loss.detach(), gradients


def ours(tiny: ModelFiles, sample: Sample, settings: TrainSettings, checkpointing: bool) -> Any:
    dit, vace = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    layers = select_layers({"dit": dit, "vace": vace}, settings.preset)
    module = LoraModule(dit, vace, layers, settings, checkpointing)
    with seeded(settings.seed, 0, 0):
        loss = module(sample)
    loss.backward()
    gradients = {name.partition(".")[2]: value.grad for name, value in module.trained().items()}
    return loss.detach(), gradients


@pytest.mark.parametrize("net", ["dit", "vace"])
@pytest.mark.parametrize("reference", [True, False])
def test_a_step_is_diffsynths(tiny: ModelFiles, toy_set: Path, net: str, reference: bool) -> None:
    settings = TrainSettings(preset=net, rank=4, seed=5)
    manifest = read_manifest(toy_set)
    latents = encode_set(manifest, tiny, picture_settings(manifest, settings), device="cpu", dtype=torch.float32)
    sample = latents.load(1) if reference else latents.load(1).without_reference()
    inputs, loss, gradients = theirs(tiny, manifest.rows[1], net, reference, settings)
    assert torch.equal(sample.latents, inputs["input_latents"])
    assert torch.equal(sample.vace_context, inputs["vace_context"])
    assert torch.equal(sample.context, inputs["context"])
    assert sample.references == int(reference)

    found, mine = ours(tiny, sample, settings, checkpointing=False)
    torch.testing.assert_close(found, loss, rtol=1e-6, atol=0)
    assert mine.keys() == gradients.keys()
    # A begins as chance wants and B as zero: only B has a gradient in the first step.
    size = max(float(one.norm()) for one in gradients.values())
    assert size > 0
    for name, gradient in gradients.items():
        assert float((mine[name] - gradient).norm()) <= 1e-4 * float(gradient.norm()) + 1e-7 * size, name

    again, checkpointed = ours(tiny, sample, settings, checkpointing=True)
    assert torch.equal(again, found)
    assert all(torch.equal(checkpointed[name], mine[name]) for name in mine)


def test_the_noise_levels_of_a_part_are_taken_from_it(tiny: ModelFiles, toy_set: Path) -> None:
    """Low parts of the levels are pure noise, high ones nearly the clip."""
    settings = TrainSettings(rank=2)
    manifest = read_manifest(toy_set)
    latents = encode_set(manifest, tiny, picture_settings(manifest, settings), device="cpu", dtype=torch.float32)
    dit, vace = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    module = LoraModule(dit, vace, select_layers({"dit": dit, "vace": vace}, "article"), settings, False)
    seen: list[float] = []
    own = module._predict

    def spy(latents: torch.Tensor, timestep: torch.Tensor, *args: Any, **inputs: Any) -> torch.Tensor:
        seen.append(float(timestep))
        return own(latents, timestep, *args, **inputs)

    module._predict = spy  # type: ignore[method-assign]
    for number in range(4):
        for draw in range(8):
            with seeded(draw, number), torch.no_grad():
                module(latents.load(0), number / 4, (number + 1) / 4)
    groups = np.array(seen).reshape(4, 8)
    assert (groups[:-1].min(axis=1) > groups[1:].max(axis=1)).all()
    assert len(set(seen)) > 24
    assert 990 < groups.max() <= 1000
