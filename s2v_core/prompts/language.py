"""Loading language models out of local folders, and letting them write.

A model is a folder as transformers writes it, with safetensors; one that rewrites may also be a single GGUF file. No
code out of such a folder is run, and nothing is fetched while one is loaded (``get_language`` does that, when it is
asked to).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Interrupted, MissingPackageError, ModelFileError, SettingsError
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

GGUF = ".gguf"


def find_language_model(name: str) -> Path:
    """Where a model is: the path of its folder or GGUF file, or one of ``LANGUAGE_MODELS`` in a model folder.

    Raises ``ModelFileError``.
    """
    path = Path(name)
    if (path / "config.json").is_file() or (path.suffix == GGUF and path.is_file()):
        return path
    tried = [folder / "language" / name for folder in model_folders()]
    for folder in tried:
        if name in LANGUAGE_MODELS and (folder / "config.json").is_file():
            return folder
    raise ModelFileError(
        f"There is no language model {name!r}.",
        expected=f"a folder with config.json, a {GGUF} file, or one of {', '.join(LANGUAGE_MODELS)}",
        got=f"nothing in {name}" + (f" or {', '.join(map(str, tried))}" if name in LANGUAGE_MODELS else ""),
        remedy=f"Run: s2v models get {name}. Or get it from huggingface.co/{LANGUAGE_MODELS[name].repository} "
        f"into {tried[0]}."
        if name in LANGUAGE_MODELS
        else "Name the folder that holds it.",
    )


def model_identity(model: Path) -> str:
    """Hex sha256 over the files of a model, large ones remembered: what its answers depend on."""
    kinds = (".json", ".txt", ".jinja", ".safetensors")
    files = [model] if model.is_file() else sorted(file for file in model.iterdir() if file.suffix in kinds)
    return sha256_json([[file.name, remembered_sha256(file)] for file in files])


def load_parts(model: Path, load: Callable[[str, dict[str, Any]], Any]) -> Any:
    """``load(folder, options)`` with the options that keep it local and safe.

    Raises ``ModelFileError``, and ``MissingPackageError`` for a GGUF file that nothing here can read.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = model
    if model.suffix == GGUF:
        if importlib.util.find_spec("gguf") is None:
            raise MissingPackageError(
                f"{model.name} needs the package gguf to be read.",
                expected="the package gguf",
                got="it is not installed",
                remedy="Run: pip install 'skeleton2video[language]'. Or take a model with safetensors.",
            )
        folder, options["gguf_file"] = model.parent, model.name
    try:
        return load(str(folder), options)
    except Exception as error:  # transformers raises whatever its parsers stumble over
        raise ModelFileError(
            f"The language model in {model} cannot be loaded.",
            expected="a folder as transformers writes it, with safetensors, or for a rewriter a GGUF file",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            remedy="Copy the whole model again.",
        ) from error


def generate(
    model: Any,
    inputs: Any,
    most: int,
    *,
    on_token: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Any:
    """The token ids that ``model`` writes, at most ``most`` new ones, always the likeliest: a tensor [batch, tokens].

    ``inputs``: what its processor made. ``on_token(tokens so far, most)``; it often ends before that. ``should_stop``
    is asked after every token. Raises ``Interrupted``: half an answer is none.
    """
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    made = 0

    class Watch(StoppingCriteria):  # type: ignore[misc, unused-ignore]
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            nonlocal made
            made += 1
            if on_token:
                on_token(made, most)
            if should_stop and should_stop():
                raise Interrupted(f"Stopped after {made} tokens; nothing of them is kept.")
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    with torch.inference_mode():
        return model.generate(
            **inputs, max_new_tokens=most, do_sample=False, stopping_criteria=StoppingCriteriaList([Watch()]), **options
        )


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
