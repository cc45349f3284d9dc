"""Beside ComfyUI's own Wan-VACE nodes, in one graph and on the same tiny weights: the same latents and frames.

Both draw the same noise from a seed as long as there is no reference. With one, KSampler's first latent frames of noise
go to the reference, ours (as DiffSynth's) the last ones: RandomNoise, connected to ``noise``, makes them equal. The
host's schedule "simple" is ours where the number of steps divides 1000.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.host

TRANSFORMER, VAE, UMT5 = "wan2.1_vace_1.3B_fp16.safetensors", "wan_2.1_vae.safetensors", "umt5_tiny.safetensors"
TEXT, NEGATIVE = "A man dances slowly, hip hop on a stage.", "blurry, a woman"
WIDTH, HEIGHT, FRAMES = 32, 48, 5
SETTINGS = {
    "steps": 2,
    "guidance": 4.0,
    "shift": 5.0,
    "seed": 77,
    "width": WIDTH,
    "height": HEIGHT,
    "frames": FRAMES,
    "control_strength": 1.0,
    "fit": "letterbox",
    "solver": "euler",
    "precision": "float32",
    "tiling": False,
}
Prompt = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def text_encoder(host: Any) -> None:
    """A umT5 in ComfyUI's layout with its tokenizer inside: both sides read this file."""
    from tests.wan import other_layouts

    net = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    other_layouts.write_comfyui_umt5(host.base / "models" / "text_encoders" / UMT5, net)


def own(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}


def other(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def loaded() -> Prompt:
    """Both models (100 theirs, 101 ours), both texts (102, 103), a clip (104) and a picture (105) of the right size."""
    files = {"diffusion_model": TRANSFORMER, "vae": VAE, "text_encoder": UMT5}
    clip = {"video": "gBR_sBM_c01_d04_mBR0_ch01.mp4", "fps": 16, "frames": FRAMES, "width": WIDTH, "height": HEIGHT}
    return {
        "100": other("TestTinyWan", transformer=TRANSFORMER, text_encoder=UMT5, vae=VAE),
        "101": own("LoadWanVace", **files, dtype="float32", device="auto", tokenizer="beside the text encoder"),
        "102": other("CLIPTextEncode", clip=["100", 1], text=TEXT),
        "103": other("CLIPTextEncode", clip=["100", 1], text=NEGATIVE),
        "104": own("LoadAistClip", **clip, fit="crop", start=0.5, short="error"),
        "105": own("LoadAistClip", **{**clip, "frames": 1}, fit="crop", start=0.0, short="error"),
    }


def native(reference: bool = False, mask: list[Any] | None = None) -> Prompt:
    """Theirs, from WanVaceToVideo to KSampler and TrimVideoLatent (204)."""
    size = {"width": WIDTH, "height": HEIGHT, "length": FRAMES, "batch_size": 1, "strength": 1.0}
    pictures: dict[str, Any] = {"control_video": ["104", 0]}
    if reference:
        pictures["reference_image"] = ["105", 0]
    if mask:
        pictures["control_masks"] = mask
    steps = {name: SETTINGS[name] for name in ("steps", "seed")}
    return {
        "201": other("WanVaceToVideo", positive=["102", 0], negative=["103", 0], vae=["100", 2], **size, **pictures),
        "202": other("ModelSamplingSD3", model=["100", 0], shift=SETTINGS["shift"]),
        "203": other(
            "KSampler",
            model=["202", 0],
            positive=["201", 0],
            negative=["201", 1],
            latent_image=["201", 2],
            **steps,
            cfg=SETTINGS["guidance"],
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "204": other("TrimVideoLatent", samples=["203", 0], trim_amount=["201", 3]),
    }


def ours(**inputs: Any) -> Prompt:
    texts = {"positive": ["102", 0], "negative": ["103", 0]}
    return {"300": own("WanVaceSampler", model=["101", 0], control_video=["104", 0], **{**SETTINGS, **texts, **inputs})}


def dumps(host: Any, prompt: Prompt, **sockets: tuple[str, list[Any]]) -> dict[str, torch.Tensor]:
    """Run, and what came out of these sockets: name=(kind, [node, output])."""
    whole = dict(prompt)
    for number, (name, (kind, source)) in enumerate(sockets.items()):
        whole[f"9{number}"] = other("TestDump", **{"name": name, kind: source})
    run = host.run(whole)
    assert run.ended == "execution_success", run.error
    return {name: load_file(host.base / "output" / f"{name}.safetensors")[kind] for name, (kind, _) in sockets.items()}


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one.double() - other.double()).abs().max())


