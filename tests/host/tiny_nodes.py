"""A custom node of the tests' host: its own Wan-VACE with tiny weights, sockets as files, and what it has loaded.

ComfyUI's loaders know the sizes of published models only; here the same classes are made at the sizes of
``s2v_core.wan.tiny`` and of ``tests.wan.other_layouts``.
"""

import ctypes
import functools
import re
from pathlib import Path

import comfy.ldm.wan.vae
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.supported_models_base
import comfy.text_encoders.wan
import comfy.utils
import folder_paths
import torch
from aiohttp import web
from safetensors.torch import save_file
from server import PromptServer

UMT5 = {"num_layers": 2, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "vocab_size": 96}


def sizes_of(tensors):
    """The net's sizes, read off the shapes of its weights."""

    def count(pattern):
        return len({match[1] for key in tensors if (match := re.match(pattern, key))})

    dim, text_dim = tensors["text_embedding.0.weight"].shape
    return {
        "dim": dim,
        "text_dim": text_dim,
        "ffn_dim": tensors["blocks.0.ffn.0.weight"].shape[0],
        "freq_dim": tensors["time_embedding.0.weight"].shape[1],
        "num_heads": dim // 12,
        "num_layers": count(r"blocks\.(\d+)\."),
        "vace_layers": count(r"vace_blocks\.(\d+)\."),
        "vace_in_dim": 96,
        "in_dim": 16,
        "out_dim": 16,
    }


class TestTinyWan:
    """The host's MODEL, CLIP and VAE out of tiny files in its models folder."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {name: ("STRING", {}) for name in ("transformer", "text_encoder", "vae")}}
    )
    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL", "CLIP", "VAE"), "load", "test"

    def load(self, transformer, text_encoder, vae):
        return (
            self.model(folder_paths.get_full_path("diffusion_models", transformer)),
            self.clip(folder_paths.get_full_path("text_encoders", text_encoder)),
            self.vae(folder_paths.get_full_path("vae", vae)),
        )

    def model(self, file):
        tensors = comfy.utils.load_torch_file(file)
        config = comfy.supported_models.WAN21_Vace({"image_model": "wan2.1", "model_type": "vace", **sizes_of(tensors)})
        config.set_inference_dtype(torch.float32, None)
        model = config.get_model({}, "", device="cpu")
        model.diffusion_model.load_state_dict(tensors, strict=True)
        model.diffusion_model.to(torch.float32).eval()
        device = comfy.model_management.get_torch_device()
        return comfy.model_patcher.ModelPatcher(model, device, comfy.model_management.unet_offload_device())

    def clip(self, file):
        tensors = comfy.utils.load_torch_file(file)
        target = comfy.supported_models_base.ClipTarget(
            comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te()
        )
        sizes = {**UMT5, "model_type": "umt5", "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True}
        options = {"umt5xxl_model_config": sizes, "dtype": torch.float32}
        given = {"spiece_model": tensors.pop("spiece_model")}
        clip = comfy.sd.CLIP(target, tokenizer_data=given, model_options=options)
        clip.cond_stage_model.umt5xxl.load_sd(tensors)
        return clip

    def vae(self, file):
        own = comfy.ldm.wan.vae.WanVAE
        smaller = functools.partial(make_smaller, own)
        comfy.ldm.wan.vae.WanVAE = smaller
        try:
            return comfy.sd.VAE(sd=comfy.utils.load_torch_file(file))
        finally:
            comfy.ldm.wan.vae.WanVAE = own


def make_smaller(kind, **sizes):
    return kind(**{**sizes, "dim": 4, "num_res_blocks": 1})


class TestDump:
    """Writes what comes by a socket to output/<name>.safetensors."""

    INPUT_TYPES = classmethod(
        lambda cls: {
            "required": {"name": ("STRING", {})},
            "optional": {
                kind: (kind.upper(),) for kind in ("image", "mask", "latent", "conditioning", "video", "audio")
            },
        }
    )
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = ("STRING",), "write", "test", True

    def write(self, name, image=None, mask=None, latent=None, conditioning=None, video=None, audio=None):
        found = {"image": image, "mask": mask}
        if latent is not None:
            found["latent"] = latent["samples"]
        if conditioning is not None:
            found["conditioning"] = conditioning[0][0]
        if video is not None:
            parts = video.get_components()
            found["video"] = parts.images
            found["rate"] = torch.tensor([parts.frame_rate.numerator, parts.frame_rate.denominator])
            audio = parts.audio if audio is None else audio
        if audio is not None:
            found |= {"audio": audio["waveform"], "sample_rate": torch.tensor([audio["sample_rate"]])}
        tensors = {key: value.detach().cpu().contiguous() for key, value in found.items() if value is not None}
        save_file(tensors, Path(folder_paths.get_output_directory()) / f"{name}.safetensors")
        return {"ui": {"text": [name]}, "result": (name,)}


@PromptServer.instance.routes.get("/test/memory")
async def memory(request):
    """What the host has loaded, and the process's memory in bytes: all of it, and the part that is no file's.

    With ``?trim=1`` without what glibc keeps in its pools of freed memory.
    """
    if request.query.get("trim"):
        ctypes.CDLL(None).malloc_trim(0)
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    models = [[type(one.model).__name__, int(one.loaded_size())] for one in comfy.model_management.loaded_models()]
    return web.json_response(
        {"models": models, "rss": int(facts["VmRSS"].split()[0]) << 10, "own": int(facts["RssAnon"].split()[0]) << 10}
    )


NODE_CLASS_MAPPINGS = {"TestTinyWan": TestTinyWan, "TestDump": TestDump}
