"""The same files and inputs in our nets and in ComfyUI's own: the same numbers, and the same real key sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.wan.checkpoints import load_text_encoder, load_transformer, load_vae
from s2v_core.wan.contents import contents_of
from s2v_core.wan.text import load_tokenizer, token_ids
from s2v_core.wan.weights_file import TensorInfo, Weights
from tests.host.conftest import comfy_root, need_requirements
from tests.wan import other_layouts

pytestmark = pytest.mark.host

HERE = Path(__file__).parent
TEXT = "A man dances — slowly, hip hop 舞蹈 on a stage."
# Wan's own sizes where ComfyUI takes them for granted: heads of 128, text of 4096, frequencies of 256.
MEDIUM: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 128,
    "ffn_dim": 256,
    "num_layers": 4,
    "text_dim": 4096,
    "freq_dim": 256,
    "vace_layers": [0, 2],
}
REAL = {
    "1.3B": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "vace_layers": 15, "vace_in_dim": 96},
    "14B": {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "vace_layers": 8, "vace_in_dim": 96},
}


@dataclass(frozen=True)
class Answers:
    """What ComfyUI's nets gave for each job, and the files that they were given."""

    folder: Path
    jobs: dict[str, Any]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / f"{name}.out.safetensors")

    def inputs(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.jobs[name]["inputs"])

    def path(self, name: str) -> str:
        return str(self.jobs[name]["path"])


def write_inputs(folder: Path, name: str, text_dim: int, strength: float) -> str:
    generator = torch.Generator().manual_seed(5)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    given = {
        "latents": noise(1, 16, 3, 6, 8),
        "control": noise(1, 96, 3, 6, 8),
        "text": noise(1, 24, text_dim),
        "time": torch.tensor([417.0]),
        "strength": torch.tensor(strength),
    }
    save_file(given, folder / f"{name}.in.safetensors")
    return str(folder / f"{name}.in.safetensors")