def test_the_same_latents_and_frames_as_the_host_s_own_nodes(host: Any) -> None:
    prompt = {
        **loaded(),
        **native(),
        **ours(),
        "205": other("VAEDecode", samples=["204", 0], vae=["100", 2]),
        "206": other("VAEDecode", samples=["300", 3], vae=["100", 2]),
    }
    found = dumps(
        host,
        prompt,
        theirs=("latent", ["204", 0]),
        mine=("latent", ["300", 3]),
        their_frames=("image", ["205", 0]),
        my_frames=("image", ["300", 0]),
        decoded=("image", ["206", 0]),
    )
    theirs, mine = found["theirs"], found["mine"]
    assert theirs.shape == (1, 16, 2, HEIGHT // 8, WIDTH // 8)
    assert theirs.std() > 0.5
    print(f"latents: {largest(mine, theirs):.1e}; frames: {largest(found['my_frames'], found['their_frames']):.1e}")
    assert largest(mine, theirs) < 1e-3
    # The host's VAE Decode on our latent gives our own frames, which are rounded to 256 levels.
    decoded = found["decoded"].reshape(found["my_frames"].shape)
    assert largest(decoded, found["my_frames"]) < 1 / 255
    assert largest(found["my_frames"], found["their_frames"].reshape(found["my_frames"].shape)) < 1 / 255
    # The comparison can fail: another seed is far off.
    again = dumps(host, {**loaded(), **ours(seed=78)}, mine=("latent", ["300", 3]))["mine"]
    assert largest(again, theirs) > 0.1


def test_with_a_reference_the_noise_is_drawn_in_another_order(host: Any) -> None:
    prompt = {**loaded(), **native(reference=True), **ours(reference=["105", 0])}
    prompt["301"] = {**prompt["300"], "inputs": {**prompt["300"]["inputs"], "noise": ["302", 0]}}
    prompt["302"] = other("RandomNoise", noise_seed=SETTINGS["seed"])
    found = dumps(
        host,
        prompt,
        whole=("latent", ["203", 0]),
        theirs=("latent", ["204", 0]),
        plain=("latent", ["300", 3]),
        mine=("latent", ["301", 3]),
    )
    assert found["whole"].shape[2] == 3
    assert found["theirs"].shape[2] == 2, "TrimVideoLatent cuts the reference's latent frame off"
    print(f"latents with a reference: {largest(found['mine'], found['theirs']):.1e}")
    assert largest(found["mine"], found["theirs"]) < 1e-3
    assert largest(found["plain"], found["theirs"]) > 0.1


def test_a_mask_means_the_same(host: Any) -> None:
    """The left half is kept, the right half is drawn anew."""
    prompt = {
        **loaded(),
        "401": other("SolidMask", value=0.0, width=WIDTH, height=HEIGHT),
        "402": other("SolidMask", value=1.0, width=WIDTH // 2, height=HEIGHT),
        "403": other("MaskComposite", destination=["401", 0], source=["402", 0], x=WIDTH // 2, y=0, operation="add"),
        "404": other("RepeatImageBatch", image=["405", 0], amount=FRAMES),
        "405": other("MaskToImage", mask=["403", 0]),
        "406": other("ImageToMask", image=["404", 0], channel="red"),
        **native(mask=["406", 0]),
        **ours(mask=["403", 0]),
    }
    found = dumps(host, prompt, theirs=("latent", ["204", 0]), mine=("latent", ["300", 3]), mask=("mask", ["406", 0]))
    assert found["mask"].mean() == 0.5
    print(f"latents with a mask: {largest(found['mine'], found['theirs']):.1e}")
    assert largest(found["mine"], found["theirs"]) < 1e-3


def test_clip_text_encode_is_our_text(host: Any) -> None:
    """Through the host's encoder or through ours: the same states, so the same video. At guidance 1 one text does."""
    settings = {**SETTINGS, "guidance": 1.0}
    prompt = {**loaded(), "500": own("TextToPrompt", text=TEXT, negative=NEGATIVE)}
    prompt["300"] = own("WanVaceSampler", model=["101", 0], positive=["102", 0], **settings)
    prompt["301"] = own("WanVaceSampler", model=["101", 0], prompt=["500", 0], **settings)
    prompt["302"] = own("WanVaceSampler", model=["101", 0], positive=["504", 0], **settings)
    prompt["504"] = other("ConditioningZeroOut", conditioning=["102", 0])
    found = dumps(
        host,
        prompt,
        by_host=("latent", ["300", 3]),
        by_us=("latent", ["301", 3]),
        without=("latent", ["302", 3]),
        states=("conditioning", ["102", 0]),
    )
    assert largest(found["by_host"], found["by_us"]) < 1e-4
    assert largest(found["by_host"], found["without"]) > 1e-2, "the text plays a part"
    states = found["states"]
    assert states.shape == (1, 512, 32)
    used = int(states[0].any(dim=1).sum())
    assert 5 < used < 100
    assert not states[0, used:].any()


def test_what_would_be_ignored_is_refused(host: Any) -> None:
    prompt = {**loaded(), **native(), **ours(positive=["201", 0]), "90": other("PreviewImage", images=["300", 0])}
    run = host.run(prompt)
    assert run.ended == "execution_error"
    assert "steers by more than a text" in run.error
    assert "vace_frames" in run.error


def test_pack_is_imported_at_no_cost(host: Any) -> None:
    """The host's own line about it is there; how long it took is for ``benchmarks/host.py`` to judge."""
    assert re.search(r"[\d.]+ seconds: .*skeleton2video-under-test", host.log())
