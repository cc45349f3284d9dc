"""The workflows on the stage of the toy world: the nano model under the large one's name, drawn dancers in the clips.

What is shown of a workflow (thumbnails, the README's moving picture) comes from running it like this in a real ComfyUI.
"""

from __future__ import annotations

from typing import Any

from .catalog import NANO
from .shrink import without_poses

DANCER = 4  # who dances, of Drawn Dancer
STEPS = 16
POSE, DRAWING = "dancer", "drawing"
Prompt = dict[str, Any]


def staged(prompt: Prompt) -> Prompt:
    """A workflow in API form, small, with a drawn dancer's pose and words in place of what is found in a clip."""
    made = {id: {**node, "inputs": dict(node["inputs"])} for id, node in prompt.items()}
    for node in made.values():
        node["inputs"].update(_small(node["class_type"].removeprefix("Skeleton2Video_"), node["inputs"]))
    finders = [id for id, node in made.items() if node["class_type"] == "Skeleton2Video_ExtractPose"]
    for id in finders:
        _replace_pose(made, id)
    return made


def _small(kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
    subject, setting, style = words()
    if kind == "LoadAistClip":
        return {"width": NANO["width"], "height": NANO["height"], "frames": NANO["frames"]}
    if kind == "AistDataset":
        return {"size": f"{NANO['width']}x{NANO['height']}", "frames": NANO["frames"], "count": 2}
    if kind in ("WanVaceSampler", "RunSweep"):
        return {**NANO, "steps": min(inputs["steps"], STEPS), "shift": 5.0}
    if kind == "SweepAxis" and inputs["axis"] == "steps":
        return {"values": "1, 2, 4, 8, 16"}
    if kind == "DrawPose":
        return {"stick": "fixed"}
    if kind == "SubjectCard":
        return {"who": subject, "hair": "", "clothes": "", "shoes": "", "place": setting}
    if kind in ("BuildDancePrompt", "PromptVariants"):
        return {"style": style, **({} if "card" in inputs else {"subject": subject, "setting": setting})}
    return without_poses(kind, inputs)


def words() -> tuple[str, str, str]:
    """Subject, place and style of the dancer, as the nano model knows them."""
    from s2v_core.nano.world import HELD_OUT, STYLE, describe, scene

    subject, setting = describe(scene(DANCER, held=HELD_OUT).character)
    return subject, setting, STYLE


def _replace_pose(prompt: Prompt, id: str) -> None:
    """No net finds so small a drawn person: their own pose is drawn in place of ``Extract Pose``'s."""
    prompt[POSE] = {"class_type": "Skeleton2Video_DrawnDancer", "inputs": {"number": DANCER}}
    drawing = {"pose": [POSE, 0], "palette": "vace", "layers": "body + face", "width": 0, "height": 0, "stick": "fixed"}
    prompt[DRAWING] = {"class_type": "Skeleton2Video_DrawPose", "inputs": drawing}
    del prompt[id]
    for other, node in list(prompt.items()):
        for name, value in list(node["inputs"].items()):
            if not isinstance(value, list) or value[0] != id:
                continue
            if value[1] in (0, 1):
                node["inputs"][name] = [POSE, 0] if value[1] == 0 else [DRAWING, 0]
            else:
                prompt.pop(other, None)  # shows the report alone
