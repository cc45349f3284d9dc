from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from s2v_core.errors import Interrupted, LoraError, SettingsError, StoreError
from s2v_core.files import sha256_file
from s2v_core.training import events
from s2v_core.training.latents import Sample, encode_set, picture_settings
from s2v_core.training.lora import TrainResult, train_lora
from s2v_core.training.manifest import read_manifest
from s2v_core.training.module import LoraModule, seeded
from s2v_core.training.presets import select_layers
from s2v_core.training.result import read_origin, write_lora
from s2v_core.training.settings import TrainSettings
from s2v_core.wan import transformer
from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.engine import ModelFiles
from s2v_core.wan.lora import applied, match
from s2v_core.wan.lora_file import load_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.settings import LoraUse

Train = Callable[..., TrainResult]


@pytest.fixture(scope="module")
def nets(tiny: ModelFiles) -> tuple[Any, Any]:
    dit, vace = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    return dit, vace


@pytest.fixture(scope="module")
def sample(toy_set: Path, tiny: ModelFiles) -> Sample:
    manifest = read_manifest(toy_set)
    pictures = picture_settings(manifest, TrainSettings())
    return encode_set(manifest, tiny, pictures, device="cpu", dtype=torch.float32).load(0)


def predict(both: tuple[Any, Any], sample: Sample, time: float = 600.0) -> torch.Tensor:
    noise = torch.randn(sample.latents.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        constants = transformer.prepare(
            *both, {"": sample.context}, sample.vace_context, tuple(noise.shape), sample.references
        )
        return transformer.predict(*both, constants, "", noise, torch.tensor([time]))


def loss_with(both: tuple[Any, Any], sample: Sample, path: Path | None) -> float:
    """The flow-matching error at fixed noise and four noise levels, without weights, through the engine's own LoRAs."""
    total = 0.0
    uses = [(load_lora(path), LoraUse(str(path)))] if path else []
    noise = torch.randn(sample.latents.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad(), applied(both, uses):
        constants = transformer.prepare(
            *both, {"": sample.context}, sample.vace_context, tuple(noise.shape), sample.references
        )
        for sigma in (0.3, 0.6, 0.9, 1.0):
            latents = (1 - sigma) * sample.latents + sigma * noise
            found = transformer.predict(*both, constants, "", latents, torch.tensor([sigma * 1000]))
            total += float((found - (noise - sample.latents)).square().mean()) / 4
    return total


def test_a_clip_is_learned_and_the_file_has_learned_it(
    toy_set: Path, tiny: ModelFiles, nets, sample: Sample, tmp_path: Path
) -> None:
    """Overfitting one clip: the loss falls, and it falls as much through the written file in our engine."""
    lines = (toy_set / "metadata.csv").read_text().splitlines()
    table = toy_set / "one.csv"
    table.write_text("\n".join(lines[:2]) + "\n")
    settings = TrainSettings(preset="article", rank=8, steps=60, learning_rate=0.01, batch=2)
    losses: list[float] = []
    made = train_lora(
        table, tiny, tmp_path, settings, device="cpu", dtype="float32",
        on_event=lambda event: losses.append(event.loss) if isinstance(event, events.Trained) else None,
    )  # fmt: skip
    assert len(losses) == 60
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])
    before, after = loss_with(nets, sample, None), loss_with(nets, sample, made.file)
    assert after < 0.7 * before


def test_the_file_loads_with_all_keys_and_is_exact_at_zero(train: Train, nets, sample: Sample) -> None:
    made = train()
    lora, origin = load_lora(made.file), read_origin(made.file)
    matched = match(lora, model_layers(nets))
    assert not matched.unmatched
    assert len(matched.changes) == 4 * 6
    assert {name.removesuffix(".weight") for name in load_file(made.file)} == {
        f"blocks.{block}.{layer}.lora_{half}.default"
        for block in range(4)
        for layer in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "ffn.0", "ffn.2")
        for half in "AB"
    }
    assert all(value.dtype == torch.bfloat16 for value in load_file(made.file).values())
    assert made.parameters == sum(value.numel() for value in load_file(made.file).values())
    base = predict(nets, sample)
    found = {}
    for strength in (0.0, 0.5, 1.0):
        with applied(nets, [(lora, LoraUse(str(made.file), strength))]):
            found[strength] = predict(nets, sample)
    assert torch.equal(found[0.0], base)
    sizes = [float((found[strength] - base).norm() / base.norm()) for strength in (0.5, 1.0)]
    assert 0.001 < sizes[0] < sizes[1]
    assert torch.equal(predict(nets, sample), base)
    assert (origin["rank"], origin["alpha"], origin["preset"], origin["steps"]) == (4, 4.0, "article", 6)


