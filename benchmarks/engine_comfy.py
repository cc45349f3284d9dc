"""Run by ``engine.py`` in a process of its own, where ComfyUI's modules come first.

``python engine_comfy.py ROOT FOLDER DEVICE ROUNDS``: FOLDER/mid holds the mid model. Prints JSON.
"""

import json
import sys
from pathlib import Path

root, folder, device, rounds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine_models import Place, inputs, medians  # noqa: E402

sys.path.insert(0, str(root))
# ComfyUI reads its command line when it is imported.
sys.argv = ["main.py", "--base-directory", str(folder), "--use-pytorch-cross-attention"]
if device == "cpu":
    sys.argv.append("--cpu")

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.ops  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.wan.model import VaceWanModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from s2v_core.wan import transformer  # noqa: E402
from s2v_core.wan.engine import load_engine  # noqa: E402
from s2v_core.wan.tiny import tiny_files  # noqa: E402

place = Place(device)
engine = load_engine(tiny_files(folder / "mid"), device=device, dtype=place.dtype)
dit, vace = engine.use("dit", "vace")
net = VaceWanModel(
    dim=dit.dim,
    ffn_dim=dit.blocks[0].ffn[0].out_features,
    freq_dim=dit.freq_dim,
    text_dim=dit.text_embedding[0].in_features,
    num_heads=dit.blocks[0].self_attn.num_heads,
    num_layers=len(dit.blocks),
    vace_layers=len(vace.vace_blocks),
    vace_in_dim=vace.vace_in_dim,
    device=device,
    dtype=engine.dtype,
    operations=comfy.ops.disable_weight_init,
)
net.load_state_dict({key: value.to(engine.dtype) for key, value in load_file(engine.files.transformer).items()})
with torch.no_grad():
    latents, context, text = inputs(engine)
    moment = torch.tensor([700.0], device=device, dtype=engine.dtype)
    constants = transformer.prepare(dit, vace, {"positive": text}, context, tuple(latents.shape), 1, False)

    def ours() -> torch.Tensor:
        return transformer.predict(dit, vace, constants, "positive", latents, moment)

    def theirs() -> torch.Tensor:
        return net(latents, moment, text, vace_context=context[:, None], vace_strength=[1.0])

    mine, peer = ours(), theirs()
    seconds = medians(place, rounds, {"ours": ours, "peer": theirs})
version = (root / "comfyui_version.py").read_text().split('"')[1] if (root / "comfyui_version.py").is_file() else ""
print(json.dumps(seconds | {"apart": float((mine - peer).abs().max() / peer.abs().max()), "version": version}))
