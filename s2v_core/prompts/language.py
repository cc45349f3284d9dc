"""Loading language models out of local folders, and getting them when the user agreed.

A model is a folder as transformers writes it, with safetensors. No code out of such a folder is run, and nothing is
fetched while one is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelFileError, SettingsError
from ..files import remembered_sha256, sha256_json
from ..models import model_folders


@dataclass(frozen=True)
class LanguageModel:
    """A published model: its repository on huggingface.co, its licence and about how many bytes it has."""

    name: str
    repository: str
    licence: str
    size: int
    used_by: str


LANGUAGE_MODELS = {
    entry.name: entry
    for entry in (
        LanguageModel("florence-2-base", "florence-community/Florence-2-base", "MIT", 464 << 20, "captions"),
        LanguageModel("florence-2-large", "florence-community/Florence-2-large", "MIT", 1560 << 20, "captions"),
        LanguageModel("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct", "Apache-2.0", 988 << 20, "rewriting"),
    )
}
_FILES = ("*.json", "*.txt", "*.jinja", "*.safetensors")


def find_language_model(name: str) -> Path:
    """The folder of a model: a path, or one of ``LANGUAGE_MODELS`` in a model folder. Raises ``ModelFileError``."""
    if (Path(name) / "config.json").is_file():
        return Path(name)
    tried = [folder / "language" / name for folder in model_folders()]
    for folder in tried:
        if name in LANGUAGE_MODELS and (folder / "config.json").is_file():
            return folder
    raise ModelFileError(
        f"There is no language model {name!r}.",
        expected=f"a folder with config.json, or one of {', '.join(LANGUAGE_MODELS)}",
        got=f"nothing in {name}" + (f" or {', '.join(map(str, tried))}" if name in LANGUAGE_MODELS else ""),
        remedy=f"Get it from huggingface.co/{LANGUAGE_MODELS[name].repository} into {tried[0]}."
        if name in LANGUAGE_MODELS
        else "Name the folder that holds it.",
    )


def download_language_model(name: str, folder: Path | None = None) -> Path:
    """Fetch one of ``LANGUAGE_MODELS`` into a model folder and return where it is. Call it only when the user agreed.

    huggingface_hub goes on where it stopped and checks what it gets against the hashes that the server states.
    """
    if name not in LANGUAGE_MODELS:
        raise SettingsError(f"There is no language model {name!r}.", expected=", ".join(LANGUAGE_MODELS), got=name)
    from huggingface_hub import snapshot_download

    target = (folder or model_folders()[0]) / "language" / name
    try:
        snapshot_download(LANGUAGE_MODELS[name].repository, local_dir=target, allow_patterns=list(_FILES))
    except Exception as error:  # the hub's client raises those of several libraries
        raise ModelFileError(
            f"{LANGUAGE_MODELS[name].repository} could not be downloaded.",
            expected="an answer of huggingface.co, or of the mirror in HF_ENDPOINT",
            got=" ".join(str(error).split())[:200],
            remedy=f"Try again, or put the repository's files into {target}.",
        ) from error
    return target


def model_identity(folder: Path) -> str:
    """Hex sha256 over the files of a model, large ones remembered: what its answers depend on."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".txt", ".jinja", ".safetensors"))
    return sha256_json([[file.name, remembered_sha256(file)] for file in files])


def load_parts(folder: Path, load: Callable[[str, dict[str, Any]], Any]) -> Any:
    """``load(folder, options)`` with the options that keep it local and safe; failures as ``ModelFileError``."""
    try:
        return load(str(folder), {"local_files_only": True, "trust_remote_code": False})
    except Exception as error:  # transformers raises whatever its parsers stumble over
        raise ModelFileError(
            f"The language model in {folder} cannot be loaded.",
            expected="a folder as transformers writes it, with safetensors",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            remedy="Copy the whole folder of the model again.",
        ) from error


def place(device: str, dtype: str) -> tuple[str, Any]:
    """Device and torch type: "auto" is CUDA with bfloat16 where there is CUDA, otherwise the CPU with float32."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    if dtype not in ("bfloat16", "float16", "float32"):
        raise SettingsError(f"There is no precision {dtype!r}.", expected="auto, bfloat16, float16 or float32")
    return device, getattr(torch, dtype)
