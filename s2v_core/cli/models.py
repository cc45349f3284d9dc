"""``s2v models``: the model files that Skeleton2Video knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingsError
from .console import Json, agreed, command, progress, say

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
    name: Annotated[
        str, typer.Argument(help="What to install: blazepose, dwpose, florence-2-base, florence-2-large, qwen2.5-0.5b.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Take the files from here: for blazepose a mediapipe wheel, a .task file, a folder or a .tflite; "
            "for dwpose a folder with its .onnx files, or one of them.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The folder to put them in; the first model folder if left out.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Download without asking.")] = False,
    accept_unknown: Annotated[bool, typer.Option(help="Take other versions of BlazePose's nets too.")] = False,
    as_json: Json = False,
) -> None:
    """Put model files in place: out of a package that you have, or by a download that you agree to. Each is checked."""
    with command(as_json) as done:
        from ..get_blazepose import install_blazepose
        from ..models import BLAZEPOSE, DWPOSE, find_model

        if name == "blazepose" and source is None:
            raise SettingsError(
                "BlazePose's nets are taken out of a package that you have.",
                expected="--from FILE",
                remedy=f"Run: {BLAZEPOSE[0].get}",
            )
        if name == "blazepose" and source is not None:
            done({"installed": install_blazepose(source, to, accept_unknown=accept_unknown)})
        elif name == "dwpose":
            from ..get_models import download_models, install_models, missing_models, model_url

            if source is not None:
                done({"installed": install_models(DWPOSE, source, to)})
                return
            missing = missing_models(DWPOSE)
            for entry in missing:
                say(f"{model_url(entry)}  {entry.size / 1e6:,.0f} MB, licence {entry.licence}")
            if missing and not (yes or agreed("Download these files?")):
                raise SettingsError(
                    "Nothing was downloaded.",
                    expected="your consent: answer y, or give --yes",
                    remedy="Or get the files yourself, then: s2v models get dwpose --from FOLDER",
                )
            with progress() as show:
                download_models(missing, to, on_progress=show.bytes)
            done(
                {
                    "downloaded": [entry.file for entry in missing],
                    "found": [str(find_model(entry.name) or "") for entry in DWPOSE],
                }
            )
        else:
            done({"downloaded": str(_get_language_model(name, to, yes))})


def _get_language_model(name: str, to: Path | None, yes: bool) -> Path:
    from ..prompts.get_language import download_language_model
    from ..prompts.language import LANGUAGE_MODELS

    if name not in LANGUAGE_MODELS:
        known = ("blazepose", "dwpose", *LANGUAGE_MODELS)
        raise SettingsError(f"{name!r} cannot be installed.", expected=f"one of {', '.join(known)}", got=name)
    entry = LANGUAGE_MODELS[name]
    say(f"huggingface.co/{entry.repository}  about {entry.size / 1e6:,.0f} MB, licence {entry.licence}")
    if not (yes or agreed("Download this model?")):
        raise SettingsError(
            "Nothing was downloaded.",
            expected="your consent: answer y, or give --yes",
            remedy="Or copy the repository's files into a folder, and name that folder.",
        )
    with progress() as show:
        return download_language_model(name, to, on_progress=show.bytes)
