"""The nano model's training: each part at a size that takes seconds, the whole run, and runs that were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from s2v_core.errors import Interrupted, SettingsError, StoreError
from s2v_core.nano.nets import build_nets
from s2v_core.nano.training.config import SHIPPED, NanoTraining, load_config
from s2v_core.nano.training.latents import Latents
from s2v_core.nano.training.loop import learning_rate
from s2v_core.nano.training.material import KINDS, edit, material
from s2v_core.nano.training.muon import orthogonal
from s2v_core.nano.training.run import train_nano
from s2v_core.nano.training.transformer import TransformerTraining
from s2v_core.nano.training.vae import as_pixels, fold, moments, psnr
from s2v_core.nano.words import training_texts, write_tokenizer
from s2v_core.nano.world import caption, held_out, scene
from s2v_core.prompts.template import VARIANTS
from s2v_core.wan.text import encode_text, load_tokenizer
from s2v_core.wan.transformer import predict, prepare

SMALL = {
    "dim": 24,
    "heads": 2,
    "layers": 2,
    "vace_layers": [0],
    "ffn": 32,
    "freq": 16,
    "text_dim": 16,
    "text_ffn": 24,
    "text_heads": 2,
    "text_layers": 1,
    "encoder_dim": 4,
    "decoder_dim": 4,
}


def small(**changes: object) -> NanoTraining:
    """The shipped training at a size that takes seconds."""
    values = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    values |= {"threads": 1, "precision": "float32", "sizes": SMALL}
    values |= {"save_every": 1, "log_every": 2, "check_every": 4, "checked_clips": 1, "start": "", "keep_vae": False}
    values["world"] |= {"clips": 4, "per_file": 2}
    values["vae"] |= {"steps": 6, "crops": [{"share": 1, "batch": 2, "frames": 5, "side": 16}]}
    values["text"] |= {"steps": 6, "batch": 4}
    values["transformer"] |= {"steps": 6, "batch": {1: 2, 3: 2, 5: 2}}
    return NanoTraining.model_validate(values | changes)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    return material(tmp_path_factory.mktemp("material"), small().world, 0)


def test_the_shipped_file_is_read() -> None:
    config = load_config()
    assert config.transformer.steps > 0 and config.nano_sizes.dim == 160


def test_a_wrong_key_names_the_right_one(tmp_path: Path) -> None:
    values = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    values["vae"]["stepps"] = 3
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(SettingsError, match="steps"):
        load_config(tmp_path / "a.yaml")


def test_material_is_the_world_and_is_not_made_twice(tmp_path: Path, arrays: dict[str, list[np.ndarray]]) -> None:
    config = small()
    again = material(tmp_path, config.world, config.seed)
    for kind in KINDS:
        assert [one.shape[0] for one in again[kind]] == [2, 2]
        for one, other in zip(arrays[kind], again[kind], strict=True):
            assert np.array_equal(one, other)
    (tmp_path / "clip-00000.npy").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if "00002" in path.name}
    material(tmp_path, config.world, config.seed)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items()) and len(before) == 4


def test_edited_references_differ_and_stay_in_training() -> None:
    config = small()
    for number in range(40):
        made = scene(number)
        other, parts = edit(made, config.world, 0)
        assert parts and held_out(other.character, other.motion) == ()
        changed = {
            part for part in config.world.edits if getattr(other.character, part) != getattr(made.character, part)
        }
        assert changed == set(parts)


def test_orthogonal_gives_singular_values_near_one() -> None:
    matrices = torch.randn(3, 12, 30, generator=torch.Generator().manual_seed(0))
    for given in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonal(given))
        assert values.min() > 0.6 and values.max() < 1.3


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = small().vae.optimizer.model_copy(update={"warmup": 10, "decay_from": 0.5, "last": 0.1})
    found = [learning_rate(rates, step, 100) for step in range(101)]
    assert found[0] == pytest.approx(0.1) and found[9:51] == [1.0] * 42
    assert found[75] == pytest.approx(0.55) and found[100] == pytest.approx(0.1)


def test_moments_hold_the_mean_that_the_class_encodes() -> None:
    net = build_nets(small().nano_sizes).vae.model.eval()
    x = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(moments(net, x)[0], net.encode(x, (torch.zeros(16), torch.ones(16))))


def test_folding_fits_wan_s_statistics_and_changes_no_picture() -> None:
    vae = build_nets(small().nano_sizes).vae
    x = torch.rand(1, 3, 17, 32, 32) * 2 - 1
    plain = (torch.zeros(16), torch.ones(16))
    with torch.no_grad():
        before = vae.model.decode(moments(vae.model, x)[0], plain)
        fold(vae, [x])
        latents = vae.model.encode(x, vae.scale)
        after = vae.model.decode(latents, vae.scale)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3, 4)) - 1).abs().max() < 1e-3
    assert (after - before).abs().max() < 1e-3 * before.abs().max()


def test_psnr_of_a_known_error() -> None:
    assert float(psnr(torch.full((2, 3, 1, 4, 4), 0.2))) == pytest.approx(20.0, abs=1e-3)
    assert as_pixels(np.array([[[[[0, 255, 127]]]]], np.uint8)).flatten().tolist() == pytest.approx(
        [-1, 1, -0.0039], abs=1e-3
    )


def test_padding_as_one_is_padding_to_512(tmp_path: Path) -> None:
    config = small()
    nets = build_nets(config.nano_sizes)
    torch.nn.init.normal_(nets.dit.head.head.weight, std=0.1)
    torch.nn.init.normal_(nets.vace.vace_blocks[0].after_proj.weight, std=0.1)
    write_tokenizer(training_texts(8), tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    nets.text_encoder.eval()
    training = TransformerTraining(nets, config, None, tokenizer)  # type: ignore[arg-type]
    texts = ["a dancer in red trousers", "a dancer with long black hair and pale skin on a stage with a blue wall", ""]
    x = torch.randn(3, 16, 2, 4, 4)
    context = torch.randn(3, 96, 2, 4, 4)
    levels = torch.tensor([900.0, 500.0, 20.0])
    with torch.no_grad():
        with training.padding_as_one():
            states = training._states(texts)
            constants = prepare(nets.dit, nets.vace, {"text": states}, context, tuple(x.shape))
            short = predict(nets.dit, nets.vace, constants, "text", x, levels)
        for index, text in enumerate(texts):
            one = slice(index, index + 1)
            states = encode_text(nets.text_encoder, tokenizer, text, "cpu")
            constants = prepare(nets.dit, nets.vace, {"text": states}, context[one], tuple(x[one].shape))
            full = predict(nets.dit, nets.vace, constants, "text", x[one], levels[one])
            assert (short[one] - full).abs().max() < 1e-4 * full.abs().max()


def finished(folder: Path) -> dict[str, bytes]:
    """What a run leaves for its user: weights, tokenizer, and the logs without their times."""
    files = {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "model").rglob("*") if path.is_file()
    }
    for log in ("vae.jsonl", "text.jsonl", "transformer.jsonl"):
        rows = [json.loads(line) for line in (folder / log).read_text(encoding="utf-8").splitlines()]
        files[log] = json.dumps([{key: row[key] for key in row if key != "seconds"} for row in rows]).encode()
    return files


def test_a_run_stopped_anywhere_ends_the_same(tmp_path: Path) -> None:
    config = small()
    train_nano(config, tmp_path / "whole")
    stops = iter([False] * 5 + [True] + [False] * 9 + [True] + [False] * 1000)
    for _ in range(3):
        try:
            train_nano(config, tmp_path / "parts", should_stop=lambda: next(stops))
            break
        except Interrupted:
            continue
    assert finished(tmp_path / "parts") == finished(tmp_path / "whole")


def test_the_decoder_by_itself_leaves_latents_and_transformer_alone(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    config = small()
    train_nano(config, tmp_path / "first")
    vae = config.vae.model_copy(update={"decoder_only": True, "kl": 0.0})
    still = config.transformer.model_copy(update={"steps": 0})
    start = {"start": str(tmp_path / "first" / "model"), "keep_text": True, "vae": vae, "transformer": still}
    train_nano(config.model_copy(update=start), tmp_path / "second")
    for name in ("diffusion_pytorch_model", "models_t5_umt5-xxl-enc-bf16"):
        one, other = ((tmp_path / run / "model" / f"{name}.safetensors").read_bytes() for run in ("first", "second"))
        assert one == other
    old, new = (load_file(tmp_path / run / "model" / "Wan2.1_VAE.safetensors") for run in ("first", "second"))
    changed = {key.split(".")[0] for key in old if not torch.equal(old[key], new[key])}
    assert changed == {"conv2", "decoder"}
    assert not (tmp_path / "second" / "transformer.pt").exists()


@pytest.mark.parametrize(("edited", "misled", "true"), [(1.0, 0.0, True), (0.0, 1.0, False)])
def test_who_is_right_where_caption_and_reference_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: float, misled: float, true: bool
) -> None:
    config = small()
    part = config.transformer.model_copy(
        update={"edited": edited, "misled": misled, "reference": 1.0, "no_text": 0.0, "short_text": 0.0}
    )
    config = config.model_copy(update={"transformer": part})
    kinds = {kind: torch.full((4, 16, 5, 2, 2), float(number)) for number, kind in enumerate(KINDS)}
    kinds |= {kind: kinds[kind][:, :, :1] for kind in ("reference", "edited")}
    training = TransformerTraining(
        build_nets(config.nano_sizes), config, Latents(kinds, torch.zeros(1, 16, 5, 2, 2)), None
    )
    seen: list[tuple[torch.Tensor, list[str]]] = []

    def error(clip: torch.Tensor, control: torch.Tensor, front: torch.Tensor, texts: list[str], *more: object):
        seen.append((front, texts))
        return torch.zeros(len(texts))

    monkeypatch.setattr(training, "_error", error)
    training.loss(0)
    (front, texts), *_ = seen
    assert (front == KINDS.index("edited" if true else "reference")).all()
    told = {caption(scene(n).character, scene(n).motion, variant=v).text for n in range(4) for v in VARIANTS}
    assert [text in told for text in texts] == [true] * len(texts)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    config = small()
    train_nano(config, tmp_path, until="vae")
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(StoreError, match="other settings"):
        train_nano(other, tmp_path, until="vae")


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "training.yaml"
    file.write_text(yaml.safe_dump(small().model_dump(mode="json")), encoding="utf-8")
    call = [sys.executable, "-m", "s2v_core.cli", "nano", "train", "--config", str(file), "--out"]
    subprocess.run([*call, str(tmp_path / "whole")], check=True, capture_output=True)

    def rows() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "killed").glob("*.pt"))

    for _ in range(5):
        before, run = rows(), subprocess.Popen([*call, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
        while run.poll() is None and rows() == before:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL) if run.poll() is None else None
        run.wait()
    subprocess.run([*call, str(tmp_path / "killed")], check=True, capture_output=True)
    assert finished(tmp_path / "killed") == finished(tmp_path / "whole")
