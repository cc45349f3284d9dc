"""What a release has promised: its nodes' forms and its workflows, kept under ``tests/frozen/<version>``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .schemas import ROOT, Field, Output, Schema

FOLDER = ROOT / "tests" / "frozen"
FORMS = "schemas.json"


def freeze(version: str, schemas: Mapping[str, Schema], folder: Path = FOLDER) -> Path:
    """Copy the workflows and write down the forms. A version is frozen once: FileExistsError."""
    kept = folder / version
    (kept / "api").mkdir(parents=True)
    for part in (".", "api"):
        for file in sorted((ROOT / "workflows" / part).glob("*.json")):
            shutil.copyfile(file, kept / part / file.name)
    write_forms(kept / FORMS, schemas)
    return kept


def write_forms(path: Path, schemas: Mapping[str, Schema]) -> None:
    """The forms of the pack's nodes, one line an input."""
    lines = []
    for schema in schemas.values():
        if schema.category:
            inputs = ",\n   ".join(json.dumps(_form(field), ensure_ascii=False) for field in schema.fields)
            outputs = json.dumps([[output.name, output.type] for output in schema.outputs], ensure_ascii=False)
            lines.append(f' "{schema.type}": {{\n  "inputs": [\n   {inputs}],\n  "outputs": {outputs}}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_forms(path: Path) -> dict[str, Schema]:
    """What ``write_forms`` wrote."""
    said = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Schema(
            name,
            "",
            tuple(Field(**{**form, "choices": tuple(form.get("choices", ()))}) for form in entry["inputs"]),
            tuple(Output(*output) for output in entry["outputs"]),
        )
        for name, entry in said.items()
    }


def broken(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """What graphs that were saved with the ``old`` forms would lose with the ``new`` ones; empty when nothing.

    A saved graph holds the values of fields by their place and links by the outputs' places; graphs in API form hold
    both by name. So fields and outputs may only be added at the end, and what is added must be optional.
    """
    problems = []
    for name, before in old.items():
        if name not in new:
            problems.append(f"{name} is gone")
            continue
        problems += [f"{name}: {said}" for said in _lost(before, new[name])]
    return problems


def _lost(old: Schema, new: Schema) -> list[str]:
    problems = []
    fields = {field.name: field for field in new.fields}
    for kind in (True, False):
        before = [field.name for field in old.fields if field.is_widget == kind]
        now = [field.name for field in new.fields if field.is_widget == kind and field.name in before]
        if now != before:
            problems.append(f"inputs {', '.join(before)} became {', '.join(now)}")
    values = [entry for field, more in old.widgets for entry in (field.name, *more)]
    now_values = [entry for field, more in new.widgets for entry in (field.name, *more)]
    if now_values[: len(values)] != values:
        problems.append(f"the values of {', '.join(values)} would be read as those of {', '.join(now_values)}")
    for field in old.fields:
        if field.name in fields:
            problems += [f"{field.name}: {said}" for said in _narrower(field, fields[field.name])]
    known = {field.name for field in old.fields}
    problems += [f"{f.name} is new and must be optional" for f in new.fields if f.name not in known and not f.optional]
    before_outputs = [(output.name, output.type) for output in old.outputs]
    now_outputs = [(output.name, output.type) for output in new.outputs]
    if now_outputs[: len(before_outputs)] != before_outputs:
        problems.append(f"outputs {before_outputs} became {now_outputs}")
    return problems


def _narrower(old: Field, new: Field) -> list[str]:
    problems = []
    if old.type != new.type:
        problems.append(f"{old.type} became {new.type}")
    if old.optional and not new.optional:
        problems.append("was optional")
    if gone := [choice for choice in old.choices if choice not in new.choices]:
        problems.append(f"has no choice {', '.join(gone)} any more")
    low, high = new.low if old.low is not None else None, new.high if old.high is not None else None
    if (low is not None and low > old.low) or (high is not None and high < old.high):  # type: ignore[operator]
        problems.append(f"takes {new.low} to {new.high}, no longer {old.low} to {old.high}")
    return problems


def _form(field: Field) -> dict[str, Any]:
    said: dict[str, Any] = {"name": field.name, "type": field.type}
    for name in ("optional", "seed", "upload", "choices", "low", "high"):
        value = getattr(field, name)
        if value is not None and value is not False and value != ():
            said[name] = list(value) if isinstance(value, tuple) else value
    return said
