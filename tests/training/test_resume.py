"""A training that is killed again and again ends with the same bytes as one that is left alone."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.training.result import CHECKPOINT, LOG, RESULT
from s2v_core.training.state import Log, load_state, save_state
from s2v_core.wan.engine import ModelFiles
from tests.training.train_process import STEPS, start, train

KILLED_AFTER = (2, 7, 8, 15, 20)  # steps; a checkpoint, a scored step and what is between them


def steps_in(log: Path) -> int:
    return len([line for line in Log(log).read() if "loss" in line])


@pytest.mark.slow
def test_kills_leave_no_trace(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(toy_set, tiny, whole)
    kills = 0
    for wanted in KILLED_AFTER:
        process = start(train, toy_set, tiny, broken)
        deadline = time.monotonic() + 300
        while steps_in(broken / LOG) < wanted:
            assert process.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert not (broken / RESULT).exists()
    assert kills == len(KILLED_AFTER)
    process = start(train, toy_set, tiny, broken)
    process.join(300)
    assert process.exitcode == 0

    for name in (RESULT, CHECKPOINT, "config.json", *(f"loras/step-0000{n:02}.safetensors" for n in (8, 16, 24))):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert [without_time(line) for line in Log(broken / LOG).read()] == [
        without_time(line) for line in Log(whole / LOG).read()
    ]
    assert steps_in(broken / LOG) == STEPS


def without_time(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if name != "seconds"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=30), st.integers(0, 30), st.binary(max_size=30))
def test_a_log_is_rewound_to_whole_lines(tmp_path_factory, steps: list[int], step: int, torn: bytes) -> None:
    log = Log(tmp_path_factory.mktemp("log") / "log.jsonl")
    for number in steps:
        log.write({"step": number, "loss": 0.5, "text": "ä\n"})
    if steps:
        with log.path.open("ab") as stream:
            stream.write(torn.replace(b"\n", b""))
    wanted = [number for number in steps if number <= step]
    assert [line["step"] for line in log.rewind(step)] == wanted
    log.write({"step": 99})
    assert [line["step"] for line in log.read()] == [*wanted, 99]
    if steps:
        assert all(json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines())


def test_a_checkpoint_brings_back_every_number(tmp_path: Path) -> None:
    def make() -> tuple[dict[str, torch.nn.Parameter], torch.optim.AdamW]:
        generator = torch.Generator().manual_seed(0)
        table = {name: torch.nn.Parameter(torch.randn(3, 4, generator=generator)) for name in ("a", "b")}
        return table, torch.optim.AdamW(table.values(), lr=0.1)

    def learn(table: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW, steps: range) -> None:
        for step in steps:
            for number, value in enumerate(table.values()):
                value.grad = torch.full_like(value, 0.1 * (step + number)) * value.detach()
            optimizer.step()

    one, optimizer = make()
    learn(one, optimizer, range(4))
    save_state(tmp_path / "state.safetensors", 4, one, optimizer, {"kept": 2})
    learn(one, optimizer, range(4, 8))
    other, fresh = make()
    assert load_state(tmp_path / "state.safetensors", other, fresh) == (4, {"kept": 2})
    learn(other, fresh, range(4, 8))
    assert all(torch.equal(one[name], other[name]) for name in one)
