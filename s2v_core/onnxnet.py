"""onnxruntime: opening an ``.onnx`` net on a provider that is really used, and saying which one that is."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MissingPackageError, ModelFileError, SettingsError

# Our names of onnxruntime's providers, the fastest first.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
PROVIDER_CHOICES = ("auto", *PROVIDERS)
# The package that brings each provider.
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "coreml": "onnxruntime",
    "cpu": "onnxruntime",
}

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class OnnxNet:
    """One loaded net. ``provider``: the key of ``PROVIDERS`` that computes. ``warning``: why it is a slow one."""

    def __init__(self, path: Path, provider: str = "auto", *, threads: int = 0) -> None:
        """Open a file. ``threads`` of the CPU provider, 0: as many as onnxruntime takes.

        "auto" takes the fastest provider that opens the net and warns when that is the CPU although a GPU is there.
        A provider that was named is the only one tried.

        Raises SettingsError for a provider that does not exist or cannot be used here, MissingPackageError without
        onnxruntime, ModelFileError for a file that is not a net.
        """
        names = provider_order(provider)
        failures = {}
        for name in names:
            try:
                self._session = _open(path, name, threads)
            except _NotUsable as error:
                failures[name] = str(error)
                continue
            self.provider = name
            break
        else:
            raise SettingsError(
                f"The provider {provider} cannot compute {path.name}.",
                expected=f"a provider that opens it: {', '.join(available_providers())}",
                got="; ".join(f"{name}: {reason}" for name, reason in failures.items()),
                remedy="Choose auto, or mend the provider's installation (its libraries must fit onnxruntime).",
            )
        self.warning = _slower_than_expected(self.provider, failures) if provider == "auto" else ""
        if self.warning:
            _log.warning("%s", self.warning)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.input_shapes = tuple(tuple(entry.shape) for entry in inputs)
        self.output_shapes = tuple(tuple(entry.shape) for entry in outputs)
        self._input = inputs[0].name
        self._outputs = [entry.name for entry in outputs]

    @property
    def any_batch(self) -> bool:
        """Whether the first axis of the input is free."""
        return not isinstance(self.input_shapes[0][0], int)

    def __call__(self, tensor: Array) -> list[Array]:
        """Run once on a float32 tensor of the input's shape; the outputs in the order of the file."""
        outputs: list[Array] = self._session.run(self._outputs, {self._input: tensor})
        return outputs


class _NotUsable(Exception):
    """A provider that is not there, or gave way to another one."""


def provider_order(provider: str = "auto") -> tuple[str, ...]:
    """The providers to try, in this order: the one that was named, or all that are installed.

    Raises SettingsError for a name that does not exist or a provider that is not installed.
    """
    if provider not in PROVIDER_CHOICES:
        raise SettingsError(
            f"There is no provider {provider!r}.", expected=f"one of {', '.join(PROVIDER_CHOICES)}", got=provider
        )
    installed = available_providers()
    if provider == "auto":
        return installed
    if provider not in installed:
        raise SettingsError(
            f"The provider {provider} is not installed.",
            expected=f"one of {', '.join(installed)} (what this onnxruntime has), or auto",
            got=provider,
            remedy=f"Install {_PACKAGES[provider]} in place of onnxruntime, in this Python's environment.",
        )
    return (provider,)


def available_providers() -> tuple[str, ...]:
    """Keys of ``PROVIDERS`` that the installed onnxruntime has, the fastest first. Raises MissingPackageError."""
    found = _onnxruntime().get_available_providers()
    return tuple(name for name, official in PROVIDERS.items() if official in found)


def onnxruntime_version() -> str:
    """The version of the onnxruntime that is imported. Raises MissingPackageError."""
    return str(_onnxruntime().__version__)


def _open(path: Path, name: str, threads: int) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # what matters is said by us
    if threads:
        options.intra_op_num_threads = threads
    wanted = PROVIDERS[name]
    if wanted not in runtime.get_available_providers():
        raise _NotUsable("not installed")
    try:
        # Operators that the provider lacks still run on the CPU; the provider itself is not swapped.
        session = runtime.InferenceSession(str(path), options, providers=[wanted])
    except (
        Exception
    ) as error:  # onnxruntime raises many kinds, all of them direct children of Exception or RuntimeError
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if name != "cpu":
            raise _NotUsable(reason) from error
        raise ModelFileError(
            f"{path} is not a net that onnxruntime can open.",
            expected="a complete .onnx file",
            got=reason,
            remedy="Get the file again.",
        ) from error
    # When a provider's libraries are missing, onnxruntime opens a session on the CPU and leaves a line in the log.
    if session.get_providers()[0] != wanted:
        raise _NotUsable(f"onnxruntime gave {session.get_providers()[0]} instead; the provider's libraries are missing")
    session.disable_fallback()  # a failure on the GPU must not become a slow success on the CPU
    return session


def _slower_than_expected(provider: str, failures: dict[str, str]) -> str:
    if provider != "cpu":
        return ""
    if failures:
        tried = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        return f"The pose nets run on the CPU, because no faster provider could be used ({tried})."
    if _has_nvidia_gpu():
        return (
            "The pose nets run on the CPU, though this machine has an NVIDIA GPU: onnxruntime has no CUDA provider. "
            "Install onnxruntime-gpu in place of onnxruntime."
        )
    return ""


def _has_nvidia_gpu() -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda"):
        return bool(torch.cuda.is_available())
    return os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi") is not None  # noqa: PTH110


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            "DWPose needs the package onnxruntime, which cannot be imported.",
            expected="onnxruntime 1.17 or newer (onnxruntime-gpu on NVIDIA, onnxruntime-directml on Windows)",
            got=str(error),
            remedy='Run: python -m pip install "onnxruntime>=1.17"',
        ) from error
    return onnxruntime
