"""What LoRA files may hold, and what is said of each that cannot be used."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from safetensors.torch import save_file as save_distinct

from s2v_core.errors import LoraError
from s2v_core.wan.lora_file import Lora, load_lora, lora_sha256, lora_stamp, parse_lora

A, B = torch.arange(6.0).reshape(2, 3) + 1, torch.arange(10.0).reshape(5, 2) - 4


def save_file(tensors, path, metadata=None):
    save_distinct({key: tensor.clone() for key, tensor in tensors.items()}, path, metadata)


def pair(name="x.q", a=A, b=B, ends=("lora_A.weight", "lora_B.weight")):
    return {f"{name}.{ends[0]}": a, f"{name}.{ends[1]}": b}


@pytest.mark.parametrize(
    "ends",
    [
        ("lora_A.weight", "lora_B.weight"),
        ("lora_A.default.weight", "lora_B.default.weight"),
        ("lora_A.style_2.weight", "lora_B.style_2.weight"),
        ("lora_A", "lora_B"),
        ("lora_down.weight", "lora_up.weight"),
        ("lora.down.weight", "lora.up.weight"),
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ],
)
def test_every_way_to_write_a_pair(ends):
    lora = parse_lora("f", pair(ends=ends))
    (change,) = lora.layers.values()
    assert list(lora.layers) == ["x.q"]
    assert torch.equal(change.down, A)
    assert torch.equal(change.up, B)
    assert (change.scale, change.rank, lora.rank) == (1.0, 2, 2)
    assert lora.size == (6 + 10) * 4


def test_alpha_whole_changes_and_biases():
    lora = parse_lora(
        "f",
        {
            **pair(),
            "x.q.alpha": torch.tensor(3.0),
            "x.q.diff_b": torch.ones(5),
            "n.diff": torch.full((4,), 2.0),
            "n.diff_b": torch.zeros(4),
            "blocks.0.diff_m": torch.ones(1, 6, 4),
            "lycoris_n.w_norm": torch.ones(4),
            **pair("y"),
            "y.lora_B.bias": torch.full((5,), 2.0),
            "y.alpha": torch.tensor([1.0]),
        },
    )
    assert lora.layers["x.q"].scale == 1.5
    assert torch.equal(lora.layers["x.q"].bias, torch.ones(5))
    assert lora.layers["n"].down is None
    assert torch.equal(lora.layers["n"].diff, torch.full((4,), 2.0))
    assert lora.layers["blocks.0.modulation"].diff.shape == (1, 6, 4)
    assert lora.layers["lycoris_n"].diff.shape == (4,)
    assert torch.equal(lora.layers["y"].bias, torch.ones(5)), "PEFT scales the bias of lora_B as it scales the matrices"


@given(st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]), st.floats(0.01, 64))
def test_types_and_alpha(dtype, alpha):
    lora = parse_lora("f", {**pair(a=A.to(dtype), b=B.to(dtype)), "x.q.alpha": torch.tensor(alpha)})
    assert lora.layers["x.q"].down.dtype == dtype
    assert lora.layers["x.q"].scale == float(torch.tensor(alpha)) / 2


BROKEN = {
    "half a pair": ({k: v for k, v in pair().items() if "lora_A" in k}, "only one of the two matrices"),
    "alpha alone": ({**pair(), "y.alpha": torch.tensor(1.0)}, "y: alpha alone"),
    "nothing": ({}, "holds no LoRA"),
    "alphas only": ({"y.alpha": torch.tensor(1.0)}, "holds no LoRA"),
    "a model": ({"blocks.0.self_attn.q.weight": torch.zeros(3, 3)}, "holds no LoRA"),
    "another rank": (pair(b=torch.zeros(5, 3)), r"\[2, 3\] and \[5, 3\]"),
    "rank 0": (pair(a=torch.zeros(0, 3), b=torch.zeros(5, 0)), "do not belong together"),
    "no matrix": (pair(a=torch.zeros(2)), "do not belong together"),
    "whole numbers": (pair(a=torch.ones(2, 3, dtype=torch.int8)), "whole numbers for x.q.lora_A.weight"),
    "NaN": (pair(a=torch.full((2, 3), torch.nan)), "values that are not numbers"),
    "infinite alpha": ({**pair(), "x.q.alpha": torch.tensor(torch.inf)}, "values that are not numbers"),
    "many alphas": ({**pair(), "x.q.alpha": torch.ones(2)}, "alpha of x.q is not one number"),
    "two adapters": (
        {**pair(), **pair("y", ends=("lora_A.one.weight", "lora_B.one.weight"))}
        | pair("z", ends=("lora_A.two.weight", "lora_B.two.weight")),
        "2 adapters",
    ),
    "the same twice": ({**pair(), "x.q.lora_down.weight": A}, "down of x.q twice"),
    "DoRA": ({**pair(), "x.q.dora_scale": torch.ones(5, 1)}, "DoRA"),
    "PEFT's DoRA": ({**pair(), "x.q.lora_magnitude_vector": torch.ones(5)}, "DoRA"),
    "LoHa": ({f"x.q.hada_{one}": torch.ones(2, 2) for one in ("w1_a", "w1_b", "w2_a", "w2_b")}, "LoHa"),
    "LoKr": ({"x.q.lokr_w1": torch.ones(2, 2), "x.q.lokr_w2": torch.ones(2, 2)}, "LoKr"),
    "OFT": ({"x.q.oft_blocks": torch.ones(2, 2, 2)}, "OFT"),
    "BOFT": ({"x.q.oft_diag": torch.ones(2, 2, 2)}, "OFT or BOFT"),
    "GLoRA": ({"x.q.a1.weight": torch.ones(2, 2)}, "GLoRA"),
    "Tucker": ({**pair(), "x.q.lora_mid.weight": torch.ones(2, 2, 1, 1)}, "Tucker LoCon"),
    "VeRA": ({"x.q.vera_lambda_b": torch.ones(5)}, "VeRA"),
    "whole weights": ({**pair(), "y.set_weight": torch.ones(5)}, "full fine-tuning"),
    "PEFT's whole weights": ({**pair(), "h.modules_to_save.weight": torch.ones(5)}, "full fine-tuning"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_each_kind_of_broken_file_says_what_it_is(kind, tmp_path):
    tensors, words = BROKEN[kind]
    path = tmp_path / "bad.safetensors"
    save_file(tensors, path)
    with pytest.raises(LoraError, match=words) as caught:
        load_lora(path)
    assert "bad.safetensors" in caught.value.problem
    assert caught.value.got


def test_what_is_no_part_of_a_lora_is_kept_for_the_one_who_matches():
    lora = parse_lora("f", {**pair(), "step": torch.zeros(1), "x.q.weight_scale": torch.zeros(1)})
    assert lora.strangers == ("step", "x.q.weight_scale")


def damaged(whole: bytes):
    header = struct.unpack("<Q", whole[:8])[0]
    return {
        "empty": b"",
        "no header": whole[:5],
        "cut in the header": whole[: 8 + header // 2],
        "cut in the numbers": whole[:-7],
        "a header of nonsense": whole[:8] + b"x" * header + whole[8 + header :],
        "a header that is longer than the file": struct.pack("<Q", 1 << 40) + whole[8:],
        "a page of a website": b"<!DOCTYPE html><html>Sign in to download</html>" * 40,
    }


@pytest.mark.parametrize("kind", list(damaged(b"\0" * 8)))
def test_damaged_files(kind, tmp_path):
    path = tmp_path / "bad.safetensors"
    save_file(pair(), path)
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(LoraError, match="cannot be read") as caught:
        load_lora(path)
    assert f"{path.stat().st_size:,} bytes" in caught.value.got
    assert "get the file again" in caught.value.remedy


def test_missing_files_and_other_formats(tmp_path):
    with pytest.raises(LoraError, match="no LoRA file"):
        load_lora(tmp_path / "absent.safetensors")
    with pytest.raises(LoraError, match="no LoRA file"):
        load_lora(tmp_path)
    torch.save(pair(), tmp_path / "style.pt")
    with pytest.raises(LoraError, match="not a safetensors file") as caught:
        load_lora(tmp_path / "style.pt")
    assert "run code" in caught.value.remedy


def save_peft(folder, config, tensors=None):
    folder.mkdir(exist_ok=True)
    save_file(tensors or pair("base_model.model.x.q") | pair("base_model.model.blocks.1.v"), folder / ADAPTER)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder / ADAPTER


ADAPTER = "adapter_model.safetensors"


def scales(lora: Lora):
    return [change.scale for change in lora.layers.values()]


def test_pefts_settings_beside_the_file_give_the_scale(tmp_path):
    assert scales(load_lora(save_peft(tmp_path, {"lora_alpha": 3, "r": 2}))) == [1.5, 1.5]
    assert scales(load_lora(save_peft(tmp_path, {"lora_alpha": 3, "use_rslora": True}))) == [3 / 2**0.5] * 2
    pattern = {"lora_alpha": 2, "alpha_pattern": {r"blocks\.\d+\.v": 8}}
    assert sorted(scales(load_lora(save_peft(tmp_path, pattern)))) == [1.0, 4.0]
    with_alpha = {**pair("x.q"), "x.q.alpha": torch.tensor(1.0)}
    assert scales(load_lora(save_peft(tmp_path, {"lora_alpha": 3}, with_alpha))) == [0.5], "the file's own alpha counts"
    for wrong in ("[]", "{", ""):
        (tmp_path / "adapter_config.json").write_text(wrong)
        with pytest.raises(LoraError, match=r"scale of .* cannot be read"):
            load_lora(tmp_path / ADAPTER)


def test_pefts_settings_count_only_beside_pefts_own_file_name(tmp_path):
    path = save_peft(tmp_path, {"lora_alpha": 3})
    other = path.rename(tmp_path / "style.safetensors")
    assert scales(load_lora(other)) == [1.0, 1.0]


def test_the_hash_and_the_stamp_hold_everything_that_decides(tmp_path):
    path = save_peft(tmp_path, {"lora_alpha": 3})
    first, stamp = lora_sha256(path), lora_stamp(path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16.0}))
    assert lora_sha256(path) != first
    assert lora_stamp(path) != stamp
    other = path.rename(tmp_path / "style.safetensors")
    assert lora_sha256(other) not in (first, lora_sha256(save_peft(tmp_path / "again", {"lora_alpha": 3})))
    assert lora_sha256(save_peft(tmp_path / "again", {"lora_alpha": 3})) == first


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_diffusers_metadata_gives_the_scale(prefix, tmp_path):
    path = tmp_path / "pytorch_lora_weights.safetensors"
    config = {f"{prefix}lora_alpha": 8, f"{prefix}r": 2}
    save_file(pair("transformer.x.q"), path, {"format": "pt", "lora_adapter_metadata": json.dumps(config)})
    assert scales(load_lora(path)) == [4.0]
    save_file(pair("transformer.x.q"), path, {"lora_adapter_metadata": "5"})
    with pytest.raises(LoraError, match="scale"):
        load_lora(path)


def test_pefts_own_file(tmp_path):
    """A file that the PEFT library itself writes, against what the PEFT library computes."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=["0", "1"], use_rslora=True, init_lora_weights=False)
    tuned = peft.get_peft_model(net, config)
    x = torch.randn(2, 6)
    wanted = tuned(x)
    tuned.save_pretrained(tmp_path)
    lora = load_lora(tmp_path / ADAPTER)
    assert list(lora.layers) == ["base_model.model.0", "base_model.model.1"]
    for name, change in lora.layers.items():
        layer = tuned.base_model.model[int(name[-1])].base_layer
        x = layer(x) + x @ change.down.T @ change.up.T * change.scale
    torch.testing.assert_close(x, wanted, rtol=1e-6, atol=1e-6)


def test_a_tiny_lora_is_read_whole(tiny_lora):
    lora = load_lora(tiny_lora)
    assert len(load_file(tiny_lora)) == 2 * len(lora.layers)
    assert not lora.strangers
