from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from s2v_core.wan.engine import ModelFiles
from tests.training.train_process import command_line, start

RUNNER = CliRunner()


def run(*arguments: object) -> tuple[int, dict]:
    found = RUNNER.invoke(app, ["train", *map(str, arguments), "--json"])
    return found.exit_code, json.loads(found.stdout)


def test_a_lora_is_trained_from_the_command_line(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    folder = Path(tiny.transformer).parent
    options = ["--rank", 2, "--steps", 3, "--preset", "self-attention", "--batch", 2, "--alpha", 4, "--device", "cpu"]
    code, said = run("lora", toy_set, "--model", folder, *options, "--out", tmp_path / "out")
    assert code == 0
    assert (said["steps"], said["parameters"], said["stopped early"]) == (3, 4 * 4 * 2 * (48 + 48), False)
    assert Path(said["file"]).is_file()
    assert Path(said["curves"]).is_file()
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["settings"]
    assert (settings["alpha"], settings["preset"]) == (4.0, "self-attention")


def test_the_counts_are_printed_without_a_model(tiny: ModelFiles) -> None:
    code, said = run("count", "--preset", "self_attn.q")
    counts = {(row["model"], row["preset"]): row["parameters"] for row in said["counts"]}
    assert code == 0
    assert counts["Wan2.1-VACE 1.3B", "article"] == 31_948_800
    assert counts["Wan2.1-VACE 1.3B", "self_attn.q"] == 32 * 45 * 2 * 1536
    code, said = run("count", "--rank", 4, "--transformer", tiny.transformer)
    assert code == 0
    assert said["counts"][0]["parameters"] == 4 * 4 * (4 * 96 + 2 * (48 + 96))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "--model", "x"], "no training set"),
        (["nothing"], "model is needed"),
        (["nothing", "--model", "x", "--score", "no.such:thing"], "score function"),
        (["nothing", "--model", "x", "--score", "json"], "score function"),
        (["nothing", "--model", "x", "--preset", "?"], "layers to train"),
    ],
)
def test_errors_are_said(arguments: list[str], said: str) -> None:
    code, found = run("lora", *arguments)
    assert code == 1
    assert said in found["error"]["problem"]


def test_ctrl_c_keeps_the_steps_and_the_same_command_goes_on(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    out, stdout = tmp_path / "out", tmp_path / "stdout"
    options = ["--model", str(Path(tiny.transformer).parent), "--rank", "2", "--out", str(out), "--device", "cpu"]

    def steps() -> int:
        return len((out / "log.jsonl").read_text().splitlines()) if (out / "log.jsonl").is_file() else 0

    process = start(command_line, ["train", "lora", str(toy_set), "--json", "--steps", "100000", *options], stdout)
    deadline = time.monotonic() + 300
    while steps() < 3:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    process.join(300)
    assert process.exitcode == 130
    assert "they are kept" in json.loads(stdout.read_text())["error"]["problem"]
    before = steps()
    code, said = run("lora", toy_set, "--steps", before + 1, *options)
    assert code == 0
    assert said["steps"] == before + 1 == steps()
