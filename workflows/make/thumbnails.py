"""Square pictures of the workflows for the template browser, out of what a real run has written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .schemas import ROOT

FOLDER = ROOT / "workflows"
SIDE = 440  # pixels; the browser shows about half of it, or all on a dense screen
GAP = 6
BACKGROUND, INK = (22, 24, 28), (235, 235, 235)
Tile = tuple[Any, str]  # a picture (uint8 [H, W, 3]) and what stands below it


def thumbnail(prompt: Mapping[str, Any], outputs: Mapping[str, Any], base: Path) -> Any:
    """The picture of a workflow that ran. ``prompt`` in API form, ``outputs`` by the nodes' numbers."""
    kinds = {node["class_type"].removeprefix("Skeleton2Video_"): id for id, node in prompt.items()}
    inputs = [(_frame(path), said) for path, said in _inputs(prompt, kinds, base)]
    if "RunSweep" in kinds:
        return _tiled([*inputs, *_cells(prompt, base, prompt[kinds["RunSweep"]]["inputs"]["name"])])
    return _tiled([*inputs, *((_frame(path), said) for path, said in _videos(prompt, outputs, base))])


def write_thumbnail(picture: Any, name: str) -> Path:
    """Put it beside the workflow."""
    path = FOLDER / f"{name}.jpg"
    picture.save(path, "JPEG", quality=88, optimize=True)
    return path


def _inputs(prompt: Mapping[str, Any], kinds: Mapping[str, str], base: Path) -> list[tuple[Path, str]]:
    if "LoadImage" in kinds:
        return [(base / "input" / prompt[kinds["LoadImage"]]["inputs"]["image"], "person")]
    return []


def _videos(prompt: Mapping[str, Any], outputs: Mapping[str, Any], base: Path) -> list[tuple[Path, str]]:
    """Of every node that saves or shows something, in the order of the graph, the first two files."""
    found = []
    for id in sorted(outputs, key=lambda id: (not id.isdigit(), id.zfill(4))):
        title = prompt[id].get("_meta", {}).get("title", "").removeprefix("The ")
        for file in outputs[id].get("images", [])[:2]:
            path = base / file["type"] / file["subfolder"] / file["filename"]
            found.append((path, title))
    return found


def _cells(prompt: Mapping[str, Any], base: Path, name: str) -> list[Tile]:
    """The cells of a sweep in the grid's order, with what differs between them."""
    axes = [axis for node in prompt.values() if (axis := _axis(node))]
    found = []
    for file in (base / "output" / "skeleton2video" / name / "cells").glob("*/cell.json"):
        said = json.loads(file.read_text(encoding="utf-8"))
        places = [_place(said, axis) for axis in axes]
        if None not in places:
            labels = ", ".join(axis[2][place] for axis, place in zip(axes, places, strict=True))
            found.append((places, file.parent / said["clip"]["file"], labels))
    found.sort(key=lambda cell: cell[0])
    return [(_frame(path), labels) for _, path, labels in found]


def _axis(node: Mapping[str, Any]) -> tuple[str, list[Any], list[str]] | None:
    """Name, values and short labels of what a node varies."""
    from s2v_core.sweeps.parse import parse_values

    kind, inputs = node["class_type"].removeprefix("Skeleton2Video_"), node["inputs"]
    if kind == "PromptVariants":
        names = [name.strip() for name in inputs["variants"].split(",")]
        return "prompt", names, names
    if kind != "SweepAxis":
        return None
    axis = parse_values(inputs["axis"], inputs["values"])
    short = {"lora_strength": "LoRA", "lora_on": "", "guidance": "guidance", "steps": "steps", "seed": "seed"}
    words = {True: "LoRA", False: "base"} if axis.name == "lora_on" else {}
    labels = [f"{short.get(axis.name, axis.name)} {words.get(value, f'{value:g}')}".strip() for value in axis.values]
    return axis.name, list(axis.values), labels


def _place(said: Mapping[str, Any], axis: tuple[str, list[Any], list[str]]) -> int | None:
    """Where on the axis a stored cell belongs; a LoRA at strength 0 is stored as none."""
    name, values, _ = axis
    loras = [use for use in said["settings"]["loras"] if use["strength"]]
    if name == "prompt":
        value = said["prompt"].get("variant")
    elif name == "lora_strength":
        value = loras[0]["strength"] if loras else 0
    elif name == "lora_on":
        value = bool(loras)
    else:
        value = said["settings"][name]
    return values.index(value) if value in values else None


def _frame(path: Path) -> Any:
    """The picture itself, or the middle frame of a video."""
    from s2v_core.video.read import probe_clip, read_clip
    from s2v_core.video.still import read_reference

    if path.suffix == ".png":
        return read_reference(path)
    frames = read_clip(path, fps=probe_clip(path).fps, frames=None).frames
    return frames[len(frames) // 2]


def _tiled(tiles: list[Tile]) -> Any:
    """Tiles in as square an arrangement as their number allows, each with its caption."""
    from PIL import Image, ImageDraw

    columns = next(number for number in range(1, 20) if number * number >= len(tiles))
    rows = math.ceil(len(tiles) / columns)
    wide = (SIDE - GAP * (columns + 1)) // columns
    size = max(11, min(20, wide // 8))
    tall = wide + size + 6
    if rows * (tall + GAP) + GAP > SIDE:
        wide -= math.ceil((rows * (tall + GAP) + GAP - SIDE) / rows)
        tall = wide + size + 6
    left = (SIDE - columns * (wide + GAP) + GAP) // 2
    top = (SIDE - rows * (tall + GAP) + GAP) // 2
    page = Image.new("RGB", (SIDE, SIDE), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for number, (picture, said) in enumerate(tiles):
        x, y = left + number % columns * (wide + GAP), top + number // columns * (tall + GAP)
        page.paste(_fitted(picture, wide), (x, y))
        font = _font(size, said, wide)
        draw.text((x + wide / 2, y + wide + 3), said, INK, font=font, anchor="ma")
    return page


def _fitted(picture: Any, side: int) -> Any:
    """The whole picture in a square, on black."""
    from PIL import Image

    whole = Image.fromarray(picture)
    scale = side / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    square = Image.new("RGB", (side, side))
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    square.paste(whole.resize(size, how), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _font(size: int, text: str, wide: int) -> Any:
    """The largest up to ``size`` in which the text has room."""
    import matplotlib
    from PIL import ImageFont

    file = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    for pixels in range(size, 7, -1):
        font = ImageFont.truetype(file, pixels)
        if font.getlength(text) <= wide:
            return font
    return ImageFont.truetype(file, 8)
