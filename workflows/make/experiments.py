"""The workflows: what each shows, what it needs, how long it takes, and its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from s2v_core.sweeps.yamlfile import read_yaml

from .graph import PREVIEW, Graph, Link, Node
from .schemas import ROOT, Schema

CLIP = "gBR_sBM_c01_d04_mBR0_ch01.mp4"
REFERENCE = "reference.png"
LORA = "dance.safetensors"
SUBJECT = "a young man with short black hair, in a red shirt, loose grey trousers and white sneakers"
CARD = {
    "who": "a young man",
    "hair": "short black hair",
    "clothes": "a red shirt, loose grey trousers",
    "shoes": "white sneakers",
}
VIDEO = 340  # a preview of a square clip
WIDE = 400  # names of files are to be seen whole
MEDIA, WORDS, MODEL, SWEEP, RESULT = "#3f789e", "#8f6f3f", "#6a5a8f", "#3f7f6f", "#7f4f5f"

_REPACKAGED = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
WAN_FILES = {
    "diffusion_model": ("diffusion_models", "wan2.1_vace_1.3B_fp16.safetensors"),
    "vae": ("vae", "wan_2.1_vae.safetensors"),
    "text_encoder": ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"),
}
# The browser offers to download what a user lacks of these.
WAN_MODELS = tuple(
    {"name": file, "url": f"{_REPACKAGED}/{folder}/{file}", "directory": folder} for folder, file in WAN_FILES.values()
)

# One pass through the 1.3B at 832 x 480 and 81 frames on an RTX 4090: reckoned. Wan's README gives 261 s for 50 steps
# of its text-to-video model, which are 100 passes of about 290 TFLOP; one with VACE and a reference has 462 TFLOP.
SECONDS_A_PASS = 261 / 100 * 462 / 290

NEEDS = (
    f"- `{WAN_FILES['diffusion_model'][1]}` in `models/diffusion_models`\n"
    f"- `{WAN_FILES['vae'][1]}` in `models/vae`\n"
    f"- `{WAN_FILES['text_encoder'][1]}` in `models/text_encoders`\n"
)
POSE_NEEDS = "- the pose files: `s2v models get dwpose`, or those that comfyui_controlnet_aux has\n"
LORA_NEEDS = "- your LoRA for Wan2.1 1.3B in `models/loras`\n"
INPUT_NEEDS = "- a dance clip, and a picture of the person who shall dance\n"
GREEN = "Set the **green** nodes: "


def axis_of(name: str, axis: str) -> str:
    """The values of an axis in a sweep file of ``workflows/sweeps``, as one types them into Sweep Axis."""
    read, _ = read_yaml((ROOT / "workflows" / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(read["axes"][axis])


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


def note(graph: Graph, title: str, shows: str, needs: str, takes: str, how: str) -> None:
    """The opening note."""
    graph.note(
        title,
        f"## What it shows\n{shows}\n\n## What it needs\n{needs}\n## How long\n{takes}\n\n## How\n{how}",
    )


# Parts that most of them share


def media(graph: Graph, report: bool = True, **piece: Any) -> tuple[Node, Node]:
    """Clip and pose. ``report``: with what the pose's net said. ``piece``: of the clip."""
    graph.group("1  Clip and pose", MEDIA)
    clip = graph.add("LoadAistClip", yours=True, tall=VIDEO, video=CLIP, **piece)
    graph.column()
    pose = graph.add("ExtractPose", frames=clip["frames"], fps=clip["fps"])
    if report:
        graph.add("PreviewAny", "What was found", tall=100, source=pose["report"])
    return clip, pose


def person(graph: Graph, clip: Node) -> tuple[Node, Node]:
    """Reference picture and prompt."""
    graph.group("2  Person and words", WORDS)
    picture = graph.add("LoadImage", "The person who dances", yours=True, tall=PREVIEW, image=REFERENCE)
    words = graph.add("BuildDancePrompt", yours=True, subject=SUBJECT, clip_name=clip["clip name"])
    graph.add("PreviewAny", "The prompt, to read", tall=100, source=words["text"])
    return picture, words


