"""Two processes on a CPU, joined by gloo, learn what one does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from s2v_core.training.lora import train_lora
from s2v_core.training.processes import Processes, find_processes
from s2v_core.training.state import Log
from s2v_core.wan.engine import ModelFiles
from tests.training.train_process import TOGETHER, start, train_together


def test_one_process_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = find_processes()
    assert alone == Processes(0, 1, None)
    assert alone.first
    assert (alone.total(0.5), alone.any(True), alone.any(False)) == (0.5, True, False)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    alone = train_lora(toy_set, tiny, tmp_path / "alone", TOGETHER, device="cpu", dtype="float32")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = tmp_path / "together"
    running = [start(train_together, index, 2, port, toy_set, tiny, out) for index in range(2)]
    for process in running:
        process.join(400)
    assert [process.exitcode for process in running] == [0, 0]
    one, two = load_file(alone.file), load_file(out / "lora.safetensors")
    assert one.keys() == two.keys()
    # The sums are taken in another order.
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    losses = [[line["loss"] for line in Log(folder / "log.jsonl").read()] for folder in (tmp_path / "alone", out)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert len(losses[1]) == 3
