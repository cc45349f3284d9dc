"""The engine with models in every form: what it loads, what identifies it, and how loading is followed and stopped."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import Interrupted, ModelFileError
from s2v_core.files import sha256_file
from s2v_core.wan.contents import weights_sha256
from s2v_core.wan.engine import ModelFiles, load_engine, pick_dtype
from tests.wan import other_layouts


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A whole model in the diffusers layout, its transformer and text encoder in shards."""
    return other_layouts.write_diffusers(tmp_path_factory.mktemp("model"), shard="60KB").folder


def everywhere(folder):
    return ModelFiles(str(folder), str(folder), str(folder))


def test_a_folder_of_diffusers_is_an_engine(sharded, prompt, settings, control, reference):
    from s2v_core.wan.decoding import decode
    from s2v_core.wan.sampler import sample
    from s2v_core.wan.vace import condition

    assert len(list((sharded / "transformer").glob("*-of-*.safetensors"))) > 3
    engine = load_engine(everywhere(sharded), device="cpu")
    made = condition(engine, prompt, settings, control=control, reference=reference)
    clip = decode(engine, sample(engine, made, settings), made, settings)
    assert clip.frames.shape == (9, 48, 64, 3)
    assert clip.frames.std() > 1
    assert "spiece.model sha256" in engine.identity()


@pytest.mark.parametrize("choice", ["folder", "index", "shard"])
def test_shards_are_one_engine_however_they_are_chosen(sharded, choice):
    inner = sharded / "transformer"
    index = inner / "diffusion_pytorch_model.safetensors.index.json"
    path = {"folder": inner, "index": index, "shard": sorted(inner.glob("*-of-*"))[2]}[choice]
    whole = load_engine(everywhere(sharded), device="cpu")
    found = load_engine(replace(everywhere(sharded), transformer=str(path)), device="cpu")
    for key, value in whole.parts["dit"].state_dict().items():
        assert torch.equal(found.parts["dit"].state_dict()[key], value)
    assert found.identity() == whole.identity()


def test_the_identity_of_a_single_file_is_its_sha256(tiny, engine, tmp_path):
    assert engine.identity()["transformer sha256"] == sha256_file(tiny.transformer)
    assert engine.identity()["text encoder sha256"] == sha256_file(tiny.text_encoder)
    assert engine.identity()["vae sha256"] == sha256_file(tiny.vae)
    moved = shutil.copy(tiny.transformer, tmp_path / "another name.safetensors")
    assert weights_sha256(moved, "transformer") == sha256_file(tiny.transformer)
    tensors, metadata = load_file(tiny.transformer), other_layouts.metadata_of(tiny.transformer)
    tensors["head.head.bias"][0] += 1
    save_file(tensors, tmp_path / "changed.safetensors", metadata)
    assert weights_sha256(tmp_path / "changed.safetensors", "transformer") != sha256_file(tiny.transformer)


def test_the_identity_of_shards_is_that_of_their_bytes(sharded, tmp_path):
    before = weights_sha256(sharded, "transformer")
    copy = tmp_path / "copy"
    shutil.copytree(sharded / "transformer", copy)
    assert weights_sha256(copy, "transformer") == before
    # The index only says which files belong together.
    (copy / "diffusion_pytorch_model.safetensors.index.json").unlink()
    assert weights_sha256(copy, "transformer") == before
    one = sorted(copy.glob("*-of-*"))[1]
    tensors = load_file(one)
    key = min(tensors)
    tensors[key] = tensors[key] + 1
    save_file(tensors, one)
    assert weights_sha256(copy, "transformer") != before


def test_what_a_config_decides_is_part_of_the_identity(sharded, tmp_path):
    before = weights_sha256(sharded, "transformer")
    copy = tmp_path / "copy"
    shutil.copytree(sharded / "transformer", copy)
    config = json.loads((copy / "config.json").read_text())

    def with_config(**changes):
        (copy / "config.json").write_text(json.dumps(config | changes))
        return weights_sha256(copy, "transformer")

    assert with_config(_diffusers_version="9.9") == before
    assert with_config(num_attention_heads=8, attention_head_dim=6) != before
    assert with_config(vace_layers=[0, 3]) != before
    assert with_config(num_attention_heads=8) != with_config(vace_layers=[0, 3])
    (copy / "config.json").unlink()
    with pytest.raises(ModelFileError, match="no num_heads"):
        load_engine(replace(everywhere(sharded), transformer=str(copy)), device="cpu")


def test_a_config_that_says_what_the_shapes_say_is_no_part_of_the_identity(tmp_path):
    """Wan-Video's own folder has one, and whoever moved the file elsewhere has none: the pixels are the same."""
    net = other_layouts.randomise(
        other_layouts.diffusers_transformer(num_attention_heads=1, attention_head_dim=128, ffn_dim=64), 8
    )
    net.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    with_config = weights_sha256(path, "transformer")
    (tmp_path / "config.json").unlink()
    assert weights_sha256(path, "transformer") == with_config == sha256_file(path)


def test_a_vae_for_other_latents_is_refused(sharded, tmp_path):
    shutil.copytree(sharded / "vae", tmp_path / "vae")
    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    config["latents_mean"][3] += 0.5
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="made for another model"):
        load_engine(replace(everywhere(sharded), vae=str(tmp_path / "vae")), device="cpu")


def test_pth_files_are_the_same_engine(tiny, engine, tmp_path):
    paths = {}
    for name, path in tiny.weights().items():
        paths[name] = str(tmp_path / f"{name}.pth")
        wrapped = load_file(path)
        torch.save({"model_state": wrapped} if name == "vae" else wrapped, paths[name])
    # The number of heads of a tiny net is in the metadata of its safetensors file only.
    paths["transformer"] = tiny.transformer
    found = load_engine(ModelFiles(**paths, tokenizer=tiny.tokenizer), device="cpu")
    for name in ("dit", "vace", "vae", "text_encoder"):
        (net,), (wanted,) = found.use(name), engine.use(name)
        for key, value in net.state_dict().items():
            assert torch.equal(value, wanted.state_dict()[key])


def test_loading_is_followed_and_stopped(tiny):
    heard = []
    load_engine(tiny, device="cpu", on_progress=lambda *event: heard.append(event))
    done, totals, what = zip(*heard, strict=True)
    assert list(done) == sorted(done)
    # The text encoder waits for a text.
    assert set(totals) == {sum(Path(path).stat().st_size for path in (tiny.transformer, tiny.vae))}
    assert done[0] == 0
    assert done[-1] == totals[0]
    assert list(dict.fromkeys(what)) == ["transformer", "VAE", "done"]
    assert len(heard) > 100
    with pytest.raises(Interrupted):
        load_engine(tiny, device="cpu", should_stop=lambda: True)


def test_the_automatic_type_counts_all_shards(sharded, monkeypatch):
    from s2v_core.wan import machine

    assert pick_dtype("auto", "cpu", str(sharded)) == torch.float32
    largest = max(path.stat().st_size for path in (sharded / "transformer").glob("*.safetensors"))
    monkeypatch.setattr(machine, "_SMALL", largest + 1)
    assert pick_dtype("auto", "cpu", str(sharded)) == torch.bfloat16
    assert pick_dtype("auto", "cpu", "") == pick_dtype("auto", "cpu", "nowhere.safetensors") == torch.bfloat16
