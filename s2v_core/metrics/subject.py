"""The clip that is measured, and what several metrics need of it, each worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ..video.clip import Clip
from ..video.fit import resize
from .colours import NOWHERE, look, to_lab
from .detect import Found, need_person
from .inputs import Inputs
from .missing import Missing
from .regions import BACKGROUND, CLOTHES, Body, clothes_masks, person_mask

Array = np.ndarray[Any, Any]
T = TypeVar("T")

COLOUR_SIDE = 240  # pixels of the shorter side at which colours are taken
COLOUR_FRAMES = 27  # at most, evenly spread
_CALM = 0.8  # pixels of blur at that size: noise is no colour
MARGIN = 0.06  # heights around the person that are neither person nor background


@dataclass(eq=False)
class Subject:
    """A clip with the ``inputs`` that it is measured with."""

    clip: Clip
    inputs: Inputs
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, worked out at the first call; also when it raises Missing."""
        if name not in self._known:
            try:
                self._known[name] = make()
            except Missing as missing:
                self._known[name] = missing
        found: T | Missing = self._known[name]
        if isinstance(found, Missing):
            raise found
        return found

    @property
    def found(self) -> Found:
        """The points of everybody. Raises Missing when no detector can be had, or nobody was found."""
        return self.once("found", lambda: need_person(self.inputs.detect(self.clip)))

    @property
    def looks(self) -> dict[str, Array]:
        """The colours of each region of ``CLOTHES`` and of ``BACKGROUND``: [F, 13, 8]. Raises Missing."""
        return self.once("looks", lambda: looks_of(self.clip, self.found))

    @property
    def reference_looks(self) -> dict[str, Array]:
        """The same of the first reference picture: [1, 13, 8]. One that shows nobody is all background."""
        return self.once("reference looks", self._reference_looks)

    def _reference_looks(self) -> dict[str, Array]:
        picture = self.inputs.picture()
        found = self.inputs.points_of_picture()
        if found.people.any():
            return looks_of(Clip(picture[None], self.clip.fps), found)
        lab = to_lab(picture)
        nothing: dict[str, Array] = dict.fromkeys(CLOTHES, NOWHERE[None])
        return nothing | {BACKGROUND: look(lab, np.ones(lab.shape[:2], bool))[None]}


def looks_of(clip: Clip, found: Found, most: int = COLOUR_FRAMES) -> dict[str, Array]:
    """The colours of each region in up to ``most`` frames in which somebody is seen: region -> [F, 13, 8].

    A region that is not seen in a frame is NaN there. Clothes are the main person's; background is outside everybody.
    """
    import cv2

    bodies = found.bodies()
    seen = np.flatnonzero([main is not None for main, _ in bodies])
    chosen = seen[np.unique(np.linspace(0, len(seen) - 1, min(most, len(seen))).round().astype(int))]
    scale = min(1.0, COLOUR_SIDE / min(clip.height, clip.width))
    size = (max(1, round(clip.width * scale)), max(1, round(clip.height * scale)))
    made: dict[str, list[Array]] = {region: [] for region in (*CLOTHES, BACKGROUND)}
    for t in chosen:
        main, everybody = bodies[t]
        assert main is not None
        lab = to_lab(cv2.GaussianBlur(resize(clip.frames[found.index[t]], size), (0, 0), _CALM))
        for region, mask in clothes_masks(main.scaled(scale), lab.shape[:2]).items():
            made[region].append(look(lab, mask))
        made[BACKGROUND].append(look(lab, ~masks_of(everybody, scale, lab.shape[:2])))
    return {region: np.stack(looks) if looks else NOWHERE[None] for region, looks in made.items()}


def masks_of(bodies: tuple[Body, ...], scale: float, shape: tuple[int, int], margin: float = MARGIN) -> Array:
    """Bool [H, W]: where any of these people is, or within ``margin`` heights."""
    mask = np.zeros(shape, bool)
    for one in bodies:
        mask |= person_mask(one.scaled(scale), shape, margin)
    return mask
