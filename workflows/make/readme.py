"""The tables of the README, from what they speak of."""

from __future__ import annotations

import re
from collections.abc import Mapping

from s2v_core.models import BLAZEPOSE_NETS, DWPOSE, ModelFile
from s2v_core.prompts.language import LANGUAGE_MODELS

from .experiments import first_sentence
from .graph import Graph
from .needs import WAN_FILES, WAN_SIZES
from .schemas import ROOT, Schema

FILE = ROOT / "README.md"
FOLDER = "models/skeleton2video"
_HELP = "nodes/web/docs"


def tables(schemas: Mapping[str, Schema], graphs: Mapping[str, Graph]) -> dict[str, str]:
    """Every table by the name of its place."""
    return {"workflows": workflow_table(graphs), "nodes": node_table(schemas), "models": model_table()}


def filled(text: str, made: Mapping[str, str]) -> str:
    """The README with these tables in their places, ``<!-- table: name -->`` to ``<!-- end -->``, or ValueError."""
    for name, table in made.items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = place.subn(lambda match, table=table: match[1] + table + match[2], text)
        if found != 1:
            raise ValueError(f"The README has {found} places for the table {name}, not 1.")
    return text


def workflow_table(graphs: Mapping[str, Graph]) -> str:
    """What each workflow shows and needs."""
    rows = [(f"**{name}**", graph.shows, graph.needs) for name, graph in graphs.items()]
    return _table(("workflow", "shows", "needs"), rows)


def node_table(schemas: Mapping[str, Schema]) -> str:
    """Every node with its help page and the first sentence of what it says of itself."""
    rows = []
    for schema in schemas.values():
        if schema.category:
            group = schema.category.split("/")[-1]
            rows.append((f"[{schema.title}]({_HELP}/{schema.type}.md)", group, first_sentence(schema.description)))
    return _table(("node", "group", "does"), rows)


def model_table() -> str:
    """Every file: where it goes, how large it is, and its sha256 where the project checks it."""
    rows = [
        (f"`{file}`", f"`models/{folder}`", WAN_SIZES[part], part.replace("_", " "), "")
        for part, (folder, file) in WAN_FILES.items()
    ]
    rows += [_model_row(entry) for entry in (*DWPOSE, *(net for net in BLAZEPOSE_NETS if net.used_by))]
    rows += [
        (f"`{entry.repository}`", f"`{FOLDER}/language/{entry.name}`", said_size(entry.size), entry.used_by, "")
        for entry in LANGUAGE_MODELS.values()
    ]
    return _table(("file", "folder", "size", "used for", "sha256"), rows)


def said_size(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def _model_row(entry: ModelFile) -> tuple[str, ...]:
    return f"`{entry.file}`", f"`{FOLDER}`", said_size(entry.size), entry.used_by, f"`{entry.sha256}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
