"""Providers of onnxruntime. Where no GPU is, a stand-in (the fixture ``fake``) plays an onnxruntime that has CUDA."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core import onnxnet
from s2v_core.errors import MissingPackageError, ModelFileError, SettingsError
from s2v_core.onnxnet import PROVIDERS, OnnxNet, available_providers, provider_order

onnx = pytest.importorskip("onnx", reason="NO ONNX WRITER: run: python -m pip install onnx")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of one operator: doubles its input, any batch."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    path = tmp_path_factory.mktemp("net") / "double.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


class FakeSession:
    """A session of the stand-in: opens on the providers in ``works``, on the CPU otherwise, as the real one does."""

    works: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        if providers[0] in self.fails:
            raise RuntimeError("no device\nand more lines")
        self._provider = providers[0] if providers[0] in self.works else PROVIDERS["cpu"]

    def get_providers(self) -> list[str]:
        return [self._provider]

    def disable_fallback(self) -> None:
        pass

    def get_inputs(self) -> list[Any]:
        return [types.SimpleNamespace(name="x", shape=["n", 2])]

    get_outputs = get_inputs


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """An onnxruntime with CUDA."""
    session = type("Session", (FakeSession,), {"works": (PROVIDERS["cuda"], PROVIDERS["cpu"])})
    module = types.SimpleNamespace(
        get_available_providers=lambda: ["TensorrtExecutionProvider", PROVIDERS["cuda"], PROVIDERS["cpu"]],
        SessionOptions=types.SimpleNamespace,
        InferenceSession=session,
        __version__="0.0",
    )
    monkeypatch.setattr(onnxnet, "_onnxruntime", lambda: module)
    return session


def test_it_runs(file: Path) -> None:
    net = OnnxNet(file, "cpu", threads=1)
    assert (net.provider, net.warning, net.any_batch) == ("cpu", "", True)
    assert net.input_shapes == net.output_shapes == (("n", 2),)
    (doubled,) = net(np.array([[1, 2], [3, 4]], np.float32))
    assert np.array_equal(doubled, [[2, 4], [6, 8]])


def test_auto_takes_what_is_there(file: Path) -> None:
    assert OnnxNet(file).provider == available_providers()[0]
    assert "cpu" in available_providers()


@pytest.mark.parametrize(
    "provider", [name for name in ("cuda", "directml", "coreml") if name not in available_providers()]
)
def test_a_provider_that_is_not_installed(file: Path, provider: str) -> None:
    with pytest.raises(SettingsError, match=f"provider {provider} is not installed") as caught:
        OnnxNet(file, provider)
    assert "onnxruntime" in caught.value.remedy
    with pytest.raises(SettingsError, match="no provider 'tensorrt'"):
        OnnxNet(file, "tensorrt")


def test_files_that_are_no_nets(tmp_path: Path, file: Path) -> None:
    for content in (b"", b"no net", file.read_bytes()[:40]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ModelFileError, match=r"bad\.onnx is not a net"):
            OnnxNet(tmp_path / "bad.onnx")


def test_without_onnxruntime(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match="onnxruntime"):
        OnnxNet(file)


def test_with_cuda(fake: type[FakeSession], file: Path) -> None:
    assert provider_order() == ("cuda", "cpu")
    assert (OnnxNet(file).provider, OnnxNet(file).warning) == ("cuda", "")
    assert OnnxNet(file, "cuda").provider == "cuda"


def test_a_silent_fall_to_the_cpu_is_noticed(
    fake: type[FakeSession], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What onnxruntime does when CUDA's libraries are missing: the session opens, on the CPU."""
    fake.works = (PROVIDERS["cpu"],)
    net = OnnxNet(file)
    assert net.provider == "cpu"
    assert "no faster provider could be used (cuda: onnxruntime gave CPUExecutionProvider instead" in net.warning
    assert net.warning in caplog.text
    with pytest.raises(SettingsError, match="provider cuda cannot compute"):
        OnnxNet(file, "cuda")
    assert OnnxNet(file, "cpu").warning == ""


def test_a_provider_that_fails(fake: type[FakeSession], file: Path) -> None:
    fake.fails = (PROVIDERS["cuda"],)
    assert "cuda: no device)" in OnnxNet(file).warning


def test_a_gpu_that_onnxruntime_cannot_use_is_said(file: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(onnxnet, "_has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(onnxnet, "available_providers", lambda: ("cpu",))
    with caplog.at_level(logging.WARNING):
        assert "Install onnxruntime-gpu" in OnnxNet(file).warning
    assert "onnxruntime-gpu" in caplog.text
    assert OnnxNet(file, "cpu").warning == ""  # who asks for the CPU knows
