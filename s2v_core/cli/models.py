"""``s2v models``: the model files that Skeleton2Video knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingsError
from .console import Json, command

models_app = typer.Typer(help="The model files that Skeleton2Video knows.", no_args_is_help=True)


@models_app.command("list")
def list_models(as_json: Json = False) -> None:
    """The known model files, and which of them are found."""
    with command(as_json) as done:
        from ..models import MODEL_FILES, find_model, model_folders

        done(
            {
                "folders": [str(folder) for folder in model_folders()],
                "files": [
                    {
                        "name": entry.name,
                        "file": entry.file,
                        "bytes": entry.size,
                        "licence": entry.licence,
                        "used by": entry.used_by or "nothing in this version",
                        "found": str(find_model(entry.name) or ""),
                    }
                    for entry in MODEL_FILES
                ],
            }
        )


@models_app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="What to install: blazepose.")],
    source: Annotated[Path, typer.Option("--from", help="A mediapipe wheel, a .task file, a folder or a .tflite.")],
    accept_unknown: Annotated[bool, typer.Option(help="Take other versions of the nets too.")] = False,
    as_json: Json = False,
) -> None:
    """Take model files out of a package that you have, check their sha256, and put them in place."""
    with command(as_json) as done:
        from ..models import install_blazepose

        if name != "blazepose":
            raise SettingsError(f"{name!r} cannot be installed.", expected="blazepose", got=name)
        done({"installed": install_blazepose(source, accept_unknown=accept_unknown)})
