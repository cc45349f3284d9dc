"""Locale files, help pages and the README say what the nodes are, no more and no less."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from workflows.make import locale, readme
from workflows.make.catalog import all_workflows
from workflows.make.schemas import Schema, read_schemas

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "nodes" / "web" / "docs"
ANEW = "run: python -m workflows.make everything"
MOST_PICTURE_BYTES = 40_000
MOST_MOVING_BYTES = 1_500_000


@pytest.fixture(scope="module")
def schemas() -> dict[str, Schema]:
    root = Path(os.environ.get("COMFY_ROOT") or Path.home() / "comfy" / "ComfyUI").expanduser()
    if not (root / "main.py").is_file():
        pytest.skip(f"TEXTS NOT COMPARED WITH THE NODES: no ComfyUI at {root}; name a checkout in COMFY_ROOT")
    return {name: schema for name, schema in read_schemas(root).items() if schema.category}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_english_texts_are_those_of_the_nodes(schemas: dict[str, Schema]) -> None:
    assert read(locale.FOLDER / "en" / locale.FILE) == locale.node_defs(schemas), ANEW


def test_nothing_is_without_a_tooltip(schemas: dict[str, Schema]) -> None:
    for schema in schemas.values():
        assert schema.title and schema.description, schema.type
        for entry in (*schema.fields, *schema.outputs):
            assert entry.tooltip, f"{schema.type}.{entry.name} has no tooltip"


@pytest.mark.parametrize("language", sorted(path.name for path in locale.FOLDER.iterdir() if path.is_dir()))
def test_translations_speak_of_what_there_is(language: str) -> None:
    said = read(locale.FOLDER / language / locale.FILE)
    assert not locale.unknown_keys(said, read(locale.FOLDER / "en" / locale.FILE))
    assert not locale.SPECIAL.search(json.dumps(list(texts(said)), ensure_ascii=False))


def texts(said: Any) -> Any:
    for value in said.values():
        yield from texts(value) if isinstance(value, dict) else [value]


def test_the_readme_s_tables_are_in_step(schemas: dict[str, Schema]) -> None:
    text = readme.FILE.read_text(encoding="utf-8")
    graphs = all_workflows(read_schemas())
    assert readme.filled(text, readme.tables(schemas, graphs)) == text, ANEW


def test_the_readme_s_pictures_and_links_exist() -> None:
    text = readme.FILE.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links and not [link for link in links if not (ROOT / link).exists()]
    moving = [link for link in links if link.endswith(".webp")]
    assert moving and all((ROOT / link).stat().st_size <= MOST_MOVING_BYTES for link in moving)


def test_every_help_page_has_a_small_picture_and_an_example(schemas: dict[str, Schema]) -> None:
    for name in schemas:
        text = (HELP / f"{name}.md").read_text(encoding="utf-8")
        (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text) or [""]
        assert picture, f"the help page of {name} has no picture"
        assert (HELP / picture).is_file(), f"{picture} is missing; {ANEW}"
        assert (HELP / picture).stat().st_size <= MOST_PICTURE_BYTES
        assert "## Example\n" in text, f"the help page of {name} has no example"
        for entry in (*schemas[name].fields, *schemas[name].outputs):
            assert f"`{entry.name}`" in text, f"the help page of {name} does not tell of {entry.name}"
    pages = {path.stem for path in HELP.glob("*.md")}
    assert pages == set(schemas), "a help page of a node that there is not"
