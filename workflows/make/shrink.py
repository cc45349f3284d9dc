"""Smaller values for a workflow, so that it runs to its end in seconds with a small model."""

from __future__ import annotations

from typing import Any

SIDE = 64
FRAMES = 5
AXES = {"guidance": "1, 3", "steps": "1, 2", "lora_strength": "0, 1", "lora_on": "base, lora", "seed": "0, 1"}


def smaller(
    type: str, values: dict[str, Any], side: int = SIDE, frames: int = FRAMES, steps: int = 2
) -> dict[str, Any]:
    """What a person would write into this node's fields for a quick try; ``values``: what stands in them."""
    kind = type.removeprefix("Skeleton2Video_")
    if kind == "LoadAistClip":
        return {"frames": frames}
    if kind == "AistDataset":
        return {"frames": frames, "count": 1, "size": f"{2 * side}x{2 * side}"}
    if kind in ("WanVaceSampler", "RunSweep"):
        return {"width": side, "height": side, "frames": frames, "steps": steps}
    if kind == "SweepAxis":
        return {"values": AXES.get(values["axis"], values["values"])}
    return {**without_poses(kind, values), **({"format": "mp4"} if kind == "SweepGrid" else {})}


def without_poses(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Scores that need no dancer in place of those that do: small models paint nobody that a net would find."""
    if kind == "ScoreSweep":
        return {"metrics": "flicker"}
    name = {"SweepGrid": "best", "PickCell": "metric"}.get(kind)
    return {name: "flicker"} if name and values.get(name) else {}


def shrink(prompt: dict[str, Any]) -> dict[str, Any]:
    """A workflow in API form with these values."""
    small = {}
    for id, node in prompt.items():
        inputs = {**node["inputs"], **smaller(node["class_type"], node["inputs"])}
        small[id] = {**node, "inputs": inputs}
    return small
