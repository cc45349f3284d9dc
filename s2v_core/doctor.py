"""What is installed, which model files are found, what will compute, and what is missing."""

from __future__ import annotations

import os
import platform
from importlib import metadata, util
from pathlib import Path
from typing import Any

from . import __version__
from .errors import ModelFileError
from .models import MODEL_FILES, find_model, model_folders, verify_model

_PACKAGES = (
    "torch", "torchvision", "diffsynth", "controlnet-aux", "transformers", "safetensors", "numpy", "einops", "av",
    "diffusers", "scipy", "onnxruntime", "ai-edge-litert", "opencv-python-headless", "opencv-python", "pillow",
    "matplotlib", "pydantic", "pyyaml", "typer", "rich",
)  # fmt: skip
_OPTIONAL = {"opencv-python-headless", "opencv-python"}


def examine(folders: list[Path] | None = None) -> dict[str, Any]:
    """The report, ready for JSON. ``folders``: further folders to look for model files in, with their subfolders."""
    packages = {name: _version(name) for name in _PACKAGES}
    missing = [f"package {name}" for name, version in packages.items() if not version and name not in _OPTIONAL]
    if not (packages["opencv-python-headless"] or packages["opencv-python"]):
        missing.append("package opencv-python-headless (it comes with controlnet-aux)")
    compute = _compute() if packages["torch"] else {}
    known = [_known(entry) for entry in MODEL_FILES]
    missing += [f"{entry['file']} ({entry['used by']}): {entry['get']}" for entry in known if entry["used by"] and
                entry["state"] != "found"]  # fmt: skip
    looked = [*model_folders(), *(folders or [])]
    wan = scan(looked) if packages["torch"] and packages["safetensors"] else []
    held = {part for entry in wan for part in entry["parts"]}
    wanted = {
        "dit": "a Wan2.1-VACE transformer",
        "vace": "VACE blocks",
        "vae": "a Wan VAE",
        "text_encoder": "a umT5 text encoder",
    }
    missing += [
        f"{name} (looked in {', '.join(map(str, looked))})" for part, name in wanted.items() if part not in held
    ]
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "compute": compute,
        "video": _video() if packages["av"] else {},
        "model folders": [str(folder) for folder in looked],
        "model files": known,
        "wan files": wan,
        "missing": missing,
    }


def scan(folders: list[Path]) -> list[dict[str, Any]]:
    """What each model below ``folders`` holds, read from its tables of contents; unreadable ones say why.

    The shards of one model are one entry.
    """
    from .wan.contents import inspect_file
    from .wan.weights_file import PICKLES, SAFETENSORS, weight_files

    found = []
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix not in SAFETENSORS + PICKLES or not path.is_file() or str(path) in seen:
                continue
            entry: dict[str, Any] = {"path": str(path), "bytes": path.stat().st_size, "parts": []}
            try:
                (shards,) = weight_files(path)
                seen.update(shards)
                contents = inspect_file(path)
                entry |= {
                    "bytes": sum(Path(shard).stat().st_size for shard in shards),
                    "parts": list(contents.parts),
                    "holds": contents.describe() + (f" in {len(shards)} shards" if len(shards) > 1 else ""),
                }
            except ModelFileError as error:
                entry["holds"] = f"unreadable: {error.got}"
            found.append(entry)
    return found


def attention_kernel() -> str:
    """The kernel that DiffSynth's attention takes, in its order of preference."""
    for module, name in (
        ("flash_attn_interface", "FlashAttention 3"),
        ("flash_attn", "FlashAttention 2"),
        ("sageattention", "SageAttention"),
    ):
        if util.find_spec(module) is not None:
            return name
    return "torch scaled_dot_product_attention"


def _compute() -> dict[str, Any]:
    import torch

    from .wan.engine import pick_device, pick_dtype

    device = pick_device("auto")
    found = {
        "device": device,
        "weights": str(pick_dtype("auto", device, "")).removeprefix("torch."),
        "attention": attention_kernel(),
        "pose": f"onnxruntime: {', '.join(_providers())}",
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
    }
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        found |= {"name": torch.cuda.get_device_name(), "memory free": free, "memory total": total}
    return found


def _providers() -> tuple[str, ...]:
    from .errors import MissingPackageError
    from .onnxnet import available_providers

    try:
        return available_providers()
    except MissingPackageError:
        return ("not installed",)


def _video() -> dict[str, bool]:
    import av

    return {name: name in av.codecs_available for name in ("libx264", "ffv1", "h264", "vp9")}


def _known(entry: Any) -> dict[str, str]:
    path = find_model(entry.name)
    state = "missing"
    if path is not None:
        try:
            verify_model(path, entry)
            state = "found"
        except ModelFileError as error:
            state = f"damaged: {error.got}"
    return {
        "name": entry.name,
        "file": entry.file,
        "state": state,
        "path": str(path or ""),
        "used by": entry.used_by,
        "get": entry.get,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
