"""``python -m workflows.make``: see ``--help``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from .catalog import all_workflows
from .schemas import ROOT, read_schemas

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
FOLDER = ROOT / "workflows"


def text_of(said: object) -> str:
    """JSON as it is committed."""
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


@app.command()
def graphs(out: Path = FOLDER) -> None:
    """Write every workflow and its API twin."""
    (out / "api").mkdir(parents=True, exist_ok=True)
    for name, graph in all_workflows(read_schemas()).items():
        (out / f"{name}.json").write_text(text_of(graph.drawn()), encoding="utf-8")
        (out / "api" / f"{name}.json").write_text(text_of(graph.api()), encoding="utf-8")


if __name__ == "__main__":
    app()
