"""YAML with line numbers: what is wrong in a user's file is said with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from ..errors import SettingsError

if TYPE_CHECKING:
    import yaml

Place = tuple[str | int, ...]
# The place of a key or list entry -> its line, from 1.
Lines = dict[Place, int]


class YamlRefused(Exception):
    """Something in the file cannot be used. ``place``: the keys that lead to it; ``line``: where known already."""

    def __init__(
        self,
        problem: str,
        place: Place = (),
        *,
        expected: str = "",
        got: str = "",
        remedy: str = "",
        line: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.expected = expected
        self.got = got
        self.remedy = remedy
        self.line = line

    @classmethod
    def of(cls, error: ValidationError, model: type[BaseModel] | None, below: Place = ()) -> YamlRefused:
        """The most telling of pydantic's errors in the house's words. ``model``: where the known keys are read from."""
        # A misspelt key is more telling than the key that is missing for it.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        place = tuple(first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = _fields(model, place[:-1])
            near = difflib.get_close_matches(str(place[-1]), known, 1)
            return cls(
                f"there is no key {place[-1]!r}",
                (*below, *place),
                expected=f"one of {', '.join(known)}" if known else "no such key",
                remedy=f"Did you mean {near[0]}?" if near else "",
            )
        if first["type"] == "missing":
            return cls(f"the key {place[-1]!r} is missing", (*below, *place))
        got = "" if isinstance(first["input"], (dict, list)) else repr(first["input"])
        return cls(problem, (*below, *place), got=got)


def read_yaml(text: str) -> tuple[Any, Lines]:
    """The values of a YAML text, and the line of every key and entry. Raises ``YamlRefused``.

    Only plain values: no YAML tag can make anything else. A key that stands twice in one mapping is refused.
    """
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: Lines = {}
        for place, at in _walk(node, (), set()):
            if place in lines:
                raise YamlRefused(f"the key {place[-1]!r} is given twice", place, line=at)
            lines[place] = at
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise YamlRefused(f"this is not YAML: {error.problem or error.context}", line=line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlRefused(f"this is not YAML: {error}") from None
    finally:
        loader.dispose()


def _loader() -> type[yaml.SafeLoader]:
    """PyYAML's safe loader without its numbers to the base of 60: 1:7:1 is a range here, not 4021."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and ":" in node.value:
                node.tag = "tag:yaml.org,2002:str"
            return super().construct_object(node, deep)

    return Loader


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def refusal(file: Path, lines: Lines, error: YamlRefused) -> SettingsError:
    """``error`` as the user sees it, with the file and the line."""
    line = error.line
    for length in range(len(error.place), 0, -1):
        line = line or lines.get(error.place[:length])
    where = f"{file.name}, line {line}" if line else file.name
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in error.place)
    problem = f"{where}: {f'{key}: ' if key else ''}{error.problem}"
    return SettingsError(problem, expected=error.expected, got=error.got, remedy=error.remedy)


def _walk(node: Any, place: Place, seen: set[int]) -> Iterator[tuple[Place, int]]:
    import yaml

    # An alias leads to a node that was walked already; walking it again could take for ever.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise YamlRefused("a key must be a text", place, line=key.start_mark.line + 1)
            inner = (*place, key.value)
            yield inner, key.start_mark.line + 1
            yield from _walk(value, inner, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, number), value.start_mark.line + 1
            yield from _walk(value, (*place, number), seen)


def _fields(model: type[BaseModel] | None, place: Place) -> list[str]:
    """The known keys of the part of ``model`` at ``place``."""
    for part in place:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return []
        inner = model.model_fields[part].annotation
        choices = [inner, *getattr(inner, "__args__", ())]
        model = next((kind for kind in choices if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return list(model.model_fields) if model else []
