"""A small graph for each node: what its help page shows. All of them run with the nano model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .catalog import NANO
from .experiments import CARD
from .graph import Graph, Node
from .needs import CLIP, REFERENCE, WAN_FILES
from .schemas import PREFIX, Schema

Build = Callable[[Graph], Any]
SMALL = {**NANO, "steps": 8}
POSE_FILE = "dance.npz"


@dataclass(frozen=True)
class Scene:
    """``build``: adds the nodes. ``runs``: whether it can be run without large files.

    ``shows``: the titles of the nodes in the picture; empty for all.
    """

    build: Build
    runs: bool = True
    shows: tuple[str, ...] = ()


def graph_of(node: str, schemas: Mapping[str, Schema]) -> Graph:
    """The scene of a node, called without its prefix."""
    graph = Graph(node, schemas)
    graph.group("")
    SCENES[node].build(graph)
    return graph


def _see(graph: Graph, title: str, link: Any, tall: int = 230, wide: int = 300) -> Node:
    return graph.add("PreviewImage", title, tall=tall, wide=wide, images=link)


def _read(graph: Graph, title: str, link: Any, tall: int = 100, wide: int = 340) -> Node:
    return graph.add("PreviewAny", title, tall=tall, wide=wide, source=link)


def _load_aist_clip(graph: Graph) -> None:
    clip = graph.add("LoadAistClip", tall=340, video=CLIP, frames=17, width=96, height=96)
    graph.column()
    _read(graph, "Facts of the name", clip["facts"], 120)
    _see(graph, "Frames", clip["frames"], 330, 340)


def _aist_dataset(graph: Graph) -> None:
    clips = graph.add("AistDataset", index=0, count=2, frames=17, size="96x96", seed=0)
    graph.column()
    _read(graph, "Which files", clips["files"], 60)
    _read(graph, "Report", clips["report"], 60)
    _see(graph, "Frames of both", clips["frames"], 200, 340)


def _extract_pose(graph: Graph) -> None:
    clip = graph.add("LoadAistClip", tall=0, video=CLIP, frames=17, width=480, height=480)
    graph.column()
    pose = graph.add("ExtractPose", frames=clip["frames"], fps=clip["fps"])
    graph.column()
    _see(graph, "Control video", pose["control video"], 330, 340)
    _read(graph, "Report", pose["report"], 80)


def _edit_pose(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    edited = graph.add("EditPose", pose=dancer["pose"])
    graph.column()
    drawing = graph.add("DrawPose", pose=edited["pose"], stick="fixed")
    _read(graph, "Report", edited["report"], 40)
    graph.column()
    _see(graph, "Control video", drawing["control video"], 290)


def _retarget_pose(graph: Graph) -> None:
    dance = graph.add("DrawnDancer", "Whose dance", number=4)
    person = graph.add("DrawnDancer", "Whose body", number=7)
    graph.column()
    made = graph.add("RetargetPose", pose=dance["pose"], reference=person["reference"], reference_pose=person["pose"])
    graph.column()
    _see(graph, "Before and after", made["before and after"], 300, 460)


def _draw_pose(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    graph.column()
    _see(graph, "Control video", drawing["control video"], 290)


def _load_pose(graph: Graph) -> None:
    pose = graph.add("LoadPose", file=POSE_FILE)
    _read(graph, "Report", pose["report"], 40)
    graph.column()
    drawing = graph.add("DrawPose", pose=pose["pose"], stick="fixed")
    _see(graph, "Control video", drawing["control video"], 200, 340)


def _save_pose(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    graph.column()
    saved = graph.add("SavePose", pose=dancer["pose"], name="my_dance")
    graph.column()
    _read(graph, "Where it lies", saved["path"], 40)


def _keypoints(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    there = graph.add("PoseToKeypoints", pose=dancer["pose"])
    back = graph.add("KeypointsToPose", keypoints=there["keypoints"])
    graph.column()
    drawing = graph.add("DrawPose", pose=back["pose"], stick="fixed")
    _see(graph, "The same dance", drawing["control video"], 200, 340)


def _subject_card(graph: Graph) -> None:
    card = graph.add("SubjectCard", **CARD, light="soft window light")
    graph.column()
    _read(graph, "The person as one phrase", card["text"], 60)
    graph.column()
    words = graph.add("BuildDancePrompt", card=card["card"])
    graph.column()
    _read(graph, "The prompt", words["text"], 200)


def _caption_frame(graph: Graph) -> None:
    picture = graph.add("LoadImage", tall=220, image=REFERENCE)
    graph.column()
    caption = graph.add("CaptionFrame", image=picture["IMAGE"])
    _read(graph, "What was dropped", caption["dropped"], 40)
    graph.column()
    graph.add("BuildDancePrompt", caption=caption["caption"])


def _build_dance_prompt(graph: Graph) -> None:
    clip = graph.add("LoadAistClip", tall=0, video=CLIP, frames=17, width=96, height=96)
    graph.column()
    words = graph.add("BuildDancePrompt", clip_name=clip["clip name"], subject=_subject())
    graph.column()
    _read(graph, "The prompt", words["text"], 170)
    _read(graph, "Where each sentence comes from", words["report"], 190)


def _prompt_variants(graph: Graph) -> None:
    words = graph.add("PromptVariants", subject=_subject(), variants="detailed, identity")
    graph.column()
    _read(graph, "The prompts", words["texts"], 230, 420)


def _load_wan_vace(graph: Graph) -> None:
    graph.add("LoadWanVace", wide=440, **{part: file for part, (_, file) in WAN_FILES.items()})


def _drawn_dancer(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    _see(graph, "The reference", dancer["reference"], 200, 340)
    graph.column()
    _see(graph, "As it should be", dancer["as it should be"], 350)


def _lora(graph: Graph) -> None:
    first = graph.add("WanVaceLora", "A LoRA in all steps", wide=360, lora="dance.safetensors", strength=0.8)
    graph.column()
    graph.add("WanVaceLora", "Another in the attention, from step 10 on", wide=360, lora="style.safetensors",
              strength=0.5, scope="only self_attn", from_step=10, ramp_in=5, loras=first["LoRAs"])  # fmt: skip


def _export_lora(graph: Graph) -> None:
    nano = graph.add("LoadNanoWanVace")
    graph.column()
    made = graph.add("ExportLora", model=nano["model"], loras=nano["biased LoRA"], name="mine")
    graph.column()
    _read(graph, "Where it lies", made["path"], 40)


def _stage(graph: Graph) -> tuple[Node, Node, Node]:
    nano = graph.add("LoadNanoWanVace")
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    graph.column()
    return nano, dancer, drawing


def _sampler(graph: Graph) -> None:
    nano, dancer, drawing = _stage(graph)
    sampler = graph.add("WanVaceSampler", tall=220, model=nano["model"], prompt=dancer["prompt"],
                        control_video=drawing["control video"], reference=dancer["reference"], **SMALL)  # fmt: skip
    graph.column()
    _see(graph, "Frames", sampler["frames"], 330)


def _axis(graph: Graph) -> None:
    rows = graph.add("SweepAxis", "Rows", tall=50, axis="guidance", values="1, 3, 6")
    graph.column()
    graph.add("SweepAxis", "Columns", tall=50, axis="lora_strength", values="0..2 step 0.5", axes=rows["axes"])


def _swept(graph: Graph, values: str = "1, 6") -> tuple[Node, dict[str, Any]]:
    nano = graph.add("LoadNanoWanVace")
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    axis = graph.add("SweepAxis", tall=50, axis="guidance", values=values)
    axis = graph.add("SweepAxis", tall=50, axis="lora_strength", values="0, 2", axes=axis["axes"])
    graph.column()
    pictures = {"control_video": drawing["control video"], "reference": dancer["reference"]}
    sweep = graph.add("RunSweep", tall=220, model=nano["model"], prompt=dancer["prompt"], axes=axis["axes"],
                      name="help", loras=nano["biased LoRA"], **pictures, **SMALL)  # fmt: skip
    graph.column()
    return sweep, pictures


def _run_sweep(graph: Graph) -> None:
    sweep, pictures = _swept(graph)
    graph.add("SweepGrid", tall=420, sweep=sweep["sweep"], **pictures)


def _sweep_grid(graph: Graph) -> None:
    sweep, pictures = _swept(graph)
    grid = graph.add("SweepGrid", tall=420, sweep=sweep["sweep"], **pictures)
    graph.column()
    _see(graph, "Contact sheet", grid["contact sheet"], 420, 380)
    _read(graph, "Summary", grid["summary"], 80, 380)


def _pick_cell(graph: Graph) -> None:
    sweep, _ = _swept(graph)
    cell = graph.add("PickCell", tall=340, sweep=sweep["sweep"], by="label", label="guidance 6, LoRA strength 2")
    graph.column()
    _read(graph, "Its labels", cell["labels"], 30)
    _read(graph, "Its settings", cell["settings"], 300)


def _subject() -> str:
    return f"{CARD['who']} with {CARD['hair']}, in {CARD['clothes']} and {CARD['shoes']}"


SCENES: Mapping[str, Scene] = {
    "LoadAistClip": Scene(_load_aist_clip),
    "AistDataset": Scene(_aist_dataset),
    "ExtractPose": Scene(_extract_pose, shows=("Extract Pose", "Control video", "Report")),
    "EditPose": Scene(_edit_pose),
    "RetargetPose": Scene(_retarget_pose),
    "DrawPose": Scene(_draw_pose),
    "LoadPose": Scene(_load_pose),
    "SavePose": Scene(_save_pose),
    "KeypointsToPose": Scene(_keypoints),
    "PoseToKeypoints": Scene(_keypoints),
    "SubjectCard": Scene(_subject_card),
    "CaptionFrame": Scene(_caption_frame, runs=False),
    "BuildDancePrompt": Scene(
        _build_dance_prompt, shows=("Build Dance Prompt", "The prompt", "Where each sentence comes from")
    ),
    "PromptVariants": Scene(_prompt_variants),
    "LoadWanVace": Scene(_load_wan_vace, runs=False),
    "LoadNanoWanVace": Scene(_sampler, shows=("Load Nano Wan-VACE", "Drawn Dancer", "Draw Pose")),
    "DrawnDancer": Scene(_drawn_dancer),
    "WanVaceLora": Scene(_lora, runs=False),
    "ExportLora": Scene(_export_lora),
    "WanVaceSampler": Scene(_sampler, shows=("Wan-VACE Sampler", "Frames")),
    "SweepAxis": Scene(_axis, runs=False),
    "RunSweep": Scene(_run_sweep, shows=("Run Sweep", "Sweep Grid")),
    "SweepGrid": Scene(_sweep_grid, shows=("Sweep Grid", "Contact sheet", "Summary")),
    "PickCell": Scene(_pick_cell, shows=("Pick Cell", "Its labels", "Its settings")),
}


def without_scene(schemas: Mapping[str, Schema]) -> list[str]:
    """The pack's nodes that have no scene yet."""
    return [name for name in schemas if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in SCENES]
