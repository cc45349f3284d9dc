"""Make the workflows and what belongs to them anew, after the nodes' forms or texts have changed.

First `everything`, then, with a ComfyUI and a browser, `thumbnails` and `help-pictures`.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from . import browser, hosts, locale, newcomer, pictures, readme
from .catalog import all_workflows
from .frozen import freeze as freeze_release
from .scenes import SCENES
from .schemas import PREFIX, ROOT, read_schemas

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
def everything() -> None:
    """Graphs, texts and tables: all that needs no running host."""
    graphs()
    texts()
    tables()


@app.command()
def thumbnails(
    names: Annotated[list[str] | None, typer.Argument(help="Workflows; all when none are named.")] = None,
) -> None:
    """Run workflows with the nano model in a real host and make their thumbnails, and the README's moving picture."""
    with _nano_host() as host:
        for name in names or all_workflows(read_schemas()):
            typer.echo(pictures.make_thumbnail(host, name))
            if name == "quick_look":
                pictures.make_moving_picture(host)


@app.command()
def help_pictures(
    nodes: Annotated[list[str] | None, typer.Argument(help="Nodes without prefix; else all.")] = None,
) -> None:
    """Run each node's small graph in a real host and browser and take the picture of its help page."""
    if missing := browser.what_is_missing():
        raise typer.BadParameter(missing)
    schemas = read_schemas()
    known = [name for name in SCENES if f"{PREFIX}{name}" in schemas]
    with _nano_host() as host, browser.opened(host.url) as page:
        for node in nodes or known:
            pictures.help_picture(page, schemas, node)
            typer.echo(node)


@app.command()
def measure(
    packages: Annotated[Path | None, typer.Option(help="A folder with wheels.")] = None, write: bool = False
) -> None:
    """Time a newcomer's way for real; --write puts the result into the README. Takes gigabytes and minutes."""
    with tempfile.TemporaryDirectory() as folder:
        sentence = newcomer.said(*newcomer.walk(_root(), Path(folder), packages))
    typer.echo(sentence)
    if write:
        text = readme.FILE.read_text(encoding="utf-8")
        readme.FILE.write_text(readme.filled(text, {"newcomer": sentence}), encoding="utf-8")


def _root() -> Path:
    return Path(os.environ.get("COMFY_ROOT") or Path.home() / "comfy" / "ComfyUI")


@contextlib.contextmanager
def _nano_host() -> Iterator[hosts.RunningHost]:
    """A host of COMFY_ROOT with the nano model; its folder is called as a user's, for pictures show it."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "ComfyUI"
        nets = Path(os.environ.get("S2V_CACHE") or ROOT / ".cache" / "s2v") / "models"
        hosts.fill_base(base, "nano", nets=nets if nets.is_dir() else None)
        with hosts.running(_root(), base, os.environ.get("COMFY_OVERLAY", "")) as host:
            pictures.prepare(host)
            yield host


@app.command()
def freeze(version: str) -> None:
    """Keep the workflows and forms of a release in tests/frozen."""
    typer.echo(freeze_release(version, read_schemas()))


if __name__ == "__main__":
    app()
