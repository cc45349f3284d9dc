"""Make the workflows and what belongs to them anew: `all`, after the nodes' forms or texts have changed."""

from __future__ import annotations

import json

import typer

from . import locale, readme
from .catalog import all_workflows
from .frozen import freeze as freeze_release
from .schemas import ROOT, read_schemas

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
FOLDER = ROOT / "workflows"


def text_of(said: object) -> str:
    """JSON as it is committed."""
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


@app.command()
def graphs() -> None:
    """Write every workflow and its API twin."""
    for name, graph in all_workflows(read_schemas()).items():
        (FOLDER / f"{name}.json").write_text(text_of(graph.drawn()), encoding="utf-8")
        (FOLDER / "api" / f"{name}.json").write_text(text_of(graph.api()), encoding="utf-8")


@app.command()
def texts() -> None:
    """Write the English texts of the nodes, from which translations start."""
    path = locale.FOLDER / "en" / locale.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(locale.node_defs(read_schemas())), encoding="utf-8")


@app.command()
def tables() -> None:
    """Fill the tables of the README."""
    schemas = read_schemas()
    text = readme.FILE.read_text(encoding="utf-8")
    readme.FILE.write_text(readme.filled(text, readme.tables(schemas, all_workflows(schemas))), encoding="utf-8")


@app.command()
def freeze(version: str) -> None:
    """Keep the workflows and forms of a release in tests/frozen."""
    typer.echo(freeze_release(version, read_schemas()))


if __name__ == "__main__":
    app()
