"""A small graph for each node: what its help page shows. All of them run with the nano model.

The page is a narrow column, so a picture shows the last column of its graph: the node, and below it what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .catalog import NANO
from .experiments import CARD
from .graph import Graph, Node
from .needs import CLIP, LORA, REFERENCE, WAN_FILES
from .schemas import PREFIX, Schema

Build = Callable[[Graph], Any]
SMALL = {**NANO, "steps": 8}
POSE_FILE = "dance.npz"
SUBJECT = f"{CARD['who']} with {CARD['hair']}, in {CARD['clothes']} and {CARD['shoes']}"


@dataclass(frozen=True)
class Scene:
    """``build``: adds the nodes. ``runs``: whether it can be run without large files."""

    build: Build
    runs: bool = True


def graph_of(node: str, schemas: Mapping[str, Schema]) -> Graph:
    """The scene of a node, called without its prefix."""
    graph = Graph(node, schemas)
    graph.group("")
    SCENES[node].build(graph)
    return graph


def shown(graph: Graph) -> list[Node]:
    """The nodes in the picture."""
    return graph.groups[-1].columns[-1]


def _see(graph: Graph, title: str, link: Any, tall: int = 300) -> Node:
    return graph.add("PreviewImage", title, tall=tall, images=link)


def _read(graph: Graph, title: str, link: Any, tall: int = 90) -> Node:
    return graph.add("PreviewAny", title, tall=tall, source=link)


def _clip(graph: Graph, side: int = 96) -> Node:
    clip = graph.add("LoadAistClip", video=CLIP, frames=17, width=side, height=side)
    graph.column()
    return clip


def _dancer(graph: Graph, number: int = 4) -> Node:
    dancer = graph.add("DrawnDancer", number=number)
    graph.column()
    return dancer


def _drawn(graph: Graph, pose: Any) -> None:
    """Somebody's pose, drawn in a column before the last and seen in the last."""
    drawing = graph.add("DrawPose", pose=pose, stick="fixed")
    _see(graph, "The control video", drawing["control video"])


def _load_aist_clip(graph: Graph) -> None:
    clip = graph.add("LoadAistClip", tall=340, video=CLIP, frames=17, width=96, height=96)
    _read(graph, "Facts of the name", clip["facts"])


