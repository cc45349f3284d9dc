"""Run by test_forward in a process of its own: ComfyUI's own nets on files and inputs of ours.

``python comfy_nets.py ROOT FOLDER``: reads FOLDER/jobs.json, writes FOLDER/<job>.out.safetensors.
"""

import json
import sys
from pathlib import Path

root, folder = sys.argv[1], Path(sys.argv[2])
jobs = json.loads((folder / "jobs.json").read_text())
sys.path.insert(0, root)
# ComfyUI reads its command line when it is imported.
sys.argv = ["main.py", "--cpu", "--use-pytorch-cross-attention", "--base-directory", str(folder)]

import comfy.options

comfy.options.enable_args_parsing()

import comfy.ops
import comfy.sd
import torch
from comfy.ldm.wan.model import VaceWanModel
from comfy.ldm.wan.vae import WanVAE
from comfy.text_encoders import t5
from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer
from safetensors.torch import load_file, save_file

PLAIN = {"dtype": torch.float32, "operations": comfy.ops.disable_weight_init}


def transformer(path, sizes, prefix=""):
    """The class itself, at sizes that ComfyUI's detection does not know."""
    net = VaceWanModel(**sizes, device="cpu", **PLAIN)
    net.load_state_dict({key.removeprefix(prefix): value for key, value in load_file(path).items()})
    return net


def detected(path):
    """Through ComfyUI's own loader, which finds the sizes and the form of 8-bit weights itself."""
    model = comfy.sd.load_diffusion_model(path, {"dtype": torch.float32})
    assert isinstance(model.model.diffusion_model, VaceWanModel), type(model.model.diffusion_model)
    return model.model.diffusion_model


def forward(net, given):
    return net(
        given["latents"],
        given["time"],
        given["text"],
        vace_context=given["control"][:, None],
        vace_strength=[float(given["strength"])],
    )


def text_encoder(path, sizes):
    net = t5.T5({**sizes, "model_type": "umt5", "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True},
                torch.float32, "cpu", comfy.ops.disable_weight_init)  # fmt: skip
    tensors = load_file(path)
    tokenizer = SPieceTokenizer(tensors.pop("spiece_model"))
    net.load_state_dict(tensors)
    return net.eval(), tokenizer


def vae(path, sizes):
    net = WanVAE(**sizes)
    net.load_state_dict(load_file(path))
    return net.eval()


def shapes(net):
    return {key: list(value.shape) for key, value in net.state_dict().items()}


def run(job):
    kind, given = job["kind"], load_file(job["inputs"]) if "inputs" in job else {}
    if kind == "keys":
        with torch.device("meta"):
            sizes = json.loads((Path(root) / "comfy" / "text_encoders" / "umt5_config_xxl.json").read_text())
            return {
                **{name: shapes(VaceWanModel(**own, device="meta", **PLAIN)) for name, own in job["sizes"].items()},
                "text encoder": shapes(t5.T5(sizes, torch.float32, "meta", comfy.ops.disable_weight_init)),
                "vae": shapes(WanVAE(dim=96, z_dim=16, temperal_downsample=[False, True, True])),
            }
    if kind in ("transformer", "detected"):
        net = transformer(job["path"], job["sizes"]) if kind == "transformer" else detected(job["path"])
        return {"out": forward(net, given)}
    if kind == "text encoder":
        net, tokenizer = text_encoder(job["path"], job["sizes"])
        ids = torch.tensor([tokenizer(job["text"])["input_ids"]])
        return {"ids": ids, "out": net(ids, torch.ones_like(ids))[0]}
    net = vae(job["path"], job["sizes"])
    return {"latents": net.encode(given["video"]), "video": net.decode(given["latents"])}


with torch.no_grad():
    for name, job in jobs.items():
        found = run(job)
        if job["kind"] == "keys":
            (folder / f"{name}.out.json").write_text(json.dumps(found))
        else:
            save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.out.safetensors")