def test_the_file_says_where_it_comes_from(train: Train, tiny: ModelFiles, toy_set: Path) -> None:
    made = train(preset="self-attention", alpha=2)
    origin = read_origin(made.file)
    assert origin["base"] == sha256_file(tiny.transformer)
    assert origin["dataset"] == read_manifest(toy_set).sha256()
    assert (origin["alpha"], origin["pictures"]) == (2.0, {"width": 64, "height": 48, "frames": 9})
    config = json.loads((made.file.parent / "config.json").read_text())
    assert TrainSettings.from_dict(config["settings"]) == TrainSettings(
        preset="self-attention", alpha=2, rank=4, steps=6, learning_rate=0.01
    )
    assert config["layers"] == [f"blocks.{block}.self_attn.{name}" for block in range(4) for name in "qkvo"]
    with pytest.raises(LoraError, match="does not say how it was trained"):
        read_origin(tiny.transformer)


@pytest.mark.parametrize(("preset", "alpha"), [("article", 8.0), ("vace", 0.0), ("cross_attn.k,before_proj", 1.0)])
def test_the_file_does_what_the_training_saw(
    tiny: ModelFiles, nets, sample: Sample, tmp_path: Path, preset: str, alpha: float
) -> None:
    """The trained module's own forward, and the file on the base model: alpha is in it, whoever reads it."""
    dit, vace = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    settings = TrainSettings(preset=preset, rank=4, alpha=alpha, file_dtype="float32")
    module = LoraModule(dit, vace, select_layers({"dit": dit, "vace": vace}, preset), settings, False)
    with seeded(0, "test"), torch.no_grad():
        for value in module.trained().values():
            value.normal_(std=0.2)
    config = {"model": {"transformer": "x"}, "dataset": {"sha256": "y"}, "pictures": {}}
    write_lora(tmp_path / "lora.safetensors", module.lora_tensors(settings.scale), 1, settings, config)
    use = LoraUse(str(tmp_path / "lora.safetensors"))
    with applied(nets, [(load_lora(use.file), use)]):
        found = predict(nets, sample)
    wanted, base = predict((module.dit, module.vace), sample), predict(nets, sample)
    assert (wanted - base).norm() > 0.01 * base.norm()
    assert (found - wanted).norm() < 1e-5 * (wanted - base).norm()


def test_the_base_model_is_never_changed(tiny: ModelFiles, sample: Sample) -> None:
    dit, vace = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    before = {name: value.clone() for net in (dit, vace) for name, value in net.state_dict().items()}
    settings = TrainSettings(rank=4)
    module = LoraModule(dit, vace, select_layers({"dit": dit, "vace": vace}, "article"), settings, False)
    module(sample).backward()
    torch.optim.AdamW(list(module.trained().values()), lr=0.1).step()
    after = {
        name.replace(".base_layer", ""): value
        for net in (module.dit, module.vace)
        for name, value in net.state_dict().items()
        if "lora_" not in name
    }
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_bfloat16_trains_with_a_lora_in_float32(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    settings = TrainSettings(rank=4, steps=2, learning_rate=1e-5, file_dtype="float32", checkpointing="on")
    made = train_lora(toy_set, tiny, tmp_path, settings, device="cpu", dtype="bfloat16")
    changes = [value for name, value in load_file(made.file).items() if "lora_B" in name]
    # Steps of 1e-5 are kept: bfloat16 would lose them beside numbers of ordinary size.
    assert all(value.dtype == torch.float32 and 0 < value.abs().max() < 1e-4 for value in changes)
    with pytest.raises(SettingsError, match="float16"):
        train_lora(toy_set, tiny, tmp_path / "half", settings, device="cpu", dtype="float16")


def test_a_stopped_training_goes_on_as_if_nothing_had_been(train: Train) -> None:
    whole = train("whole", batch=2, reference_share=0.5)
    told: list[Any] = []

    def should_stop() -> bool:
        return sum(isinstance(event, events.Trained) for event in told) == 3

    with pytest.raises(Interrupted, match="after 3 of 6 steps"):
        train("broken", batch=2, reference_share=0.5, call={"should_stop": should_stop, "on_event": told.append})
    seen: list[int] = []
    torch.manual_seed(77)  # the global random state means nothing to it
    made = train(
        "broken", batch=2, reference_share=0.5, save_every=2,
        call={"on_event": lambda event: seen.append(event.step) if isinstance(event, events.Trained) else None},
    )  # fmt: skip
    assert seen == [4, 5, 6]
    for name in ("lora.safetensors", "checkpoint.safetensors"):
        assert (made.file.parent / name).read_bytes() == (whole.file.parent / name).read_bytes(), name


def test_a_longer_training_goes_on_from_a_finished_one(train: Train) -> None:
    longer = train("long", steps=8)
    train("out", steps=5)
    assert train("out", steps=8).file.read_bytes() == longer.file.read_bytes()
    lines = [json.loads(line) for line in (longer.file.parent / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))


def test_seeds_and_settings_decide(train: Train) -> None:
    one = train("one").file.read_bytes()
    assert train("again").file.read_bytes() == one
    assert len({one, *(train(f"seed{seed}", seed=seed).file.read_bytes() for seed in (1, 2))}) == 3


def test_another_training_in_the_folder_is_an_error(train: Train, tmp_path: Path) -> None:
    train()
    with pytest.raises(SettingsError, match="holds another training") as caught:
        train(seed=3)
    assert "seed 0" in caught.value.expected
    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"no")
    with pytest.raises(StoreError, match="cannot be read"):
        train()
    (tmp_path / "out" / "config.json").unlink()
    with pytest.raises(SettingsError, match="without config"):
        train()


