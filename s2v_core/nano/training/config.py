"""Every number of the nano model's training, in one file.

``nano.yaml`` beside this file begins from nothing; the other files there are the runs that went on from it to the
shipped weights (docs/nano.md). ``s2v nano train --config FILE`` takes any.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import SettingsError
from ...files import sha256_json
from ...sweeps.yamlfile import YamlRefused
from ..nets import NanoSizes

SHIPPED = Path(__file__).with_name("nano.yaml")

Share = Field(ge=0, le=1)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class World(_Part):
    """What is trained on. ``clips``: scenes from number 0 of the toy world's training set, ``per_file`` in one file.

    ``edits``: parts whose colours are exchanged in the edited references, of which the caption tells the truth.
    """

    clips: int = Field(ge=1)
    per_file: int = Field(ge=1)
    edits: tuple[str, ...]
    edits_most: int = Field(ge=1)


class Optimizer(_Part):
    """``muon`` and ``adamw``: learning rates of the matrices and of everything else.

    ``position``: learning rate of the text encoder's biases by distance, which are logits and have a longer way to go
    than weights (None: ``adamw``). With that of the weights it never learned which word belongs to which.

    All rise over ``warmup`` steps, stay, and from ``decay_from`` (a share of all steps) on fall along a cosine to
    ``last`` of themselves. ``clip``: largest norm of the gradients. ``ema``: how much of the average stays in a step.
    """

    muon: float = Field(gt=0)
    adamw: float = Field(gt=0)
    position: float | None = Field(default=None, gt=0)
    beta1: float = Share
    beta2: float = Share
    momentum: float = Share
    warmup: int = Field(ge=0)
    decay_from: float = Share
    last: float = Share
    clip: float = Field(gt=0)
    ema: float = Share


class Crop(_Part):
    """A kind of batch: ``batch`` crops of ``frames`` frames of ``side`` pixels square, in ``share`` of the steps."""

    share: float = Field(gt=0)
    batch: int = Field(ge=1)
    frames: int = Field(ge=1)
    side: int = Field(ge=8)


class Vae(_Part):
    """The loss: mean absolute error, ``gradient`` times that of neighbouring pixels' differences, ``square`` times the
    mean square error, and ``kl`` times the divergence from a normal distribution.

    ``controls``: share of the crops that come from control videos. ``decoder_only``: the encoder stays as it is, and so
    do the latents and everything that was trained on them.
    """

    steps: int = Field(ge=1)
    optimizer: Optimizer
    crops: tuple[Crop, ...]
    controls: float = Share
    gradient: float = Field(ge=0)
    square: float = Field(ge=0)
    kl: float = Field(ge=0)
    decoder_only: bool = False


class Text(_Part):
    """The text encoder by itself: it learns to tell the parts' colours from captions, ``batch`` in a step, and stays as
    it is then. With 0 ``steps`` it is trained together with the DiT.
    """

    steps: int = Field(ge=0)
    batch: int = Field(ge=1)
    optimizer: Optimizer


class Stage(_Part):
    """Until the share ``until`` of all steps: latent frames -> share of the steps."""

    until: float = Field(gt=0, le=1)
    frames: dict[int, float]


class Transformer(_Part):
    """DiT, VACE and text encoder, by flow matching; with 0 ``steps`` they stay as they are.

    The shares are of steps (``reference``) or of clips (all others).

    ``batch``: latent frames -> clips in a batch. ``reference``: with a reference picture; of those, ``edited`` ones
    disagree with the caption, which tells the truth, and ``misled`` have a caption that disagrees with a true
    reference: the model learns that either may be right, and guidance decides. ``no_text``: without caption, half of
    them with the negative prompt in its place.
    ``short_text``: captions in which parts are left out. ``no_control``: without control video.
    ``reference_weight``: of the reference's own latent frame in the loss. ``shift``: sigma shift.
    """

    steps: int = Field(ge=0)
    optimizer: Optimizer
    stages: tuple[Stage, ...]
    batch: dict[int, int]
    reference: float = Share
    edited: float = Share
    misled: float = Field(default=0.0, ge=0, le=1)
    no_text: float = Share
    short_text: float = Share
    no_control: float = Share
    reference_weight: float = Field(ge=0)
    shift: float = Field(gt=0)


class NanoTraining(_Part):
    """The whole run. ``precision``: of the nets' arithmetic under autocast; weights and optimizers are float32.

    ``threads`` belongs to the result: sums in another order give other last bits. ``save_every``, ``log_every`` and
    ``check_every`` count steps. ``start``: a folder with nano weights to go on from, or "" to begin anew; with
    ``keep_vae`` its VAE is taken as it is, with ``keep_text`` its text encoder. A text encoder that is trained by
    itself always begins anew.
    """

    seed: int
    threads: int = Field(ge=1)
    precision: Literal["float32", "bfloat16"]
    start: str = ""
    keep_vae: bool = False
    keep_text: bool = False
    save_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
    check_every: int = Field(ge=1)
    checked_clips: int = Field(ge=1)
    sizes: dict[str, Any] = Field(default_factory=dict)
    world: World
    vae: Vae
    text: Text
    transformer: Transformer

    @property
    def nano_sizes(self) -> NanoSizes:
        """``sizes`` over the defaults of ``NanoSizes``."""
        given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in self.sizes.items()}
        return NanoSizes(**given)

    def identity(self, *parts: str) -> str:
        """A hash of the named parts, and of the seed: what was made with it may be used again."""
        values = self.model_dump(mode="json")
        return sha256_json({name: values[name] for name in ("seed", *parts)})


def load_config(path: str | os.PathLike[str] = SHIPPED) -> NanoTraining:
    """Read a training's file. Raises SettingsError with the key that is wrong."""
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = NanoTraining.model_validate(values)
        _ = config.nano_sizes
        return config
    except OSError as error:
        raise SettingsError(f"{file} cannot be read.", got=str(error)) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML.", got=str(error)) from error
    except ValidationError as error:
        told = YamlRefused.of(error, NanoTraining)
        place = ".".join(map(str, told.place))
        raise SettingsError(
            f"{file}: {told.problem} ({place}).", expected=told.expected, got=told.got, remedy=told.remedy
        ) from error
    except TypeError as error:
        raise SettingsError(
            f"{file}: there are no such sizes.", expected="fields of NanoSizes", got=str(error)
        ) from error