def _video_to_clip(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    video = graph.add("CreateVideo", images=dancer["as it should be"], fps=16.0)
    graph.column()
    clip = graph.add("VideoToClip", video=video["VIDEO"], frames=9, width=96, height=96)
    _see(graph, "Its frames", clip["frames"], 240)
    _read(graph, "Its facts", clip["facts"], 60)


def _aist_dataset(graph: Graph) -> None:
    clips = graph.add("AistDataset", index=0, count=2, frames=17, size="96x96")
    _read(graph, "Which files", clips["files"], 60)
    _see(graph, "The frames of both", clips["frames"], 240)


def _extract_pose(graph: Graph) -> None:
    clip = _clip(graph, 480)
    pose = graph.add("ExtractPose", frames=clip["frames"], fps=clip["fps"])
    _see(graph, "The control video", pose["control video"])
    _read(graph, "The report", pose["report"])


def _edit_pose(graph: Graph) -> None:
    dancer = _dancer(graph)
    edited = graph.add("EditPose", pose=dancer["pose"])
    _read(graph, "The report", edited["report"], 60)


def _retarget_pose(graph: Graph) -> None:
    dance = graph.add("DrawnDancer", "Whose dance", number=4)
    person = graph.add("DrawnDancer", "Whose body", number=7)
    found = graph.add("ExtractPose", "Pose of the picture", frames=person["reference"])
    graph.column()
    made = graph.add("RetargetPose", pose=dance["pose"], reference=person["reference"], reference_pose=found["pose"])
    _see(graph, "Before and after", made["before and after"], 260)


def _draw_pose(graph: Graph) -> None:
    _drawn(graph, _dancer(graph)["pose"])


def _load_pose(graph: Graph) -> None:
    pose = graph.add("LoadPose", file=POSE_FILE)
    _read(graph, "The report", pose["report"], 60)


def _save_pose(graph: Graph) -> None:
    saved = graph.add("SavePose", pose=_dancer(graph)["pose"], name="my_dance")
    _read(graph, "Where it lies", saved["path"], 60)


def _keypoints_to_pose(graph: Graph) -> None:
    there = graph.add("PoseToKeypoints", pose=_dancer(graph)["pose"])
    graph.column()
    _drawn(graph, graph.add("KeypointsToPose", keypoints=there["keypoints"])["pose"])


def _pose_to_keypoints(graph: Graph) -> None:
    there = graph.add("PoseToKeypoints", pose=_dancer(graph)["pose"])
    _read(graph, "What other packs get", there["keypoints"], 120)


def _subject_card(graph: Graph) -> None:
    card = graph.add("SubjectCard", **CARD, light="soft window light")
    _read(graph, "The person as one phrase", card["text"])


def _caption_frame(graph: Graph) -> None:
    picture = graph.add("LoadImage", tall=220, image=REFERENCE)
    caption = graph.add("CaptionFrame", image=picture["IMAGE"])
    graph.add("BuildDancePrompt", caption=caption["caption"])


def _build_dance_prompt(graph: Graph) -> None:
    words = graph.add("BuildDancePrompt", clip_name=_clip(graph)["clip name"], subject=SUBJECT)
    _read(graph, "The prompt", words["text"], 170)
    _read(graph, "Where each sentence comes from", words["report"], 190)


def _text_to_prompt(graph: Graph) -> None:
    words = graph.add("TextToPrompt", text=f"{SUBJECT.capitalize()}, dances house on a small stage.")
    _read(graph, "The report", words["report"], 60)


def _prompt_variants(graph: Graph) -> None:
    words = graph.add("PromptVariants", subject=SUBJECT, variants="detailed, identity")
    _read(graph, "The prompts", words["texts"], 230)


def _load_wan_vace(graph: Graph) -> None:
    graph.add("LoadWanVace", wide=420, **{part: file for part, (_, file) in WAN_FILES.items()})


def _stage(graph: Graph) -> tuple[Node, Node, Node]:
    """What a rendering needs, in a column of its own: dancer, drawing and model."""
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    nano = graph.add("LoadNanoWanVace")
    graph.column()
    return dancer, drawing, nano


def _sampled(graph: Graph, **more: Any) -> Node:
    dancer, drawing, nano = _stage(graph)
    pictures = {"control_video": drawing["control video"], "reference": dancer["reference"]}
    return graph.add("WanVaceSampler", tall=220, model=nano["model"], prompt=dancer["prompt"], **pictures, **SMALL)


def _load_nano(graph: Graph) -> None:
    graph.add("LoadNanoWanVace")
    dancer = graph.add("DrawnDancer", "Who may dance", number=4)
    _see(graph, "The reference", dancer["reference"], 220)


def _drawn_dancer(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    _see(graph, "The reference", dancer["reference"], 200)
    _see(graph, "As it should be", dancer["as it should be"], 330)


def _lora(graph: Graph) -> None:
    first = graph.add("WanVaceLora", "A LoRA in all steps", lora=LORA, strength=0.8)
    graph.add("WanVaceLora", "Another, from step 10 on", lora="style.safetensors", strength=0.5,
              scope="only self_attn", from_step=10, ramp_in=5, loras=first["LoRAs"])  # fmt: skip


def _export_lora(graph: Graph) -> None:
    nano = graph.add("LoadNanoWanVace")
    made = graph.add("ExportLora", model=nano["model"], loras=nano["biased LoRA"], name="mine")
    _read(graph, "Where it lies", made["path"], 60)


def _keep_frames(graph: Graph) -> None:
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    graph.column()
    kept = graph.add("KeepFrames", pictures=dancer["reference"], numbers="0", width=96, height=96, frames=17,
                     control_video=drawing["control video"])  # fmt: skip
    _see(graph, "The control video", kept["control video"])


def _sampler(graph: Graph) -> None:
    _see(graph, "The frames", _sampled(graph)["frames"], 330)


def _axes(graph: Graph, rows: str = "1, 6", columns: str = "0, 2") -> Any:
    before = graph.add("SweepAxis", "Rows", tall=50, axis="guidance", values=rows)
    return graph.add("SweepAxis", "Columns", tall=50, axis="lora_strength", values=columns, axes=before["axes"])["axes"]


def _sweep_axis(graph: Graph) -> None:
    _axes(graph, "1, 3, 6", "0..2 step 0.5")


def _swept(graph: Graph) -> tuple[Node, dict[str, Any]]:
    dancer, drawing, nano = _stage(graph)
    axes = _axes(graph)
    graph.column()
    pictures = {"control_video": drawing["control video"], "reference": dancer["reference"]}
    sweep = graph.add("RunSweep", tall=220, model=nano["model"], prompt=dancer["prompt"], axes=axes, name="help",
                      loras=nano["biased LoRA"], **pictures, **SMALL)  # fmt: skip
    return sweep, pictures


def _run_sweep(graph: Graph) -> None:
    sweep, _ = _swept(graph)
    graph.column()
    graph.add("SweepGrid", tall=420, sweep=sweep["sweep"])
    # The picture is of Run Sweep itself.
    columns = graph.groups[-1].columns
    columns[-1], columns[-2] = columns[-2], columns[-1]


def _sweep_grid(graph: Graph) -> None:
    sweep, pictures = _swept(graph)
    graph.column()
    grid = graph.add("SweepGrid", tall=420, sweep=sweep["sweep"], **pictures)
    _read(graph, "The summary", grid["summary"], 80)


def _score_sweep(graph: Graph) -> None:
    sweep, pictures = _swept(graph)
    graph.column()
    scored = graph.add("ScoreSweep", sweep=sweep["sweep"], metrics="flicker, warp, sharpness", **pictures)
    _read(graph, "The summary", scored["summary"], 80)
    graph.add("SweepGrid", tall=420, sweep=scored["sweep"], best="sharpness")


def _sweep_report(graph: Graph) -> None:
    sweep, pictures = _swept(graph)
    graph.column()
    page = graph.add("SweepReport", tall=60, sweep=sweep["sweep"], **pictures)
    _read(graph, "Where it lies", page["path"], 60)


def _pick_cell(graph: Graph) -> None:
    sweep, _ = _swept(graph)
    graph.column()
    cell = graph.add("PickCell", tall=340, sweep=sweep["sweep"], by="number", number=3)
    _read(graph, "Its labels", cell["labels"], 40)


SCENES: Mapping[str, Scene] = {
    "LoadAistClip": Scene(_load_aist_clip),
    "VideoToClip": Scene(_video_to_clip),
    "AistDataset": Scene(_aist_dataset),
    "ExtractPose": Scene(_extract_pose),
    "EditPose": Scene(_edit_pose),
    "RetargetPose": Scene(_retarget_pose),
    "DrawPose": Scene(_draw_pose),
    "LoadPose": Scene(_load_pose),
    "SavePose": Scene(_save_pose),
    "KeypointsToPose": Scene(_keypoints_to_pose),
    "PoseToKeypoints": Scene(_pose_to_keypoints),
    "SubjectCard": Scene(_subject_card),
    "CaptionFrame": Scene(_caption_frame, runs=False),
    "BuildDancePrompt": Scene(_build_dance_prompt),
    "TextToPrompt": Scene(_text_to_prompt),
    "PromptVariants": Scene(_prompt_variants),
    "LoadWanVace": Scene(_load_wan_vace, runs=False),
    "LoadNanoWanVace": Scene(_load_nano),
    "DrawnDancer": Scene(_drawn_dancer),
    "WanVaceLora": Scene(_lora, runs=False),
    "ExportLora": Scene(_export_lora),
    "KeepFrames": Scene(_keep_frames),
    "WanVaceSampler": Scene(_sampler),
    "SweepAxis": Scene(_sweep_axis, runs=False),
    "RunSweep": Scene(_run_sweep),
    "ScoreSweep": Scene(_score_sweep),
    "SweepGrid": Scene(_sweep_grid),
    "PickCell": Scene(_pick_cell),
    "SweepReport": Scene(_sweep_report),
}


def without_scene(schemas: Mapping[str, Schema]) -> list[str]:
    """The pack's nodes that have no scene yet."""
    return [name for name in schemas if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in SCENES]
