"""Sweeps described in a YAML file.

A full example; only ``axes`` and one of ``prompt``, ``subject`` or a prompt axis are required::

    name: guidance against LoRA
    inputs:
      clip: clips/gBR_sBM_c01_d04_mBR0_ch01.mp4   # the dance clip; or `pose: pose.mkv`, a finished pose video
      start: 1.5                                  # seconds into the clip
      reference: man.png                          # or several: [front.png, side.png]
      # mask: mask.png                            # white is drawn anew, black is kept from the pose video
      # start_clip: draft.mp4                     # with settings: denoise: 0.6
    subject: a man with wavy black hair           # the prompt is built from the clip's name and this;
    # prompt: A man dances...                     # or it is given: a text, or {text: ..., negative: ..., label: ...}
    negative: blurry, distorted                   # of a built prompt, or of a prompt that is only a text
    models:
      transformer: models/wan2.1_vace_1.3B.safetensors
      vae: models/wan_2.1_vae.safetensors
      text_encoder: models/umt5_xxl.safetensors
      tokenizer: models/umt5-xxl
    # models: nano                                # the small model that comes with the project
    settings:                                     # any field of SampleSettings
      steps: 20
      width: 832
      height: 480
      loras:
        - {file: loras/dance.safetensors, strength: 1.0, scope: only self_attn, from_step: 5}
    axes:                                         # rows, columns, then pages
      guidance: [1, 3, 5]                         # a list of values,
      lora_strength: 0..1 step 0.25               # a range as text,
      seed:                                       # or values with labels of their own
        - {label: usual, value: 0}
        - {label: other, value: 77}
      prompt:                                     # a prompt may bring its negative
        - A woman dances.
        - {label: identity, text: A man with wavy black hair dances., negative: bald}
      # lora: [none, loras/dance.safetensors, {file: loras/other.safetensors, strength: 0.5, label: other}]
    out: out/guidance                             # the store and the results
    # keep_latents: true                          # the latents of each computed cell beside its clip

Every path is relative to the folder of the YAML file. Unknown keys, keys given twice and values that cannot be used
are refused with their line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, model_validator

from ..errors import SettingsError
from ..files import write_text_atomic
from ..prompts.prompt import Prompt
from ..wan.embedded import NANO, nano_lora
from ..wan.settings import SampleSettings, check, option, options
from .axes import Sweep
from .axesfile import FILE_AXES, LoraFile, Models, PromptText, Strict, axis_names, place_files, read_axes
from .scene import PoseSource, Scene
from .yamlfile import Lines, YamlRefused, read_yaml, refusal


class Inputs(Strict):
    """The pictures. A dance ``clip`` or a finished ``pose`` video; ``start`` in seconds; ``reference``: one or several.

    ``mask``: white is drawn anew, black is kept from the pose video. ``start_clip``: for a denoise below 1.
    """

    clip: Path | None = None
    pose: Path | None = None
    start: float = Field(default=0.0, ge=0)
    reference: Path | tuple[Path, ...] | None = None
    mask: Path | None = None
    start_clip: Path | None = None

    @property
    def references(self) -> tuple[Path, ...]:
        """All reference pictures in their order."""
        if self.reference is None:
            return ()
        return self.reference if isinstance(self.reference, tuple) else (self.reference,)

    @model_validator(mode="after")
    def _one_control(self) -> Inputs:
        if self.clip and self.pose:
            raise ValueError("give a clip or a pose video, not both")
        return self


class Settings(Strict):
    """The fields of ``SampleSettings`` that the file sets; all but ``loras`` are checked by ``SampleSettings``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    loras: tuple[LoraFile, ...] = ()


class SweepFile(Strict):
    """A sweep file, checked; all paths are absolute. ``sweep()`` makes the sweep itself."""

    name: str = Field(default="sweep", min_length=1)
    inputs: Inputs = Field(default_factory=Inputs)
    prompt: PromptText | None = None
    subject: str | None = Field(default=None, min_length=1)
    negative: str = ""
    models: Models | None = None
    settings: Settings = Field(default_factory=Settings)
    axes: dict[str, Any]
    out: Path | None = None
    keep_latents: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("prompt"), str):
            values = {**values, "prompt": {"text": values["prompt"]}}
        return values

    @model_validator(mode="after")
    def _one_prompt(self) -> SweepFile:
        if self.prompt and self.subject:
            raise ValueError("give a prompt or a subject, not both")
        if not (self.prompt or self.subject or "prompt" in self.varied()):
            raise ValueError("a prompt, a subject or a prompt axis is missing")
        return self

    def sample_settings(self) -> SampleSettings:
        """The settings of the base. Raises ``SettingsError``."""
        return SampleSettings.from_dict(
            {
                **(self.settings.model_extra or {}),
                "loras": tuple(lora.use() for lora in self.settings.loras),
            }
        )

    def base_prompt(self) -> Prompt | None:
        """The prompt that the file gives, or None when it is to be built from ``subject``."""
        if self.prompt:
            negative = self.negative if self.prompt.negative is None else self.prompt.negative
            return Prompt(self.prompt.text, negative, variant=self.prompt.label)
        return None if self.subject else Prompt("", self.negative)

    def sweep(self, prompt: Prompt | None = None) -> Sweep:
        """The sweep. ``prompt``: the built one, needed when the file gives a subject only. Raises ``SettingsError``."""
        base = prompt or self.base_prompt()
        if base is None:
            raise SettingsError(
                "This sweep file gives a subject, so its prompt must be built first.",
                expected="a prompt made from the clip's name and the subject",
            )
        try:
            axes = read_axes(self.axes, base.negative)
        except YamlRefused as error:  # a file that was not read by ``load_sweep``
            raise SettingsError(error.problem, expected=error.expected, got=error.got, remedy=error.remedy) from error
        return Sweep(base, self.sample_settings(), axes, self.name, self.scene())

    def varied(self) -> set[str]:
        """The names of all that the axes vary."""
        return axis_names(self.axes)

    def scene(self) -> Scene:
        """The model and pictures of the file, where no axis varies them."""
        given = self.inputs
        pose = PoseSource("")
        if file := given.clip or given.pose:
            pose = PoseSource(str(file), given.start if given.clip else 0.0, drawn=given.pose is not None)
        return Scene(
            self.models.files() if self.models else None,
            pose,
            tuple(map(str, given.references)),
            str(given.mask or ""),
            str(given.start_clip or ""),
        )


