from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from s2v_core.sweeps.store import CellStore


def _load(name: str):
    file = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"analysis_tests_{name}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def drawn():
    """The module of the drawn cells."""
    return _load("drawn")


@pytest.fixture(scope="session")
def world(drawn, tmp_path_factory):
    """The folder of a toy world."""
    return drawn.write_people(tmp_path_factory.mktemp("world"))


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture
def lora_file(tmp_path):
    path = tmp_path / "dance.safetensors"
    path.write_bytes(b"a LoRA")
    return path