def test_scores_are_kept_and_the_leakage_ends_the_training(train: Train) -> None:
    leak = {2: 0.1, 4: 0.3, 6: 0.7, 8: 0.9}
    files: list[Path] = []

    def score(step: int, file: Path) -> dict[str, float]:
        torch.manual_seed(step)  # whatever a score does with the global random state
        files.append(file)
        return {"leakage": leak[step], "pose": 0.8}

    told: list[Any] = []
    made = train(steps=8, score_every=2, leakage_limit=0.5, call={"score": score, "on_event": told.append})
    assert made.stopped
    assert made.steps == 4
    assert "above 0.5" in made.notes[-1]
    assert [event.scores["leakage"] for event in told if isinstance(event, events.Scored)] == [0.1, 0.3, 0.7]
    assert [file.name for file in files] == [
        "step-000002.safetensors",
        "step-000004.safetensors",
        "step-000006.safetensors",
    ]
    assert made.file.read_bytes() == files[1].read_bytes()
    assert read_origin(made.file)["steps"] == 4
    # Once stopped it stays so; and scoring has not changed what was learned.
    assert train(steps=8, score_every=2, leakage_limit=0.5, call={"score": score}).steps == 4
    assert len(files) == 3
    # With another limit it goes on.
    assert train(steps=8, score_every=2, leakage_limit=0.8, call={"score": score}).steps == 6
    plain = train("plain", steps=4)
    learned, scored = load_file(plain.file), load_file(files[1])
    assert learned.keys() == scored.keys()
    assert all(torch.equal(value, scored[name]) for name, value in learned.items())
    page = (made.file.parent / "curves.html").read_text()
    assert "leakage" in page
    assert (made.file.parent / "curves.png").stat().st_size > 10_000


def test_a_limit_without_its_score_is_an_error(train: Train) -> None:
    with pytest.raises(SettingsError, match="never be called"):
        train(call={"score": lambda step, file: {}})
    with pytest.raises(SettingsError, match="leakage cannot be limited"):
        train(score_every=1, leakage_limit=0.5, call={"score": lambda step, file: {"pose": 1.0}})


def test_a_loss_that_is_no_number_is_noticed(toy_set: Path, tiny: ModelFiles, tmp_path: Path) -> None:
    """A model with a broken number, as a merge in too small a type leaves it."""
    tensors = load_file(tiny.transformer)
    tensors["blocks.1.ffn.0.bias"][3] = float("inf")
    with safe_open(tiny.transformer, "pt") as file:
        save_file(tensors, tmp_path / "broken.safetensors", file.metadata())
    files = replace(tiny, transformer=str(tmp_path / "broken.safetensors"))
    with pytest.raises(SettingsError, match="went wrong in step 1"):
        train_lora(toy_set, files, tmp_path / "out", TrainSettings(rank=2), device="cpu", dtype="float32")
    assert not (tmp_path / "out" / "lora.safetensors").exists()


def test_all_clips_come_once_before_any_comes_again(toy_set: Path, tiny: ModelFiles) -> None:
    from s2v_core.training.lora import _pick

    for seed in range(3):
        order = [_pick(seed, place, 3) for place in range(30)]
        assert all(sorted(order[start : start + 3]) == [0, 1, 2] for start in range(0, 30, 3))
        assert len({tuple(order[start : start + 3]) for start in range(0, 30, 3)}) > 1


def test_the_log_says_which_steps_saw_the_reference(train: Train) -> None:
    made = train(reference_share=0.5)
    lines = [json.loads(line) for line in (made.file.parent / "log.jsonl").read_text().splitlines()]
    assert [line["reference"] for line in lines] == [False, True] * 3
    assert train("blind", reference_share=0).file.read_bytes() != made.file.read_bytes()


def test_a_second_process_is_kept_out(train: Train, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(SettingsError, match="Another process trains"):
        train()


def test_a_batch_must_be_shareable(toy_set: Path, tiny: ModelFiles, tmp_path: Path, monkeypatch) -> None:
    from s2v_core.training import lora
    from s2v_core.training.processes import Processes

    monkeypatch.setattr(lora, "find_processes", lambda device: Processes(0, 2))
    with pytest.raises(SettingsError, match="cannot be shared out"):
        train_lora(toy_set, tiny, tmp_path / "x", TrainSettings(batch=3), device="cpu", dtype="float32")
