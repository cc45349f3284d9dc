"""The ``axes`` of a sweep file: lists, texts, values with labels of their own, files beside the YAML file, and zips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import starmap
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..wan.embedded import NANO, nano_files, nano_lora
from ..wan.engine import ModelFiles
from ..wan.settings import LoraUse
from .axes import Axis, Part, make_part, zip_axes
from .kinds import LINES, axis_kind
from .parse import LABELLED, read_values
from .scene import DRAWN, NONE, PoseSource
from .yamlfile import YamlRefused

ZIP = "zip"
FILE_AXES = ("lora", "model", "pose", "reference")
_NANO_LORA = f"{NANO}:"


class Strict(BaseModel):
    """A part of a sweep file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Models(Strict):
    """The model files, as ``ModelFiles`` takes them; ``nano`` is the model that comes with the project."""

    transformer: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _nano(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        if values != NANO:
            raise ValueError(f"models is {NANO!r}, or the paths of transformer, vae and text_encoder")
        files = nano_files()
        return {part: getattr(files, part) for part in Models.model_fields}

    def files(self) -> ModelFiles:
        """As the engine takes them."""
        return ModelFiles(str(self.transformer), str(self.vae), str(self.text_encoder), str(self.tokenizer or ""))


class PromptText(Strict):
    """A prompt that is given. ``negative`` falls back on the file's; ``label`` becomes the variant's name."""

    text: str = Field(min_length=1)
    negative: str | None = None
    label: str = Field(default="custom", min_length=1)


class LoraFile(Strict):
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


class Labelled(Strict):
    """A value with a label of its own."""

    value: Any
    label: str = Field(min_length=1)


class LabelledLora(LoraFile):
    """A LoRA on an axis."""

    label: str | None = Field(default=None, min_length=1)


class LabelledModels(Models):
    """A model on an axis."""

    label: str | None = Field(default=None, min_length=1)


class PoseFile(Strict):
    """A dance ``clip`` or a finished ``pose`` video on an axis; ``start`` in seconds."""

    clip: Path | None = None
    pose: Path | None = None
    start: float = Field(default=0.0, ge=0)
    label: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> PoseFile:
        if bool(self.clip) == bool(self.pose):
            raise ValueError("give a clip or a pose video")
        return self

    def source(self) -> PoseSource:
        """As a scene takes it."""
        return PoseSource(str(self.clip or self.pose), self.start, drawn=self.pose is not None)


class ReferenceFiles(Strict):
    """Several reference pictures together on an axis."""

    files: tuple[Path, ...] = Field(min_length=1)
    label: str | None = Field(default=None, min_length=1)


# The parts whose keys an error may be about, by the names that pydantic gives them.
PARTS = {kind.__name__: kind for kind in (PromptText, Labelled, LabelledLora, Models, PoseFile, ReferenceFiles)}


def read_axes(axes: Mapping[str, Any], negative: str) -> tuple[Axis, ...]:
    """The axes of a sweep file. ``negative``: of prompts that bring none. Raises ``YamlRefused`` with the place."""
    found: list[Axis] = []
    for name, values in axes.items():
        place: tuple[str | int, ...] = ("axes", name)
        if name != ZIP:
            part = _placed(place, _part, name, values, negative)
            found.append(_placed(place, Axis, part.name, part.values, part.labels))
            continue
        several = isinstance(values, list)
        for number, entry in enumerate(values if several else [values]):
            found.append(_zip((*place, number) if several else place, entry, negative))
    return tuple(found)


def axis_names(axes: Mapping[str, Any]) -> set[str]:
    """The names of all that the axes vary, also inside zips, whatever else may be wrong with them."""
    zipped = axes.get(ZIP, {})
    inner = [entry for entry in (zipped if isinstance(zipped, list) else [zipped]) if isinstance(entry, dict)]
    return {*axes, *(name for entry in inner for name in entry)} - {ZIP, "label"}


def place_files(axes: Mapping[str, Any], path: Callable[[str], Any]) -> dict[str, Any]:
    """The axes with ``path(text)`` in place of every file, whatever else may be wrong with them."""

    def files(name: str, values: Any) -> Any:
        if name == ZIP:
            entries = values if isinstance(values, list) else [values]
            placed = [dict(starmap(pair, entry.items())) if isinstance(entry, dict) else entry for entry in entries]
            return placed if isinstance(values, list) else placed[0]
        if name not in FILE_AXES:
            return values
        if isinstance(values, str):
            lines = [line.strip() for line in values.splitlines() if line.strip()]
            values = [_named_line(line) for line in lines]
        return [file(entry) for entry in values] if isinstance(values, list) else [file(values)]

    def pair(name: str, values: Any) -> tuple[str, Any]:
        return name, files(name, values)

    def file(entry: Any) -> Any:
        if isinstance(entry, dict):
            return {name: value if name in ("label", *_PLAIN_KEYS) else file(value) for name, value in entry.items()}
        if isinstance(entry, list):
            return [file(one) for one in entry]
        if not isinstance(entry, str) or entry in (NONE, NANO, ""):
            return entry
        if entry.startswith(_NANO_LORA):
            return nano_lora(entry.removeprefix(_NANO_LORA).strip())
        if entry.startswith(DRAWN):
            return {"pose": path(entry.removeprefix(DRAWN).strip())}
        return path(entry)

    return dict(starmap(pair, axes.items()))


# Keys of entries on file axes that hold no file.
_PLAIN_KEYS = ("start", *(name for name in LoraFile.model_fields if name != "file"))


def _named_line(line: str) -> Any:
    labelled = LABELLED.fullmatch(line)
    return {"label": labelled["label"].strip(), "value": labelled["text"]} if labelled else line


def _zip(place: tuple[str | int, ...], entry: Any, negative: str) -> Axis:
    if not isinstance(entry, dict):
        raise YamlRefused("zip holds no axes", place, expected="axes with equally many values, one a key")
    labels = entry.get("label")
    parts = [
        _placed((*place, name), _part, name, values, negative) for name, values in entry.items() if name != "label"
    ]
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(parts[0].values if parts else ())):
        raise YamlRefused("label needs one text for each place of the zip", (*place, "label"), got=repr(labels))
    return _placed(place, zip_axes, parts, None if labels is None else [str(label) for label in labels])


