"""Exported LoRAs in a real ComfyUI: its native loader reads every key, and its own net changes as ours does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.wan import transformer
from s2v_core.wan.checkpoints import inspect_file, load_transformer, transformer_sizes
from s2v_core.wan.lora import applied
from s2v_core.wan.lora_export import export_lora
from s2v_core.wan.lora_file import load_lora, parse_lora
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.tiny import build_tiny, build_tiny_lora
from tests.host.conftest import comfy_root, need_requirements
from tests.wan.lora_files import STYLES, WHOLE_STYLES, everything, low_rank, whole

pytestmark = pytest.mark.host
SCRIPT = Path(__file__).with_name("lora_in_comfy.py")


def inputs(text_dim=32):
    generator = torch.Generator().manual_seed(11)
    return {
        "latents": torch.randn(1, 16, 3, 6, 8, generator=generator),
        "context": torch.randn(1, 20, text_dim, generator=generator),
        "control": torch.randn(1, 96, 3, 6, 8, generator=generator),
        "timestep": torch.tensor([600.0]),
    }


def ours(both, uses=()):
    given = inputs(both[0].text_embedding[0].in_features)
    with torch.no_grad(), applied(both, uses):
        prompts, control = {"positive": given["context"]}, given["control"]
        constants = transformer.prepare(*both, prompts, control, tuple(given["latents"].shape))
        return transformer.predict(*both, constants, "positive", given["latents"], given["timestep"])


def run_in_comfy(root, folder, files, loras):
    """ComfyUI's predictions by name, and what it said of each LoRA."""
    sizes = transformer_sizes(inspect_file(files.transformer))
    dit, vace = sizes["dit"], sizes["vace"]
    config = {
        name: dit[name] for name in ("dim", "ffn_dim", "freq_dim", "in_dim", "num_heads", "num_layers", "out_dim")
    }
    config |= {"text_dim": dit["text_dim"], "vace_in_dim": vace["vace_in_dim"], "vace_layers": len(vace["vace_layers"])}
    save_file(inputs(dit["text_dim"]), folder / "inputs.safetensors")
    job = {
        "weights": files.transformer,
        "inputs": str(folder / "inputs.safetensors"),
        "config": config,
        "loras": {name: str(path) for name, path in loras.items()},
        "out": str(folder / "out.safetensors"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "job.json")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.environ.get("COMFY_OVERLAY", ""), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "out.safetensors"), json.loads(done.stdout.strip().splitlines()[-1])


def uses_by_name(tiny, lora_file):
    """What is exported: everything that an export can hold, alone and together."""

    def use(strength, scope=""):
        return LoraUse("style.safetensors", strength, scope)

    all_of_it = parse_lora("all", STYLES["ComfyUI"](everything(tiny)))
    pairs = parse_lora("pairs", STYLES["diffusers"](low_rank(tiny, rank=3, seed=5)))
    norms = parse_lora("norms", WHOLE_STYLES["diffusers"](whole(tiny)))
    return {
        "one": [(load_lora(lora_file), use(0.8))],
        "scoped": [(pairs, use(0.7, "cross_attn=0.5, blocks 1-2=-1, vace_blocks 0=0"))],
        "only vace": [(pairs, use(1.5, "only vace"))],
        "whole": [(norms, use(0.6))],
        "everything": [(all_of_it, use(-0.5, "outside=0.5"))],
        "combined": [(pairs, use(0.7, "only ffn self_attn")), (all_of_it, use(0.4)), (norms, use(0.3, "only dit"))],
    }


def test_comfyui_reads_every_key_and_changes_as_we_do(tmp_path):
    root = comfy_root()
    need_requirements(root)
    tiny = build_tiny(tmp_path / "tiny")
    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    lists = uses_by_name(tiny, build_tiny_lora(tiny, tmp_path / "style.safetensors"))
    files = {name: tmp_path / f"{name}.safetensors" for name in lists}
    made = {name: export_lora(uses, both, files[name]) for name, uses in lists.items()}
    theirs, told = run_in_comfy(root, tmp_path, tiny, files)

    assert torch.equal(theirs["base"], theirs["base again"])
    base = ours(both)
    assert (theirs["base"] - base).norm() / base.norm() < 1e-5
    for name, uses in lists.items():
        assert told[name]["warnings"] == [], name
        assert told[name]["patched"] == expected_patches(files[name]), name
        # What the export's note says: this host reads the changes of modulations and does not apply them.
        modulations = any("modulation" in key for key in told[name]["patched"])
        assert bool(made[name].notes) == modulations
        wanted, got = ours(both, without_modulations(uses)) - base, theirs[name] - theirs["base"]
        assert wanted.norm() / base.norm() > 0.01, name
        assert (got - wanted).norm() / wanted.norm() < 1e-3, name
        whole_change = ours(both, uses) - base
        assert ((got - whole_change).norm() / wanted.norm() > 0.01) == modulations, name


def without_modulations(uses):
    return [
        (replace(lora, layers={name: one for name, one in lora.layers.items() if "modulation" not in flat(name)}), use)
        for lora, use in uses
    ]


def flat(name):
    return name.replace("scale_shift_table", "modulation")


def expected_patches(file):
    """The model's parameters that the keys of a file stand for."""
    found = set()
    for key in load_file(file):
        name, _, end = key.replace(".lora_down.weight", ".low").replace(".lora_up.weight", ".low").rpartition(".")
        kind = "" if name.endswith("modulation") else ".bias" if end == "diff_b" else ".weight"
        found.add(name + kind)
    return sorted(found)


def test_a_key_that_it_does_not_know_would_be_seen(tmp_path):
    """The check above can fail: the host warns of a key that means nothing to it."""
    root = comfy_root()
    need_requirements(root)
    tiny = build_tiny(tmp_path / "tiny")
    style = STYLES["diffusers"](low_rank(tiny))
    save_file(style, tmp_path / "diffusers.safetensors")
    theirs, told = run_in_comfy(root, tmp_path, tiny, {"diffusers": tmp_path / "diffusers.safetensors"})
    assert len([line for line in told["diffusers"]["warnings"] if "not loaded" in line]) == len(style)
    assert torch.equal(theirs["diffusers"], theirs["base"])
