"""Runs inside a ComfyUI checkout: what its own loader and its own ``VaceWanModel`` make of LoRA files.

python lora_in_comfy.py <job.json>: ``weights``, ``inputs`` (safetensors), ``config`` of the net, ``loras`` (name ->
file), ``out`` (safetensors to write: "base" and each name's prediction). Prints one JSON line: for each LoRA the keys
of the model that were patched, and every warning that the host logged meanwhile.
"""

import json
import logging
import sys
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, str(Path.cwd()))

import comfy.options

comfy.options.enable_args_parsing()

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from safetensors.torch import load_file, save_file

warnings: list[str] = []


class Catch(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warnings.append(record.getMessage())


config = comfy.supported_models.WAN21_Vace({"image_model": "wan2.1", "model_type": "vace", **job["config"]})
config.set_inference_dtype(torch.float32, None)
model = config.get_model({}, "", device="cpu")
model.diffusion_model.load_state_dict(load_file(job["weights"]), strict=True)
model.diffusion_model.to(torch.float32).eval()
patcher = comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
inputs = load_file(job["inputs"])


def predict() -> torch.Tensor:
    with torch.no_grad():
        return model.diffusion_model(
            inputs["latents"],
            inputs["timestep"],
            inputs["context"],
            vace_context=inputs["control"].unsqueeze(1),
            vace_strength=[1.0],
            transformer_options={},
        ).contiguous()


out, told = {"base": predict()}, {}
logging.getLogger().addHandler(Catch(logging.WARNING))
for name, file in job["loras"].items():
    warnings.clear()
    changed, _ = comfy.sd.load_lora_for_models(
        patcher, None, comfy.utils.load_torch_file(file, safe_load=True), 1.0, 0.0
    )
    changed.patch_model(torch.device("cpu"))
    out[name] = predict()
    told[name] = {"patched": sorted(changed.patches), "warnings": list(warnings)}
    changed.unpatch_model(torch.device("cpu"))
out["base again"] = predict()
save_file(out, job["out"])
print(json.dumps(told))