def _placed(place: tuple[str | int, ...], make: Callable[..., Any], *values: Any) -> Any:
    try:
        return make(*values)
    except SettingsError as error:
        raise YamlRefused(error.problem, place, expected=error.expected, got=error.got, remedy=error.remedy) from error
    except ValidationError as error:
        raise YamlRefused.of(error, PARTS.get(error.title), place) from None


def _part(name: str, values: Any, negative: str) -> Part:
    title = axis_kind(name).title
    entries = list(_entries(name, values, negative))
    made = make_part(name, [value for value, _ in entries])
    labels = [f"{title}: {own}" if own else auto for (_, own), auto in zip(entries, made.labels, strict=True)]
    return Part(name, made.values, tuple(labels))


def _entries(name: str, values: Any, negative: str) -> Iterator[tuple[Any, str | None]]:
    """Each value of an axis with its own label, if it has one."""
    if isinstance(values, str) and name in LINES:
        values = [_named_line(line.strip()) for line in values.splitlines() if line.strip()]
    for entry in values if isinstance(values, list) else [values]:
        if isinstance(entry, str) and name not in LINES:
            # A text in a list may be a range too; an empty one is left for the axis to refuse.
            for value in read_values(name, entry) or [entry]:
                yield value, None
        elif isinstance(entry, dict):
            yield _mapping(name, entry, negative)
        else:
            yield entry, None


def _mapping(name: str, entry: dict[str, Any], negative: str) -> tuple[Any, str | None]:
    if "value" in entry:
        labelled = Labelled.model_validate(entry)
        value = labelled.value
        return (_mapping(name, value, negative)[0] if isinstance(value, dict) else value), labelled.label
    if name == "prompt":
        said = PromptText.model_validate(entry)
        return Prompt(said.text, negative if said.negative is None else said.negative, variant=said.label), None
    if name == "lora":
        lora = LabelledLora.model_validate(entry)
        return lora.use(), lora.label
    if name == "model":
        models = LabelledModels.model_validate(entry)
        return models.files(), models.label
    if name == "pose":
        pose = PoseFile.model_validate(entry)
        return pose.source(), pose.label
    if name == "reference":
        pictures = ReferenceFiles.model_validate(entry)
        return tuple(map(str, pictures.files)), pictures.label
    labelled = Labelled.model_validate(entry)
    return labelled.value, labelled.label