def model(graph: Graph, lora: bool, off: bool = False) -> tuple[Node, Link | None]:
    """The model, and the LoRA."""
    graph.group("3  Model", MODEL)
    files = {name: file for name, (_, file) in WAN_FILES.items()}
    wan = graph.add("LoadWanVace", wide=WIDE, models=WAN_MODELS, **files)
    if not lora:
        return wan, None
    return wan, graph.add("WanVaceLora", wide=WIDE, yours=True, off=off, lora=LORA)["LoRAs"]


def axes_of(graph: Graph, *axes: tuple[str, str, str], title: str = "4  What varies") -> Link:
    """A chain of Sweep Axis nodes: (title, axis, values)."""
    graph.group(title, SWEEP, below=True)
    before: Link | None = None
    for called, axis, values in axes:
        more = {} if before is None else {"axes": before}
        before = graph.add("SweepAxis", called, wide=WIDE, tall=60, axis=axis, values=values, **more)["axes"]
    assert before is not None
    return before


def result(graph: Graph, sweep: Node, title: str = "6  Result", **inputs: Any) -> Node:
    """The grid, its contact sheet and what was computed."""
    graph.group(title, RESULT)
    grid = graph.add("SweepGrid", tall=PREVIEW, sweep=sweep["sweep"], **inputs)
    graph.column()
    graph.add("PreviewAny", "What was computed", tall=120, source=grid["summary"])
    graph.add("PreviewImage", "Contact sheet", tall=PREVIEW, images=grid["contact sheet"], wide=480)
    return grid


def run(graph: Graph, model: Node, prompt: Link, axes: Link, loras: Link | None, title: str = "5  Run",
        **more: Any) -> Node:  # fmt: skip
    """Run Sweep."""
    graph.group(title, SWEEP)
    if loras is not None:
        more["loras"] = loras
    return graph.add("RunSweep", tall=PREVIEW, model=model["model"], prompt=prompt, axes=axes, name=graph.name, **more)


def wan_sweep(graph: Graph, *axes: tuple[str, str, str], lora: bool, **settings: Any) -> None:
    """The whole graph of a sweep over Wan2.1-VACE."""
    clip, pose = media(graph)
    picture, words = person(graph, clip)
    wan, loras = model(graph, lora)
    chain = axes_of(graph, *axes)
    pictures = {"control_video": pose["control video"], "reference": picture["IMAGE"]}
    sweep = run(graph, wan, words["prompt"], chain, loras, **pictures, **settings)
    result(graph, sweep, **pictures)


SWEEP_HOW = (
    "Press **Run**. The grid stands in group 6 and, with a contact sheet, in `output/skeleton2video/{name}`. Each "
    "finished video is kept there: stop when you like, and the next run goes on; a new value costs only its own videos."
)


def sweep_workflow(name: str, title: str, shows: str, axes: tuple[tuple[str, str, str], ...], count: int, videos: int,
                   lora: bool = False, **settings: Any) -> Callable[[Mapping[str, Schema]], Graph]:  # fmt: skip
    """A maker of the graph of a sweep over Wan2.1-VACE; ``axes``: (title, axis, values)."""

    def make(schemas: Mapping[str, Schema]) -> Graph:
        graph = Graph(name, schemas)
        green = "the clip, the person's picture, and who is seen" + (", and your LoRA" if lora else "")
        needs = INPUT_NEEDS + NEEDS + (LORA_NEEDS if lora else "") + POSE_NEEDS
        how = f"{GREEN}{green}. {SWEEP_HOW.format(name=name)}"
        note(graph, title, shows, needs, said_time(count, videos), how)
        wan_sweep(graph, *axes, lora=lora, **settings)
        return graph

    return make
