"""Named sets of settings to start from: what each implementation of Wan2.1-VACE does by default.

They make the numbers the same, not the code: every preset runs in our own loop. Sizes, seed and LoRAs are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..errors import SettingsError
from ..prompts.template import WAN_NEGATIVE
from .settings import SampleSettings


@dataclass(frozen=True)
class Preset:
    """``values``: settings by their names. ``negative``: the negative prompt, or None for the user's own."""

    name: str
    help: str
    values: Mapping[str, Any]
    negative: str | None

    def on(self, settings: SampleSettings) -> SampleSettings:
        """``settings`` with this preset's values put in."""
        return replace(settings, **self.values)


def find_preset(name: Any) -> Preset:
    """The preset with this name; ``SettingsError`` lists the known ones."""
    if not isinstance(name, str) or name not in PRESETS:
        raise SettingsError(
            f"There is no preset called {name!r}.", expected=f"one of {', '.join(PRESETS)}", got=repr(name)
        )
    return PRESETS[name]


_GUIDANCE = {"guidance_schedule": "", "guidance_from": 0, "guidance_to": SampleSettings.guidance_to}
_EXACT = {"cfg_zero": False, "zero_init_steps": 0, "guidance_rescale": 0.0, "step_cache": 0.0}
_PLAIN: Mapping[str, Any] = {**_GUIDANCE, **_EXACT}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # Wan-Video/Wan2.1: generate.py (50 steps, shift 16 for VACE, guidance 5, UniPC), wan/vace.py (reference
            # letterboxed on white, mask cut at the middle, latents in float32), wan/configs/shared_config.py.
            Preset(
                "official",
                "Wan's own code: UniPC, 50 steps, shift 16, guidance 5, its Chinese negative prompt.",
                {
                    **_PLAIN,
                    "solver": "unipc",
                    "steps": 50,
                    "shift": 16.0,
                    "guidance": 5.0,
                    "precision": "float32",
                    "fit": "letterbox",
                    "mask_edge": "hard",
                    "tiling": False,
                },
                WAN_NEGATIVE,
            ),
            # The defaults of DiffSynth-Studio's WanVideoPipeline.__call__ (2.1).
            Preset(
                "diffsynth",
                "DiffSynth-Studio, bit for bit: Euler, 50 steps, shift 5, guidance 5, no negative prompt, tiles.",
                {
                    **_PLAIN,
                    "solver": "euler",
                    "steps": 50,
                    "shift": 5.0,
                    "guidance": 5.0,
                    "precision": "diffsynth",
                    "mask_edge": "soft",
                    "tiling": True,
                },
                "",
            ),
            # ComfyUI's template "Wan VACE first-last frame" without a distilled LoRA (UniPC, simple, 20 steps, guidance
            # 6, ModelSamplingSD3 8) and its node WanVaceToVideo (centre crop, soft mask). ComfyUI's uni_pc is of third
            # order, ours of second.
            Preset(
                "comfyui",
                "ComfyUI's template: UniPC, 20 steps, shift 8, guidance 6, pictures cropped, your own negative prompt.",
                {
                    **_PLAIN,
                    "solver": "unipc",
                    "steps": 20,
                    "shift": 8.0,
                    "guidance": 6.0,
                    "precision": "float32",
                    "fit": "crop",
                    "mask_edge": "soft",
                    "tiling": False,
                },
                None,
            ),
        )
    }
)
