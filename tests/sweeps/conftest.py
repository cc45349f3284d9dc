from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.store import CellStore
from s2v_core.wan.settings import SampleSettings

HERE = Path(__file__).parent
TINY = SampleSettings(steps=2, width=32, height=16, frames=5)


def _load(name: str):
    spec = importlib.util.spec_from_file_location(f"sweeps_tests_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pictures():
    """The module of the cheap test renderer."""
    return _load("picture_renderer")


@pytest.fixture
def renderer(pictures):
    return pictures.PictureRenderer()


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture(scope="session")
def tiny():
    """Settings that render in no time."""
    return TINY


@pytest.fixture
def sweep():
    """Three guidances by two seeds."""
    axes = (make_axis("guidance", [1, 2, 3]), make_axis("seed", [0, 1]))
    return Sweep(Prompt("a dancer", "blurry"), TINY, axes, name="three by two")


@pytest.fixture
def lora_file(tmp_path):
    path = tmp_path / "dance.safetensors"
    path.write_bytes(b"a LoRA")
    return path
