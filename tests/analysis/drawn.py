"""A store of drawn cells: the toy world's own clips, with as much of an effect painted in as a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from s2v_core.errors import SettingsError
from s2v_core.files import sha256_file
from s2v_core.nano.world import AIST_LIKE, HELD_OUT, render, scene
from s2v_core.nano.write import write_world
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis, zip_axes
from s2v_core.sweeps.scene import PoseSource, Scene
from s2v_core.wan.render import picture_fingerprint
from s2v_core.wan.settings import SampleSettings

SMALL = SampleSettings(steps=4, guidance=3.0, width=96, height=96, frames=5)
# Two dancers of different genres, whose trousers and wall are far from the training set's.
PEOPLE = (2, 3)


def write_people(folder: Path) -> Path:
    """Pose videos and references of the first held-out scenes."""
    write_world(folder, 2, start=PEOPLE[0], held=HELD_OUT, frames=SMALL.frames, stick="fixed")
    return folder


def paths(world: Path, number: int) -> tuple[str, str]:
    name = str(scene(number, held=HELD_OUT).motion)
    return str(world / "controls" / f"{name}.mkv"), str(world / "references" / f"{name}.png")


def toy_scene(world: Path, number: int = PEOPLE[0]) -> Scene:
    control, reference = paths(world, number)
    return Scene(None, PoseSource(control, drawn=True), (reference,), "", "")


@dataclass
class Drawer:
    """In the place of a studio: draws what it is asked for. ``leak(settings)``: how much of the training set's colours
    is mixed in; ``follows``: whose person is drawn, "reference" or "control"."""

    world: Path
    leak: object = staticmethod(lambda settings: 0.0)
    follows: str = "reference"
    rendered: list[SampleSettings] = field(default_factory=list)
    cells: dict[Scene, DrawnCell] = field(default_factory=dict)

    def __call__(self, place: Scene, settings: SampleSettings) -> DrawnCell:
        return self.cells.setdefault(place, DrawnCell(self, place))

    def control(self, pose: PoseSource, settings: SampleSettings):
        from s2v_core.recipe import control_from_pose_video

        return control_from_pose_video(pose.file, settings)

    def number(self, file: str) -> int:
        return next(number for number in PEOPLE if file in paths(self.world, number))


@dataclass
class DrawnCell:
    drawer: Drawer
    place: Scene

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        from s2v_core.video.still import read_reference

        control = self.drawer.control(self.place.pose, SMALL).clip
        pictures = [read_reference(path) for path in self.place.reference]
        return {"model": "drawn", "device": "cpu", **picture_fingerprint(control, pictures, None, None)}

    def lora_sha256(self, file: str) -> str:
        return sha256_file(file)

    def render(self, prompt, settings, *, on_step=None, should_stop=None):
        self.drawer.rendered.append(settings)
        if settings.seed == 99:
            raise SettingsError("The seed 99 cannot be drawn.")
        dance = scene(self.drawer.number(self.place.pose.file), held=HELD_OUT)
        other = scene(self.drawer.number(self.place.reference[0]), held=HELD_OUT)
        person = (other if self.drawer.follows == "reference" else dance).character
        # Whatever the prompt says, the dance is the control's.
        size, seed = (settings.width, settings.height), dance.seed
        person = replace(person, height=dance.character.height)
        own = render(person, dance.motion, size=size, frames=settings.frames, seed=seed).clip
        biased = render(replace(person, **AIST_LIKE), dance.motion, size=size, frames=settings.frames, seed=seed).clip
        share = self.drawer.leak(settings)
        noise = np.random.default_rng(settings.seed).normal(0, 2, own.frames.shape)
        frames = (1 - share) * own.frames.astype(float) + share * biased.frames + noise
        return own.with_frames(frames.round().clip(0, 255).astype(np.uint8))


def strength_of(settings: SampleSettings) -> float:
    return settings.loras[0].strength if settings.loras else 0.0


def strength_sweep(world: Path, lora: Path, strengths=(0, 0.5, 1), seeds=(0, 1, 2)) -> Sweep:
    from s2v_core.wan.settings import LoraUse

    base = replace(SMALL, loras=(LoraUse(str(lora)),))
    axes = (make_axis("lora_strength", list(strengths)), make_axis("seed", list(seeds)))
    return Sweep(Prompt("a dancer"), base, axes, "strength", toy_scene(world))


def swap_sweep(world: Path, seeds=(0, 1)) -> Sweep:
    from s2v_core.sweeps.axes import make_part

    files = [paths(world, number) for number in PEOPLE]
    people = zip_axes(
        [
            make_part("reference", [reference for _, reference in files]),
            make_part("prompt", ["one person", "another person"]),
        ],
        ["one", "two"],
    )
    poses = make_axis("pose", [PoseSource(control, drawn=True) for control, _ in files])
    return Sweep(Prompt("a dancer"), SMALL, (poses, people, make_axis("seed", list(seeds))), "swap", toy_scene(world))