def write_wan(folder: Path, net: torch.nn.Module, name: str, prefix: str = "", **options: Any) -> str:
    """A transformer of diffusers' class in Wan's layout, in 8 bits with ``options``."""
    theirs = net.state_dict()
    table = {key: TensorInfo(tuple(value.shape), "float32", "x") for key, value in theirs.items()}
    found = contents_of(Weights("x", ("x",), table), "transformer")
    tensors = {key: theirs[own].detach().contiguous() for key, own in found.names.items()}
    if options:
        # ComfyUI 0.3 rounds all other matrices and biases to 8 bits as well, without a scale: these need no rounding.
        for key in tensors:
            if not any(kind in key for kind in ("norm", "modulation", "patch_embedding")):
                tensors[key] = tensors[key].to(torch.float8_e4m3fn).float()
        tensors = other_layouts.quantise(
            tensors, names=lambda key: "blocks." in key and key.endswith(".weight") and "norm" not in key, **options
        )
    save_file({prefix + key: value for key, value in tensors.items()}, folder / f"{name}.safetensors")
    return str(folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    root = comfy_root()
    need_requirements(root)
    from s2v_core.wan.tiny import build_tiny

    folder = tmp_path_factory.mktemp("forward")
    tiny = build_tiny(folder / "tiny")
    medium = other_layouts.randomise(other_layouts.diffusers_transformer(**MEDIUM), 2)
    umt5 = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    sizes = {
        "dim": 48, "ffn_dim": 96, "freq_dim": 32, "text_dim": 32, "num_heads": 4, "num_layers": 4, "vace_layers": 2,
        "vace_in_dim": 96,
    }  # fmt: skip
    generator = torch.Generator().manual_seed(6)
    video = torch.rand((1, 3, 9, 32, 48), generator=generator) * 2 - 1
    latents = torch.randn((1, 16, 3, 4, 6), generator=generator)
    save_file({"video": video, "latents": latents}, folder / "vae.in.safetensors")
    prefix = "model.diffusion_model."
    jobs: dict[str, Any] = {"keys": {"kind": "keys", "sizes": REAL}}
    for strength in (1.0, 0.4):
        inputs = write_inputs(folder, f"tiny {strength}", 32, strength)
        jobs[f"tiny {strength}"] = {"kind": "transformer", "path": tiny.transformer, "sizes": sizes, "inputs": inputs}
    forms: dict[str, dict[str, str]] = {
        "medium": {},
        "medium with prefix": {"prefix": prefix},
        "medium scale_weight": {"form": "scale_weight"},
        "medium weight_scale": {"form": "weight_scale"},
    }
    # The form of 8-bit weights that ComfyUI 0.4 brought; it reads the older one too.
    if "comfy_quant" not in (root / "comfy" / "ops.py").read_text(encoding="utf-8"):
        del forms["medium weight_scale"]
    for name, options in forms.items():
        path = write_wan(folder, medium, name, **options)
        jobs[name] = {"kind": "detected", "path": path, "inputs": write_inputs(folder, name, 4096, 0.8)}
    jobs["text encoder"] = {
        "kind": "text encoder",
        "path": other_layouts.write_comfyui_umt5(folder / "umt5.safetensors", umt5),
        "sizes": {"num_layers": 2, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "vocab_size": 96},
        "text": TEXT,
    }
    vae_sizes = {"dim": 4, "z_dim": 16, "num_res_blocks": 1, "temperal_downsample": [False, True, True]}
    vae_inputs = str(folder / "vae.in.safetensors")
    jobs["vae"] = {"kind": "vae", "path": tiny.vae, "sizes": vae_sizes, "inputs": vae_inputs}
    (folder / "jobs.json").write_text(json.dumps(jobs))
    # Not ours: ComfyUI has top-level modules with names such as `nodes` and `utils`.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(HERE / "comfy_nets.py"), str(root), str(folder)],
        cwd=root,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Answers(folder, jobs)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def ours(answers: Answers, name: str) -> torch.Tensor:
    from s2v_core.wan import transformer

    given = answers.inputs(name)
    dit, vace = load_transformer(answers.path(name), device="cpu", dtype=torch.float32)
    with torch.no_grad():
        constants = transformer.prepare(
            dit, vace, {"positive": given["text"]}, given["control"], tuple(given["latents"].shape)
        )
        return transformer.predict(
            dit, vace, constants, "positive", given["latents"], given["time"], float(given["strength"])
        )


@pytest.mark.parametrize(
    "name",
    ["tiny 1.0", "tiny 0.4", "medium", "medium with prefix", "medium scale_weight", "medium weight_scale"],
)
def test_the_transformer_is_comfyui_s(answers: Answers, name: str) -> None:
    """``comfy.ldm.wan.model.VaceWanModel`` on the same file and inputs; "medium" goes through ComfyUI's loader."""
    if name not in answers.jobs:
        pytest.skip(f"{name} SKIPPED: this ComfyUI does not know that form of 8-bit weights")
    theirs = answers.tensors(name)["out"]
    assert theirs.std() > 0.1
    difference = relative(ours(answers, name), theirs)
    print(f"{name}: relative difference {difference:.2e}")
    assert difference < 1e-5


def test_the_inputs_matter(answers: Answers) -> None:
    """The comparison above would see a wrong strength, or 8 bits that were not there."""
    assert relative(answers.tensors("tiny 0.4")["out"], answers.tensors("tiny 1.0")["out"]) > 1e-2
    assert relative(answers.tensors("medium scale_weight")["out"], answers.tensors("medium")["out"]) > 1e-3


def test_the_text_encoder_and_its_tokenizer_are_comfyui_s(answers: Answers) -> None:
    path, theirs = answers.path("text encoder"), answers.tensors("text encoder")
    ids = token_ids(load_tokenizer(path), TEXT)
    assert ids == theirs["ids"][0].tolist()
    encoder = load_text_encoder(path, device="cpu", dtype=torch.float32)
    given = torch.tensor([ids])
    with torch.no_grad():
        assert relative(encoder(given, torch.ones_like(given)), theirs["out"]) < 1e-5


def test_the_vae_is_comfyui_s(answers: Answers) -> None:
    vae = load_vae(answers.path("vae"), device="cpu", dtype=torch.float32)
    given, theirs = answers.inputs("vae"), answers.tensors("vae")
    mean, scale = (value.view(1, -1, 1, 1, 1) for value in vae.scale)
    with torch.no_grad():
        assert relative(vae.encode(given["video"], device="cpu"), (theirs["latents"] - mean) * scale) < 1e-5
        decoded = vae.decode((given["latents"] - mean) * scale, device="cpu")
        assert relative(decoded, theirs["video"].clamp(-1, 1)) < 1e-5


def wan_shapes(name: str) -> dict[str, tuple[int, ...]]:
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from diffsynth.models.wan_video_vace import VaceWanModel
    from diffsynth.models.wan_video_vae import VideoVAE_

    with torch.device("meta"):
        if name == "text encoder":
            return shapes(WanTextEncoder())
        if name == "vae":
            return shapes(VideoVAE_(dim=96, z_dim=16))
        own = REAL[name]
        shared = {key: own[key] for key in ("dim", "ffn_dim", "num_heads")}
        shared |= {"has_image_input": False, "patch_size": (1, 2, 2), "eps": 1e-6}
        layers = own["num_layers"]
        places = tuple(range(0, layers, layers // own["vace_layers"]))
        dit = WanModel(**shared, num_layers=layers, in_dim=16, freq_dim=256, text_dim=4096, out_dim=16)
        return shapes(dit) | shapes(VaceWanModel(**shared, vace_layers=places, vace_in_dim=96))


def shapes(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.mark.parametrize(("name", "count"), [("1.3B", 1264), ("14B", 1331), ("text encoder", 242), ("vae", 194)])
@pytest.mark.parametrize("prefixed", [False, True])
def test_comfyui_s_real_keys_map_one_to_one(answers: Answers, name: str, count: int, prefixed: bool) -> None:
    net = {"text encoder": "text_encoder", "vae": "vae"}.get(name, "transformer")
    prefix = {
        "transformer": "model.diffusion_model.",
        "text_encoder": "text_encoders.umt5xxl.transformer.",
        "vae": "first_stage_model.",
    }[net]
    listed = json.loads((answers.folder / "keys.out.json").read_text())[name]
    theirs = {(prefix if prefixed else "") + key: tuple(shape) for key, shape in listed.items()}
    table = {key: TensorInfo(shape, "float16", "x") for key, shape in theirs.items()}
    found = contents_of(Weights("x", ("x",), table), net)
    assert len(theirs) == count
    assert sorted(found.names.values()) == sorted(theirs)
    assert found.shapes == wan_shapes(name)