def load_sweep(path: str | os.PathLike[str]) -> SweepFile:
    """Read and check a sweep file. Raises ``SettingsError`` that names the file, the line and the key."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The sweep file {file} cannot be read.", got=str(error)) from error
    lines: Lines = {}
    try:
        values, lines = read_yaml(text)
        if not isinstance(values, dict):
            raise YamlRefused("it holds no keys", expected="keys such as axes and prompt")
        checked = SweepFile.model_validate(_with_paths(values, file.absolute().parent))
        _check_parts(checked)
    except YamlRefused as error:
        raise refusal(file, lines, error) from error.__cause__
    except ValidationError as error:
        raise refusal(file, lines, YamlRefused.of(error, SweepFile)) from None
    return checked


def dump_sweep(sweep: SweepFile, path: str | os.PathLike[str]) -> Path:
    """Write a sweep file; paths inside its folder become relative. ``load_sweep`` reads the same sweep back."""
    import yaml

    target = Path(path)
    values = _plain(sweep.model_dump(exclude_defaults=True), target.absolute().parent)
    write_text_atomic(target, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110))
    return target


def _check_parts(sweep: SweepFile) -> None:
    """Everything that only the settings and the axes themselves can judge, with the place of what is wrong."""
    place: tuple[str | int, ...] = ()
    try:
        for name, value in (sweep.settings.model_extra or {}).items():
            place = ("settings", name)
            if any(entry.name == name for entry in options(SampleSettings)):
                check(option(SampleSettings, name), value)
            else:
                SampleSettings.from_dict({name: value})
        place = ("settings", "loras")
        for lora in sweep.settings.loras:
            lora.use()
        place = ("settings",)
        sweep.sample_settings()
        read_axes(sweep.axes, sweep.negative)
        place = ("axes",)
        sweep.sweep(Prompt("any", sweep.negative))
    except SettingsError as error:
        raise YamlRefused(error.problem, place, expected=error.expected, got=error.got, remedy=error.remedy) from error


def _with_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with every path made absolute, whatever else may be wrong with them."""

    def path(value: Any) -> Any:
        # normpath, not resolve: links stay as the user wrote them.
        return Path(os.path.normpath(folder / value)) if isinstance(value, (str, Path)) and value != "" else value

    def paths(value: Any) -> Any:
        return [path(entry) for entry in value] if isinstance(value, list) else path(value)

    def keys(value: Any, *names: str) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: paths(entry) if name in names else entry for name, entry in value.items()}

    def lora(use: Any) -> Any:
        file = use.get("file") if isinstance(use, dict) else None
        if isinstance(file, str) and file.startswith(f"{NANO}:"):
            return {**use, "file": nano_lora(file.removeprefix(f"{NANO}:").strip())}
        return keys(use, "file")

    found = keys(values, "out")
    found = {**found, **{name: keys(found[name], *_PATHS[name]) for name in _PATHS if name in found}}
    if isinstance(found.get("settings"), dict) and isinstance(uses := found["settings"].get("loras"), list):
        found["settings"] = {**found["settings"], "loras": [lora(use) for use in uses]}
    if isinstance(axes := found.get("axes"), dict) and axis_names(axes) & {*FILE_AXES}:
        found["axes"] = place_files(axes, path)
    return found


_PATHS = {
    "inputs": ("clip", "pose", "reference", "mask", "start_clip"),
    "models": ("transformer", "vae", "text_encoder", "tokenizer"),
}


def _plain(value: Any, folder: Path) -> Any:
    """Only what YAML knows; a path inside ``folder`` becomes relative to it."""
    if isinstance(value, dict):
        return {name: _plain(entry, folder) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, folder) for entry in value]
    if isinstance(value, Path):
        return (value.relative_to(folder) if value.is_relative_to(folder) else value).as_posix()
    return value
