"""The settings of a cell in the forms in which people use them again: a command line, and a graph for ComfyUI."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..wan.pictures import FPS
from ..wan.settings import LATE, LoraUse, SampleSettings, options

if TYPE_CHECKING:
    from ..sweeps.axes import Cell
    from ..sweeps.scene import Scene

# What stands on the command line where a cell does not know its files.
MODEL_FILES = {"transformer": "TRANSFORMER", "vae": "VAE", "text_encoder": "TEXT_ENCODER"}
SAMPLER = "Skeleton2Video_WanVaceSampler"
LORA = "Skeleton2Video_WanVaceLora"
# The sampler's sockets in their order (name, type, label); tests/report/test_copies.py compares them with the node.
SOCKETS = (
    ("model", "SKELETON2VIDEO_MODEL", ""),
    ("prompt", "SKELETON2VIDEO_PROMPT", ""),
    ("control_video", "IMAGE", "control video"),
    ("reference", "IMAGE", ""),
    ("loras", "SKELETON2VIDEO_LORAS", "LoRAs"),
    ("mask", "MASK", ""),
    ("start_clip", "IMAGE", "start clip"),
    ("positive", "CONDITIONING", ""),
    ("negative", "CONDITIONING", ""),
    ("noise", "NOISE", ""),
    ("audio", "AUDIO", ""),
)
OUTPUTS = (
    ("images", "IMAGE", "frames"),
    ("video", "VIDEO", "video"),
    ("notes", "STRING", "notes"),
    ("latent", "LATENT", "latent"),
    ("rate", "FLOAT", "fps"),
)
_NO_PRESET = "none"
_WIDTH = 360


def command_line(cell: Cell, scene: Scene) -> str:
    """``s2v sample ...`` that renders this cell again, for a POSIX shell.

    Settings at their default are left out. ``scene``: of the sweep, for what the cell's own does not say. Models and
    pictures that neither knows stand there as words in capitals, to be filled in.
    """
    words = ["s2v", "sample"]

    def add(name: str, value: Any) -> None:
        words.extend((f"--{name.replace('_', '-')}", str(value)))

    words += _model(cell.scene.model or scene.model)
    add("prompt", cell.prompt.text)
    add("negative", cell.prompt.negative)
    pose = scene.pose if cell.scene.pose is None else cell.scene.pose
    if pose and pose.file:
        add("pose" if pose.drawn else "clip", pose.file)
        if pose.start and not pose.drawn:
            add("start", f"{pose.start:g}")
    for path in (scene.reference if cell.scene.reference is None else cell.scene.reference) or ():
        add("reference", path)
    for name in ("mask", "start_clip"):
        if path := getattr(scene if getattr(cell.scene, name) is None else cell.scene, name):
            add(name, path)
    for entry in options(SampleSettings):
        value = getattr(cell.settings, entry.name)
        if value == entry.default:
            continue
        if isinstance(entry.default, bool):
            words.append(f"--{'' if value else 'no-'}{entry.name.replace('_', '-')}")
        else:
            add(entry.name, repr(value) if isinstance(value, float) else value)
    for use in cell.settings.loras:
        add("lora", lora_text(use))
    return shlex.join((*words, "--out", "cell.mp4"))


def lora_text(use: LoraUse) -> str:
    """A LoRA as ``s2v sample --lora`` reads it (``arguments.parse_lora_use``)."""
    said = use.to_dict()
    file, strength = said.pop("file"), said.pop("strength")
    more = "".join(f";{name}={'yes' if value is True else value}" for name, value in said.items())
    return f"{file}:{strength!r}{more}"


def comfy_graph(cell: Cell) -> dict[str, Any]:
    """A graph in ComfyUI's own form: the sampler with this cell's values, its LoRAs connected, its prompt in a note.

    LoRAs are named without their folder, as ComfyUI names those in models/loras. Model, prompt and pictures are to be
    connected by the person.
    """
    nodes = [_sampler(1, cell.settings, len(cell.settings.loras))]
    links = []
    for number, use in enumerate(cell.settings.loras, start=1):
        nodes.append(_lora(number + 1, use, number, len(cell.settings.loras)))
        # Each hands its stack to the next one, the last to the sampler.
        last = number == len(cell.settings.loras)
        target, socket = (1, [name for name, *_ in SOCKETS].index("loras")) if last else (number + 2, 0)
        links.append([number, number + 1, 0, target, socket, "SKELETON2VIDEO_LORAS"])
    nodes.append(_note(len(nodes) + 1, cell))
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def comfy_items(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph as ComfyUI's browser puts copied nodes onto the clipboard (frontend 1.28 and later read it from there).

    Source: ``useCopy`` and ``usePaste`` of ComfyUI_frontend 1.35: the JSON of nodes, groups, reroutes, links and
    subgraphs, in base64 in an attribute ``data-metadata`` of the clipboard's HTML.
    """
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(names, link, strict=True)) for link in graph["links"]]
    return {"nodes": graph["nodes"], "groups": [], "reroutes": [], "links": links, "subgraphs": []}


