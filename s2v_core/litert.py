"""LiteRT, the small runtime for ``.tflite`` nets: opening a file or its bytes, with errors that a user can follow."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MissingPackageError, ModelFileError


class LiteRTNet:
    """One loaded net with one input. Calling it gives the outputs in the order of the file."""

    def __init__(self, model: Path | bytes, *, threads: int = 1, name: str = "") -> None:
        """Open a file or its bytes.

        Raises MissingPackageError when LiteRT is not installed, and ModelFileError when this is not a ``.tflite`` net.
        """
        interpreter_class = _interpreter_class()
        name = name or (str(model) if isinstance(model, Path) else "This data")
        source = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
        try:
            self._interpreter = interpreter_class(num_threads=threads, **source)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(
                f"{name} is not a net that LiteRT can open.",
                expected="a .tflite file",
                got=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="Get the file again.",
            ) from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.input_shapes = tuple(tuple(int(n) for n in detail["shape"]) for detail in inputs)
        self.output_shapes = tuple(tuple(int(n) for n in detail["shape"]) for detail in outputs)
        self._input = inputs[0]["index"]
        self._outputs = [detail["index"] for detail in outputs]

    def __call__(self, tensor: np.ndarray) -> list[np.ndarray]:
        """Run once on a float32 tensor of the input's shape; the outputs are copies."""
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def litert_version() -> str:
    """The installed version of LiteRT, or "" when it is not installed."""
    try:
        return metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        return ""


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingPackageError(
            "BlazePose needs the package ai-edge-litert, which cannot be imported.",
            expected="ai-edge-litert 2.0 or newer (Linux, Windows, and macOS on Apple silicon)",
            got=str(error),
            remedy='Run: python -m pip install "ai-edge-litert>=2.0"',
        ) from error
    return Interpreter
