"""One graph in which three parties take part: this pack, comfyui_controlnet_aux, and the host's own nodes.

Every socket that is shared goes over to the others and comes back: VIDEO, IMAGE, MASK, POSE_KEYPOINT and LATENT.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        not os.environ.get("COMFY_AUX_ROOT"),
        reason="NO PEER PACK: name a checkout of comfyui_controlnet_aux in COMFY_AUX_ROOT",
    ),
]

CLIP = "gBR_sBM_c01_d04_mBR0_ch01.mp4"
WIDTH, HEIGHT, FRAMES = 64, 128, 5
WAN = {"transformer": "wan2.1_vace_1.3B_fp16.safetensors", "vae": "wan_2.1_vae.safetensors"}
PARTS = ("Head", "Neck", "Shoulder", "Torso", "RArm", "RForearm", "LArm", "LForearm")
SETTINGS = {"steps": 1, "guidance": 1.0, "shift": 5.0, "seed": 3, "width": WIDTH, "height": HEIGHT, "frames": FRAMES}
SETTINGS |= {"control_strength": 1.0, "fit": "crop", "solver": "euler", "precision": "float32", "tiling": False}


def own(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}


def other(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture(scope="module", autouse=True)
def loaded(host: Any) -> None:
    """The text encoder that both sides read, and the peer's nodes, which are there without its optional packages."""
    from tests.wan import other_layouts

    net = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    other_layouts.write_comfyui_umt5(host.base / "models" / "text_encoders" / "umt5_peers.safetensors", net)
    asked = {"CannyEdgePreprocessor", "InpaintPreprocessor", "UpperBodyTrackingFromPoseKps"}
    assert asked <= set(host.get("/object_info")), host.log()[-4000:]


def test_one_graph_with_nodes_of_three_parties(host: Any) -> None:
    if not any((host.base / "models" / "skeleton2video").glob("*.tflite")):
        pytest.skip("NO BLAZEPOSE NETS: the host has no backend to find poses with")
    piece = {"fps": 15, "frames": FRAMES, "width": 2 * WIDTH, "height": 2 * HEIGHT}
    boxes = {f"{part}_width_height": "32, 32" for part in PARTS}
    names = {"diffusion_model": WAN["transformer"], "vae": WAN["vae"], "text_encoder": "umt5_peers.safetensors"}
    prompt = {
        "1": other("LoadVideo", file=CLIP),
        "2": own("VideoToClip", video=["1", 0], **piece, fit="crop", start=0.0, short="error"),
        # POSE_KEYPOINT: found here, tracked there; through the peer's drawing of it.
        "3": own("ExtractPose", frames=["2", 0], fps=["2", 3], backend="blazepose", palette="vace",
                 layers="body + face", detect_every=16, max_people=1, provider="auto"),
        "4": other("UpperBodyTrackingFromPoseKps", pose_kps=["3", 3], id_include="", **boxes),
        "5": other("PreviewAny", source=["4", 1]),
        # IMAGE: edges of the peer's make are the control video; MASK: what Keep Frames keeps is blacked out there.
        "6": other("CannyEdgePreprocessor", image=["2", 0], low_threshold=50, high_threshold=100, resolution=HEIGHT),
        "7": own("KeepFrames", pictures=["19", 0], numbers="0", width=WIDTH, height=HEIGHT, frames=FRAMES, fit="crop"),
        "8": other("InvertMask", mask=["7", 1]),
        "9": other("InpaintPreprocessor", image=["7", 0], mask=["8", 0], black_pixel_for_xinsir_cn=True),
        # LATENT: decoded and averaged by the host. VIDEO: taken apart by the host.
        "10": own("LoadWanVace", **names, dtype="float32", device="auto", tokenizer="beside the text encoder"),
        "11": own("TextToPrompt", text=["4", 1], negative=""),
        "12": own("WanVaceSampler", model=["10", 0], prompt=["11", 0], control_video=["6", 0], mask=["7", 1],
                  **SETTINGS),
        "13": other("TestTinyWan", **WAN, text_encoder="umt5_peers.safetensors"),
        "14": other("LatentBlend", samples1=["12", 3], samples2=["12", 3], blend_factor=0.25),
        "15": other("VAEDecode", samples=["14", 0], vae=["13", 2]),
        "16": other("GetVideoComponents", video=["12", 1]),
        "17": other("CannyEdgePreprocessor", image=["16", 0], low_threshold=50, high_threshold=100, resolution=64),
        "18": other("PreviewImage", images=["17", 0]),
        "19": other("ImageFromBatch", image=["2", 0], batch_index=0, length=1),
        "30": other("TestDump", name="peer edges", image=["6", 0]),
        "31": other("TestDump", name="peer masked", image=["9", 0], mask=["7", 1]),
        "32": other("TestDump", name="peer frames", image=["12", 0], latent=["12", 3]),
        "33": other("TestDump", name="peer decoded", image=["15", 0]),
        "34": other("TestDump", name="peer components", image=["16", 0]),
    }  # fmt: skip
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert run.executed | run.cached == set(prompt)
    # The peer names a box for each part of the one dancer.
    assert [f'"0.{part}"' in run.outputs["5"]["text"][0] for part in PARTS] == [True] * len(PARTS)
    found = {name: load_file(host.base / "output" / f"peer {name}.safetensors")
             for name in ("edges", "masked", "frames", "decoded", "components")}  # fmt: skip
    assert len(found["edges"]["image"]) == FRAMES and found["edges"]["image"].amax() == 1
    assert found["masked"]["mask"].mean((1, 2)).tolist() == [0, 1, 1, 1, 1]
    assert found["masked"]["image"].amax((1, 2, 3)).bool().tolist() == [False, True, True, True, True]
    frames = found["frames"]["image"]
    assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert (found["decoded"]["image"].reshape(frames.shape) - frames).abs().max() < 1 / 255
    assert torch.equal(found["components"]["image"], frames)
    assert len(run.outputs["18"]["images"]) == FRAMES

    # Their edges steer: with the clip itself in their place the frames are others.
    prompt["12"]["inputs"]["control_video"] = ["2", 0]
    assert host.run(prompt).ended == "execution_success"
    plain = load_file(host.base / "output" / "peer frames.safetensors")["image"]
    assert (plain - frames).abs().max() > 1 / 255
