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

Every path is relative to the folder of the YAML file. Unknown keys, keys given twice and values that cannot be used
are refused with their line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import SettingsError
from ..files import write_text_atomic
from ..prompts.prompt import Prompt
from ..wan.embedded import NANO, nano_files
from ..wan.settings import LoraUse, SampleSettings, check, option, options
from .axes import Axis, Sweep, axis_kind, make_axis
from .parse import parse_values
from .yamlfile import Lines, YamlRefused, read_yaml, refusal


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Inputs(_Strict):
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


class Models(_Strict):
    """The model files, as ``ModelFiles`` takes them."""

    transformer: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path | None = None


class PromptText(_Strict):
    """A prompt that is given. ``negative`` falls back on the file's; ``label`` becomes the variant's name."""

    text: str = Field(min_length=1)
    negative: str | None = None
    label: str = Field(default="custom", min_length=1)


class LoraFile(_Strict):
    """A LoRA file and how it is used: the fields of ``LoraUse``, which gives their defaults and checks them."""

    file: Path
    strength: Any = None
    scope: Any = None
    from_step: Any = None
    to_step: Any = None
    ramp_in: Any = None
    ramp_out: Any = None
    allow_unmatched: Any = None

    def use(self) -> LoraUse:
        """What the file says, with the defaults of what it leaves out. Raises ``SettingsError``."""
        said = {name: getattr(self, name) for name in self.model_fields_set if name != "label"}
        return LoraUse.from_value({**said, "file": str(self.file)})


class Settings(_Strict):
    """The fields of ``SampleSettings`` that the file sets; all but ``loras`` are checked by ``SampleSettings``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    loras: tuple[LoraFile, ...] = ()


class SweepFile(_Strict):
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

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("prompt"), str):
            values = {**values, "prompt": {"text": values["prompt"]}}
        if isinstance(name := values.get("models"), str):
            if name != NANO:
                raise ValueError(f"models is {NANO!r}, or the paths of transformer, vae and text_encoder")
            files = nano_files()
            named = ("transformer", "vae", "text_encoder", "tokenizer")
            values = {**values, "models": {part: getattr(files, part) for part in named}}
        return values

    @model_validator(mode="after")
    def _one_prompt(self) -> SweepFile:
        if self.prompt and self.subject:
            raise ValueError("give a prompt or a subject, not both")
        if not (self.prompt or self.subject or "prompt" in self.axes):
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
        axes = tuple(_axis(name, values, base.negative) for name, values in self.axes.items())
        return Sweep(base, self.sample_settings(), axes, self.name)


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
        for name, values in sweep.axes.items():
            place = ("axes", name)
            _axis(name, values, sweep.negative)
        place = ("axes",)
        sweep.sweep(Prompt("any", sweep.negative))
    except SettingsError as error:
        raise YamlRefused(error.problem, place, expected=error.expected, got=error.got, remedy=error.remedy) from error
    except ValidationError as error:
        kinds = {kind.__name__: kind for kind in (PromptText, _Labelled, _LabelledLora)}
        raise YamlRefused.of(error, kinds.get(error.title), place) from None


def _axis(name: str, values: Any, negative: str) -> Axis:
    title = axis_kind(name).title
    if isinstance(values, str):
        return parse_values(name, values)
    given, labels = [], []
    for entry in values if isinstance(values, list) else [values]:
        value, label = _entry(name, entry, negative)
        given.append(value)
        labels.append(label)
    made = make_axis(name, given).labels
    return make_axis(name, given, [f"{title}: {own}" if own else auto for own, auto in zip(labels, made, strict=True)])


def _entry(name: str, entry: Any, negative: str) -> tuple[Any, str | None]:
    """One value of an axis with its own label, if it has one."""
    if not isinstance(entry, dict):
        return entry, None
    if "value" in entry:
        labelled = _Labelled.model_validate(entry)
        return labelled.value, labelled.label
    if name == "prompt":
        said = PromptText.model_validate(entry)
        return Prompt(said.text, negative if said.negative is None else said.negative, variant=said.label), None
    if name == "lora":
        lora = _LabelledLora.model_validate(entry)
        return lora.use(), lora.label
    return _Labelled.model_validate(entry), None


class _Labelled(_Strict):
    value: Any
    label: str = Field(min_length=1)


class _LabelledLora(LoraFile):
    label: str | None = Field(default=None, min_length=1)


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

    def lora(value: Any) -> Any:
        if isinstance(value, dict):
            return {**keys(value, "file"), **({"value": lora(value["value"])} if "value" in value else {})}
        return value if value == "none" else path(value)

    found = keys(values, "out")
    found = {**found, **{name: keys(found[name], *_PATHS[name]) for name in _PATHS if name in found}}
    if isinstance(found.get("settings"), dict) and isinstance(uses := found["settings"].get("loras"), list):
        found["settings"] = {**found["settings"], "loras": [keys(use, "file") for use in uses]}
    if isinstance(axes := found.get("axes"), dict) and "lora" in axes:
        files = axes["lora"]
        if isinstance(files, str):
            files = [line.strip() for line in files.splitlines() if line.strip()]
        found["axes"] = {**axes, "lora": [lora(file) for file in (files if isinstance(files, list) else [files])]}
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
