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
Axis = tuple[str, list[Any], list[str]]  # its name, its values, and short labels
Tile = tuple[Any, str]  # a picture (uint8 [H, W, 3]) and what stands below it


def thumbnail(prompt: Mapping[str, Any], outputs: Mapping[str, Any], base: Path) -> Any:
    """The picture of a workflow that ran. ``prompt`` in API form, ``outputs`` by the nodes' numbers."""
    kinds = {node["class_type"].removeprefix("Skeleton2Video_"): id for id, node in prompt.items()}
    given = [(_frame(path), said) for path, said in _inputs(prompt, kinds, base)]
    if "RunSweep" not in kinds:
        return _tiled([*given, *((_frame(path), said) for path, said in _saved(prompt, outputs, base))])
    axes = [axis for node in prompt.values() if (axis := _axis(node))]
    cells = _cells(base / "output" / "skeleton2video" / prompt[kinds["RunSweep"]]["inputs"]["name"], axes)
    if len(axes) == 1:
        return _tiled([*given, *zip(cells, axes[0][2], strict=True)])
    return _table(cells, axes[0][2], axes[1][2])


def write_thumbnail(picture: Any, name: str) -> Path:
    """Put it beside the workflow."""
    path = FOLDER / f"{name}.jpg"
    picture.save(path, "JPEG", quality=88, optimize=True)
    return path


def _inputs(prompt: Mapping[str, Any], kinds: Mapping[str, str], base: Path) -> list[tuple[Path, str]]:
    if "LoadImage" in kinds:
        return [(base / "input" / prompt[kinds["LoadImage"]]["inputs"]["image"], "person")]
    return []


def _saved(prompt: Mapping[str, Any], outputs: Mapping[str, Any], base: Path) -> list[tuple[Path, str]]:
    """The first file of every node that saves or shows something, in the order of the graph."""
    found = []
    for id in sorted(outputs, key=lambda id: (not id.isdigit(), id.zfill(4))):
        title = prompt[id].get("_meta", {}).get("title", "").removeprefix("The ").lower()
        for file in outputs[id].get("images", [])[:1]:
            found.append((base / file["type"] / file["subfolder"] / file["filename"], title))
    return found


def _cells(folder: Path, axes: list[Axis]) -> list[Any]:
    """The middle frames of a sweep's cells, in the grid's order; of several for one place the newest."""
    found = {}
    files = (folder / "cells").glob("*/cell.json")
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        said = json.loads(file.read_text(encoding="utf-8"))
        places = tuple(_place(said, axis) for axis in axes)
        if None not in places:
            found[places] = file.parent / said["clip"]["file"]
    return [_frame(found[places]) for places in sorted(found)]


def _axis(node: Mapping[str, Any]) -> Axis | None:
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


def _place(said: Mapping[str, Any], axis: Axis) -> int | None:
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
    columns = next(number for number in range(1, 20) if number * number >= len(tiles))
    rows = math.ceil(len(tiles) / columns)
    caption = max(12, 46 // columns)
    wide = min((SIDE - GAP) // columns - GAP, (SIDE - GAP) // rows - GAP - caption - 6)
    page, draw = _page()
    top = (SIDE - rows * (wide + caption + 6 + GAP) + GAP) // 2
    for row in range(rows):
        here = tiles[row * columns : (row + 1) * columns]
        left = (SIDE - len(here) * (wide + GAP) + GAP) // 2
        y = top + row * (wide + caption + 6 + GAP)
        for place, (picture, said) in enumerate(here):
            x = left + place * (wide + GAP)
            page.paste(_fitted(picture, wide), (x, y))
            draw.text((x + wide / 2, y + wide + 3), said, INK, font=_font(caption, said, wide), anchor="ma")
    return page


def _table(cells: list[Any], rows: list[str], columns: list[str]) -> Any:
    """Cells with labels at the left and above."""
    head, side = 26, 70
    wide = min((SIDE - GAP - side) // len(columns) - GAP, (SIDE - GAP - head) // len(rows) - GAP)
    left = (SIDE - side - len(columns) * (wide + GAP)) // 2 + side
    top = (SIDE - head - len(rows) * (wide + GAP)) // 2 + head
    page, draw = _page()
    for place, said in enumerate(columns):
        x = left + place * (wide + GAP) + wide / 2
        draw.text((x, top - 6), said, INK, font=_font(15, said, wide), anchor="ms")
    for number, said in enumerate(rows):
        y = top + number * (wide + GAP)
        draw.text((left - 6, y + wide / 2), said, INK, font=_font(13, said, side - 8), anchor="rm")
        for place in range(len(columns)):
            page.paste(_fitted(cells[number * len(columns) + place], wide), (left + place * (wide + GAP), y))
    return page


def _page() -> tuple[Any, Any]:
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (SIDE, SIDE), BACKGROUND)
    return page, ImageDraw.Draw(page)


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
