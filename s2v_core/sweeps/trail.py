"""The trail of a rendering: a key for its latents after every step, and for every prediction on the way.

Two renderings with one key have the same bits there. So cells whose trails begin alike can share these steps, and
cells that stand at the same latents can share predictions even where their next steps differ: in the first step all
numbers of steps, shifts and guidance scales do. ``wan.sampler`` decides what a step is made of; whatever is changed
there must be changed here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..files import sha256_json
from ..prompts.prompt import Prompt
from ..wan.pictures import TIME_STRIDE
from ..wan.schedule import guidance_scales, sigmas, strengths
from ..wan.settings import SampleSettings
from ..wan.windows import plan_windows
from .plan import RENDER_VERSION, brought_along, cell_id, decisive

SIDES = ("positive", "negative")


@dataclass(frozen=True)
class Trail:
    """``states``: one key for the latents before the first step and one after each step. ``predictions``: for each
    step the keys by side, none where it stands still, the positive one alone without guidance. ``windows``: forwards
    that one prediction costs.
    """

    states: tuple[str, ...]
    predictions: tuple[Mapping[str, str], ...]
    windows: int

    @property
    def forwards(self) -> int:
        """The transformer's forwards of the rendering when it is alone."""
        return self.windows * sum(map(len, self.predictions))

    def keys(self) -> Iterator[str]:
        """All keys, those of states first."""
        yield from self.states
        for made in self.predictions:
            yield from made.values()

    def common(self, other: Trail) -> int:
        """How many steps both make alike; -1 when not even the beginning is the same."""
        count = -1
        for one, two in zip(self.states, other.states, strict=False):
            if one != two:
                break
            count += 1
        return count


def trail(
    prompt: Prompt, settings: SampleSettings, fingerprint: Mapping[str, str], lora_sha256: Callable[[str], str]
) -> Trail:
    """The trail of a cell. ``fingerprint`` and ``lora_sha256`` as for ``plan.cell_id``, from whose rules the keys come.

    Names, paths and how a schedule is written do not count, only what each step does. With step caching, what a step
    does depends on what the ones before it predicted, which no state holds: such a cell has all keys for itself. Its
    predictions are those that are made when none is estimated.
    """
    used = decisive(settings, fingerprint)
    levels: list[float] = sigmas(used.steps, used.shift, used.solver, used.denoise).tolist()
    names = ("width", "height", "frames", "fit", "tiling", "precision", "mask_edge", "window_frames", "window_overlap")
    own = {"cell": cell_id(prompt, settings, fingerprint, lora_sha256)} if used.step_cache else {}
    ground = sha256_json(
        {
            "render": RENDER_VERSION,
            "fingerprint": brought_along(used, fingerprint),
            **{name: getattr(used, name) for name in names},
            **own,
        }
    )
    texts = {"positive": prompt.text, "negative": prompt.negative}
    loras = [(lora_sha256(use.file), use) for use in used.loras]
    hints = strengths(used)
    # How a multistep solver moves depends on all levels and on the steps before, which its state's key stands for.
    course: Any = used.solver if used.solver == "euler" else [used.solver, levels]
    state = sha256_json([ground, used.seed, None if used.denoise == 1.0 else [used.denoise, levels[0]]])
    states, predictions = [state], []
    for index, scale in enumerate(guidance_scales(used)):
        made: dict[str, str] = {}
        if index >= used.zero_init_steps:
            acting = [[content, use.strength_at(index, used.steps), use.scope] for content, use in loras]
            acting = [entry for entry in acting if entry[1]]
            net = sha256_json([ground, state, levels[index], acting, hints[index]])
            sides = SIDES if scale != 1.0 else SIDES[:1]
            made = {side: sha256_json([net, texts[side]]) for side in sides}
        mixed = [scale, used.cfg_zero, used.guidance_rescale] if len(made) > 1 else []
        state = sha256_json([course, index, state, levels[index : index + 2], sorted(made.items()), mixed])
        states.append(state)
        predictions.append(made)
    return Trail(tuple(states), tuple(predictions), _windows(used))


def _windows(settings: SampleSettings) -> int:
    latent_frames = (settings.frames - 1) // TIME_STRIDE + 1
    length = (settings.window_frames - 1) // TIME_STRIDE + 1
    return len(plan_windows(latent_frames, length, settings.window_overlap // TIME_STRIDE))
