"""Trainings in processes of their own, to be killed. They fork from a server that has imported everything once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from s2v_core.training.settings import TrainSettings
from s2v_core.wan.engine import ModelFiles

STEPS = 24
SETTINGS = TrainSettings(
    rank=4, steps=STEPS, learning_rate=0.01, batch=2, reference_share=0.5, warmup=3, decay="cosine", save_every=1,
    score_every=8, deterministic=True, seed=9,
)  # fmt: skip

TOGETHER = TrainSettings(rank=4, steps=3, learning_rate=0.01, batch=2, file_dtype="float32")


def score(step: int, file: Path) -> dict[str, float]:
    return {"step again": float(step)}


def train(dataset: Path, files: ModelFiles, out: Path) -> None:
    from s2v_core.training.lora import train_lora

    train_lora(dataset, files, out, SETTINGS, device="cpu", dtype="float32", score=score)


def train_together(index: int, count: int, port: int, dataset: Path, files: ModelFiles, out: Path) -> None:
    """One of several processes that train together, as ``accelerate launch`` starts them."""
    from s2v_core.training.lora import train_lora

    os.environ |= {
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    train_lora(dataset, files, out, TOGETHER, device="cpu", dtype="float32")


def command_line(arguments: list[str], stdout: Path) -> None:
    from s2v_core.cli import app

    with stdout.open("w") as sys.stdout:
        app(arguments)


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("needs SIGKILL and fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["s2v_core.training.module", "s2v_core.training.lora", "s2v_core.cli", "peft"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process
