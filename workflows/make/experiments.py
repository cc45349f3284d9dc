"""The workflows: what each shows, what it needs, how long it takes, and its nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from s2v_core.sweeps.yamlfile import read_yaml

from .graph import PREVIEW, Graph, Link, Node
from .needs import CLIP, LORA, REFERENCE, RENDERED, WAN_FILES, WAN_MODELS, said_list, said_short, said_time
from .schemas import ROOT, Schema

SUBJECT = "a young man with short black hair, in a red shirt, loose grey trousers and white sneakers"
CARD = {
    "who": "a young man",
    "hair": "short black hair",
    "clothes": "a red shirt, loose grey trousers",
    "shoes": "white sneakers",
}
TABLE = 560  # of the live grid below the fields
VIDEO = 340  # a preview of a square clip
WIDE = 400  # names of files are to be seen whole
MEDIA, WORDS, MODEL, SWEEP, RESULT = "#3f789e", "#8f6f3f", "#6a5a8f", "#3f7f6f", "#7f4f5f"

GREEN = "Set the **green** nodes: "


def axis_of(name: str, axis: str) -> str:
    """The values of an axis in a sweep file of ``workflows/sweeps``, as one types them into Sweep Axis."""
    read, _ = read_yaml((ROOT / "workflows" / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(read["axes"][axis])


def note(graph: Graph, title: str, shows: str, needs: tuple[str, ...], takes: str, how: str) -> None:
    """The opening note."""
    graph.shows, graph.needs = first_sentence(shows), said_short(needs)
    graph.note(
        title,
        f"## What it shows\n{shows}\n\n## What it needs\n{said_list(needs)}\n## How long\n{takes}\n\n## How\n{how}",
    )


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[\w)*])[.] ", text, maxsplit=1)[0].rstrip(".") + "."


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
    grid = graph.add("SweepGrid", tall=TABLE, wide=TABLE, sweep=sweep["sweep"], **inputs)
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
    return graph.add(
        "RunSweep", tall=PREVIEW + 70, model=model["model"], prompt=prompt, axes=axes, name=graph.name, **more
    )


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
        needs = (*RENDERED, "lora") if lora else RENDERED
        how = f"{GREEN}{green}. {SWEEP_HOW.format(name=name)}"
        note(graph, title, shows, needs, said_time(count, videos), how)
        wan_sweep(graph, *axes, lora=lora, **settings)
        return graph

    return make
