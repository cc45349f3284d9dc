"""A tiny Wan-VACE and a small set of toy clips, made once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# As in tests/wan: bits can only be compared when MKL does not look at where numbers lie. Read before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.nano.write import write_world
from s2v_core.training.lora import TrainResult, train_lora
from s2v_core.training.settings import TrainSettings
from s2v_core.wan.engine import ModelFiles
from s2v_core.wan.tiny import build_tiny

SIZE, FRAMES = (64, 48), 9


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def toy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 9 frames, 64 x 48."""
    return write_world(tmp_path_factory.mktemp("toys"), 3, size=SIZE, frames=FRAMES).parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for these tests, so that they see an empty one."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2V_CACHE", str(folder))
        yield folder


@pytest.fixture
def train(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> Callable[..., TrainResult]:
    """``train_lora`` on the toy set into ``tmp_path / name``; settings by name."""

    def run(name: str = "out", *, call: dict[str, Any] | None = None, **settings: Any) -> TrainResult:
        chosen = TrainSettings(**{"rank": 4, "steps": 6, "learning_rate": 0.01, **settings})
        return train_lora(toy_set, tiny, tmp_path / name, chosen, device="cpu", dtype="float32", **(call or {}))

    return run
