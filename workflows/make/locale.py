"""The nodes' texts as the browser's translations have them: ``locales/<language>/nodeDefs.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .schemas import ROOT, Schema

FOLDER = ROOT / "locales"
FILE = "nodeDefs.json"
# The browser's translations read these as the beginnings of placeholders and plurals; some of its versions read them
# raw, so there is no way to write them that all of them understand.
SPECIAL = re.compile(r"[{}@|$]")


def node_defs(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Names, descriptions and tooltips of the pack's nodes. ValueError for a text that the browser would misread."""
    return {name: _texts(schema) for name, schema in schemas.items() if schema.category}


def _texts(schema: Schema) -> dict[str, Any]:
    said: dict[str, Any] = {"display_name": _plain(schema.title), "description": _plain(schema.description)}
    if schema.fields:
        said["inputs"] = {
            field.name: {"name": _plain(field.label or field.name), "tooltip": _plain(field.tooltip)}
            for field in schema.fields
        }
    said["outputs"] = {
        str(place): {"name": _plain(output.name), "tooltip": _plain(output.tooltip)}
        for place, output in enumerate(schema.outputs)
    }
    return said


def _plain(text: str) -> str:
    if found := SPECIAL.search(text):
        raise ValueError(f"The browser would misread {found.group()!r} in {text!r}; write it otherwise.")
    return text


def unknown_keys(language: Mapping[str, Any], english: Mapping[str, Any], before: str = "") -> list[str]:
    """What a translation says of nodes, inputs or outputs that there are not."""
    found = []
    for key, value in language.items():
        path = f"{before}{key}"
        if key not in english or isinstance(value, dict) != isinstance(english[key], dict):
            found.append(path)
        elif isinstance(value, dict):
            found += unknown_keys(value, english[key], f"{path}.")
    return found