def settings_json(cell: Cell) -> str:
    """Prompt and settings of a cell as JSON; ``SampleSettings.from_dict`` reads ``settings``."""
    said = {"prompt": cell.prompt.text, "negative": cell.prompt.negative, "settings": cell.settings.to_dict()}
    return json.dumps(said, ensure_ascii=False, indent=2)


def _model(files: Any) -> list[str]:
    if files is not None and _is_nano(files):
        return ["--nano"]
    words: list[str] = []
    for name, placeholder in MODEL_FILES.items():
        path = getattr(files, name, "") or placeholder
        words += [f"--{name.replace('_', '-')}", path]
    return [*words, "--tokenizer", files.tokenizer] if getattr(files, "tokenizer", "") else words


def _is_nano(files: Any) -> bool:
    from ..errors import ModelFileError
    from ..wan.embedded import nano_files

    try:
        return bool(files == nano_files())
    except ModelFileError:
        return False


def _sampler(number: int, settings: SampleSettings, loras: int) -> dict[str, Any]:
    values: list[Any] = []
    for entry in options(SampleSettings):
        if entry.name in LATE:
            continue
        values.append(getattr(settings, entry.name))
        if entry.name == "seed":
            # The browser's own field behind every seed.
            values.append("fixed")
    values += [_NO_PRESET, float(FPS), *(getattr(settings, name) for name in LATE)]
    inputs = [
        {
            "name": name,
            "type": kind,
            "link": loras if name == "loras" and loras else None,
            **({"label": label} if label else {}),
            **({"shape": 7} if name != "model" else {}),
        }
        for name, kind, label in SOCKETS
    ]
    outputs = [{"name": label, "type": kind, "links": None} for _, kind, label in OUTPUTS]
    return _node(number, SAMPLER, (0, 0), (_WIDTH, 900), inputs, outputs, values)


def _lora(number: int, use: LoraUse, link: int, count: int) -> dict[str, Any]:
    values = [PurePath(use.file.replace("\\", "/")).name, *(getattr(use, entry.name) for entry in options(LoraUse))]
    stack = {"name": "loras", "type": "SKELETON2VIDEO_LORAS", "link": link - 1 or None, "label": "LoRAs", "shape": 7}
    outputs = [{"name": "LoRAs", "type": "SKELETON2VIDEO_LORAS", "links": [link]}]
    place = (-(_WIDTH + 60) * (count - link + 1), 0)
    return _node(number, LORA, place, (_WIDTH, 260), [stack], outputs, values)


def _note(number: int, cell: Cell) -> dict[str, Any]:
    said = [", ".join(cell.labels), f"prompt:\n{cell.prompt.text}", f"negative:\n{cell.prompt.negative}"]
    place = (-(_WIDTH + 60), 320)
    return _node(number, "Note", place, (_WIDTH, 300), [], [], ["\n\n".join(said)])


def _node(
    number: int,
    kind: str,
    place: tuple[int, int],
    size: tuple[int, int],
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    values: list[Any],
) -> dict[str, Any]:
    return {
        "id": number,
        "type": kind,
        "pos": list(place),
        "size": list(size),
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": {"Node name for S&R": kind},
        "widgets_values": values,
    }
