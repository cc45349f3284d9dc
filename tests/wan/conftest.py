import os
from fractions import Fraction

import numpy as np
import pytest

# On some processors MKL rounds differently for weights that lie differently in memory (those that were mapped from a
# file, those that were copied). Bits can only be compared when it does not. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.prompts.prompt import Prompt
from s2v_core.video.clip import Clip
from s2v_core.wan.settings import SampleSettings


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    from s2v_core.wan.tiny import build_tiny

    return build_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_lora(tiny, tmp_path_factory):
    from s2v_core.wan.tiny import build_tiny_lora

    return str(build_tiny_lora(tiny, tmp_path_factory.mktemp("lora") / "style.safetensors"))


@pytest.fixture(scope="session")
def engine(tiny):
    from s2v_core.wan.engine import load_engine

    return load_engine(tiny, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def pipeline(tiny):
    from tests.wan.pipeline_twin import load_pipeline

    return load_pipeline(tiny)


@pytest.fixture(scope="session")
def prompt():
    return Prompt("A man is dancing on a stage, full body.", "blurry, low quality, static")


@pytest.fixture(scope="session")
def settings():
    return SampleSettings(steps=3, guidance=5.0, seed=7, width=64, height=48, frames=9, precision="diffsynth")


@pytest.fixture(scope="session")
def control():
    """A bright bar that walks over a black ground."""
    frames = np.zeros((9, 48, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[8:40, 4 + 6 * index : 8 + 6 * index] = (255, 80, index * 20)
    return Clip(frames, Fraction(16))


@pytest.fixture(scope="session")
def reference():
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([columns * 3, rows * 5, (rows + columns) * 2], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def inputs():
    """Latents, two prompts, control and time, of random numbers."""
    import torch

    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(1, 16, 2, 4, 6, generator=generator)
    contexts = {side: torch.randn(1, 12, 32, generator=generator) for side in ("positive", "negative")}
    return latents, contexts, torch.randn(1, 96, 2, 4, 6, generator=generator), torch.tensor([700.0])


@pytest.fixture
def folder(tmp_path):
    """Where text states and latents are kept."""
    return tmp_path / "kept"


@pytest.fixture
def loaded(tiny, folder):
    """Gives an engine as a new run has it."""
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.kept import Kept

    return lambda **how: load_engine(tiny, device="cpu", **{"dtype": "float32", "kept": Kept(folder), **how})


@pytest.fixture
def encoded(monkeypatch):
    """What is encoded from now on."""
    from s2v_core.wan import text_states, vace

    calls = []
    for place, name in ((text_states, "encode_text"), (vace, "encode")):
        made = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, _made=made, _name=name: calls.append(_name) or _made(*a))
    return calls


@pytest.fixture
def own_model(tmp_path):
    """A tiny model whose files may be spoiled."""
    from s2v_core.wan.tiny import build_tiny

    return build_tiny(tmp_path / "model")
