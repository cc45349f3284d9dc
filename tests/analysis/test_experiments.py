"""The experiments with the nano model itself: their files, their verdicts, and that a removed effect changes one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

# Bits can only be compared where MKL does not round by the place in memory. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.experiments import METRICS, PEOPLE, experiment_files, run_experiments, write_dancers
from s2v_core.metrics.registry import METRICS as ALL
from s2v_core.nano.score import cases
from s2v_core.nano.world import HELD_OUT, caption, scene
from s2v_core.sweeps.load import load_sweep
from s2v_core.wan.embedded import nano_lora

# One person, few steps and frames, no guidance: half a second a clip.
SMALL = """\
name: small
models: nano
prompt: {{label: detailed, text: "{prompt}"}}
inputs: {{pose: toy/controls/{name}.mkv, reference: toy/references/{name}.png}}
settings: {{steps: 2, guidance: 1, width: 96, height: 96, frames: 5, loras: [{{file: {lora}}}]}}
axes:
  lora_strength: [0, 2]
  seed: [0, 1, 2]
out: .
"""


def small(folder: Path, lora: Path | str) -> Path:
    made = scene(PEOPLE[0], held=HELD_OUT)
    text = SMALL.format(prompt=caption(made.character, made.motion).text, name=made.motion, lora=lora)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"small-{Path(lora).stem.replace(':', '-')}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def verdicts(folder: Path) -> dict[str, dict]:
    return {said["claim"]: said for said in json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))}


def kept(folder: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in folder.glob("cells/*/scores.json")}


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """The small experiment with the shipped LoRA of the biased set."""
    folder = tmp_path_factory.mktemp("biased")
    return folder, run_experiments(folder / "out", files=[small(folder, "nano:article")])


def test_more_of_the_lora_leaks_more(biased):
    folder, said = biased
    assert (said["cells named"], said["computed"], said["failed"]) == (6, 6, {})
    found = verdicts(folder / "out")["LoRA strength and leakage"]
    assert (found["verdict"], found["n"], found["cells"], found["toy truth"]) == ("supported", 3, 6, True)
    assert found["parts"][0]["metric"] == "toy_leakage" and found["parts"][0]["low"] > 0.05
    assert verdicts(folder / "out")["guidance and likeness"]["verdict"] == "not tested"
    assert said["claims"]["LoRA strength and leakage"] == "supported"
    index = Path(said["report"]).read_text(encoding="utf-8")
    assert "Supported" in index and 'href="small-nano-article.html"' in index and "3 seeds, 6 clips" in index
    scores = json.loads(next(iter(kept(folder / "out").values())))["scores"]
    assert set(scores) == set(METRICS)


def test_a_lora_of_zeros_leaks_nothing(biased, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(nano_lora("article"), "pt") as file:
        tensors = {key: file.get_tensor(key).zero_() for key in file.keys()}  # noqa: SIM118 (it is no dictionary)
        save_file(tensors, tmp_path / "zeros.safetensors", metadata=file.metadata())
    # The base model's cells are there already.
    shutil.copytree(biased[0] / "out", tmp_path / "out")
    said = run_experiments(tmp_path / "out", files=[small(tmp_path, tmp_path / "zeros.safetensors")])
    assert (said["computed"], said["reused"]) == (3, 3)
    found = verdicts(tmp_path / "out")["LoRA strength and leakage"]
    assert found["verdict"] == "not supported"
    assert (found["parts"][0]["effect"], found["parts"][0]["high"]) == (0.0, 0.0)


def test_two_runs_end_with_the_same_bytes_and_a_second_call_computes_nothing(biased, tmp_path):
    folder, _ = biased
    other = run_experiments(tmp_path / "out", files=[small(tmp_path, "nano:article")])
    assert other["computed"] == 6
    assert kept(tmp_path / "out") == kept(folder / "out") and len(kept(folder / "out")) == 6
    for name in ("verdicts.json", "verdicts.md"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()
    again = run_experiments(folder / "out", files=[small(folder, "nano:article")])
    assert (again["computed"], again["reused"]) == (0, 6)


def test_every_experiment_is_about_the_same_dancers(tmp_path):
    write_dancers(tmp_path / "toy")
    people = {}
    for number in PEOPLE:
        made = scene(number, held=HELD_OUT)
        variants = {kind: caption(made.character, made.motion, variant=kind).text
                    for kind in ("detailed", "lighting", "identity")}  # fmt: skip
        people[str(made.motion)] = variants
    assert set(PEOPLE) <= {made.seed for made, _ in cases(15)}, "trousers and wall are far from the training set's"
    shared = set()
    for file in experiment_files():
        (tmp_path / file.name).write_bytes(file.read_bytes())
        loaded = load_sweep(tmp_path / file.name)
        sweep = loaded.sweep()
        parts = {part.name: part.values for axis in sweep.axes for part in axis.parts}
        assert parts["seed"] == (0, 1, 2)
        for prompt, reference in zip(parts["prompt"], parts["reference"], strict=True):
            assert prompt.text == people[Path(reference[0]).stem][prompt.variant]
        places = [Path(pose.file) for pose in parts["pose"]] + [Path(one[0]) for one in parts["reference"]]
        assert all(place.is_file() for place in places)
        shared.add((loaded.negative, sweep.settings.steps, sweep.settings.guidance))
    assert len(shared) == 1
    assert {file.name for file in experiment_files()} == {
        path.name for path in experiment_files()[0].parent.glob("*.yaml")
    }


def test_the_metrics_of_the_experiments_need_no_clock():
    assert all("provenance" not in ALL[name].needs for name in METRICS)
