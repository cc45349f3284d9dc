"""What the workflows need besides the pack: files under the names that ComfyUI's users have."""

from __future__ import annotations

CLIP = "gBR_sBM_c01_d04_mBR0_ch01.mp4"
REFERENCE = "reference.png"
LORA = "dance.safetensors"

_REPACKAGED = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
# Part of the model -> its folder, its file, and about how large it is (reckoned from parameters and their types).
WAN_FILES = {
    "diffusion_model": ("diffusion_models", "wan2.1_vace_1.3B_fp16.safetensors"),
    "vae": ("vae", "wan_2.1_vae.safetensors"),
    "text_encoder": ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"),
}
WAN_SIZES = {"diffusion_model": "about 4.3 GB", "vae": "about 250 MB", "text_encoder": "about 6.7 GB"}
# The browser offers to download what a user lacks of these.
WAN_MODELS = tuple(
    {"name": file, "url": f"{_REPACKAGED}/{folder}/{file}", "directory": folder} for folder, file in WAN_FILES.values()
)

# One pass through the 1.3B at 832 x 480 and 81 frames on an RTX 4090: reckoned. Wan's README gives 261 s for 50 steps
# of its text-to-video model, which are 100 passes of about 290 TFLOP; one with VACE and a reference has 462 TFLOP.
SECONDS_A_PASS = 261 / 100 * 462 / 290

# What is needed -> in a list of the note, and in a table.
NEEDS = {
    "clip": ("a dance clip of one person", "a clip"),
    "folder": (
        f"dance clips with AIST names (`{CLIP}`) in ComfyUI's `input` folder or one below it; other names with "
        "`any_name`",
        "clips",
    ),
    "person": ("a picture of the person who shall dance", "a person's picture"),
    "wan": (
        "\n- ".join(f"`{file}` in `models/{folder}`" for folder, file in WAN_FILES.values()),
        "Wan2.1 VACE 1.3B",
    ),
    "lora": ("your LoRA for Wan2.1 1.3B in `models/loras`", "your LoRA"),
    "pose": ("the pose nets: `s2v models get dwpose`, or those that comfyui_controlnet_aux has", "pose nets"),
    "captions": ("for captions only: `s2v models get florence-2-base`", ""),
}
RENDERED = ("clip", "person", "wan", "pose")


def said_list(needs: tuple[str, ...]) -> str:
    """As a list in a note."""
    return (
        "".join(f"- {NEEDS[need][0]}\n" for need in needs) or "Nothing but this pack: the nano Wan-VACE comes along.\n"
    )


def said_short(needs: tuple[str, ...]) -> str:
    """In a few words."""
    return ", ".join(NEEDS[need][1] for need in needs if NEEDS[need][1]) or "nothing"


def passes(steps: int, guidance: float) -> int:
    """Passes through the model that one video takes."""
    return steps * (1 if guidance == 1 else 2)


def said_time(count: int, videos: int) -> str:
    """How long so many passes take, in words."""
    minutes = count * SECONDS_A_PASS / 60
    long = f"{round(minutes / 5) * 5 or 5} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
    many = f"{videos} videos, " if videos > 1 else ""
    return (
        f"{many}{count} passes through the model: on an RTX 4090 roughly {long}, reckoned from Wan's published speed "
        f"and not measured here. For a quick try set `frames` to 17 and `steps` to 10."
    )
