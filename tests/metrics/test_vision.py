"""CLIP and DINOv2 metrics on tiny models of transformers' own classes, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.errors import ModelFileError
from s2v_core.metrics import vision
from s2v_core.metrics.registry import default_metrics, score_clip

Array = np.ndarray[Any, Any]
NAMES = ["clip_text", "dino_reference", "dino_leakage"]
SIDE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with ``vision/clip`` and ``vision/dinov2``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BitImageProcessor,
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        Dinov2Config,
        Dinov2Model,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    words = ["<s>", "</s>", "<unk>", "a", "man", "dances", "in", "red", "blue", "trousers", "."]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    size = {"height": SIDE, "width": SIDE}
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**layers, "vocab_size": len(words), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1}
    clip = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**layers, "image_size": SIDE, "patch_size": 8}, projection_dim=16)
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    clip.save_pretrained(folder / "vision" / "clip")
    CLIPProcessor(pictures, fast).save_pretrained(folder / "vision" / "clip")
    dino = Dinov2Model(Dinov2Config(**{**layers, "image_size": SIDE, "patch_size": 8, "mlp_ratio": 2}))
    dino.save_pretrained(folder / "vision" / "dinov2")
    BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder / "vision" / "dinov2")
    return folder


@pytest.fixture
def here(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2V_MODELS", str(weights))


def picture(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)


def test_they_join_the_default_set_when_their_weights_are_there(
    here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(NAMES) <= set(default_metrics())
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    monkeypatch.setenv("S2V_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert not set(NAMES) & set(default_metrics())
    card = score_clip(picture(0)[None], provenance={"prompt": {"text": "a man"}}, reference=picture(1), metrics=NAMES)
    assert "openai/clip-vit-large-patch14" in card["clip_text"].reason
    assert "facebook/dinov2-base" in card["dino_reference"].reason


def test_dino_knows_the_reference_and_the_training_set(here: None) -> None:
    reference, training = picture(0), picture(1)
    cards = [
        score_clip(np.stack([one] * 3), reference=reference, training=[training], metrics=NAMES[1:])
        for one in (reference, (reference / 2 + training / 2).astype(np.uint8), training)
    ]
    like = [card.value("dino_reference") for card in cards]
    leaked = [card.value("dino_leakage") for card in cards]
    assert like[0] == pytest.approx(1, abs=1e-5)
    assert like[0] > like[2]
    assert leaked[2] == pytest.approx(-leaked[0], abs=1e-5)
    assert leaked[0] < 0 < leaked[2]
    assert "dinov2 of width 32" in cards[0]["dino_reference"].how


def test_clip_agrees_with_its_own_logits(here: None, weights: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    folder = weights / "vision" / "clip"
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    text, frames = "a man dances in red trousers", np.stack([picture(2), picture(3)])
    with torch.no_grad():
        made = model(**processor(text=[text], images=list(frames), return_tensors="pt", padding=True))
        wanted = (made.logits_per_image / model.logit_scale.exp()).mean().item()
    card = score_clip(frames, provenance={"prompt": {"text": text}}, metrics=["clip_text"])
    assert card.value("clip_text") == pytest.approx(wanted, abs=1e-5)
    assert card["clip_text"].how == "clip of width 32, 2 frames"


def test_a_long_prompt_is_cut_and_it_is_said(here: None) -> None:
    long = {"prompt": {"text": "a man dances " * 10}}
    assert "cut" in score_clip(picture(0)[None], provenance=long, metrics=["clip_text"])["clip_text"].how


def test_without_a_prompt_there_is_no_likeness_to_it(here: None) -> None:
    assert score_clip(picture(0)[None], metrics=["clip_text"])["clip_text"].reason == "No prompt is known."


def test_another_model_in_its_place_is_an_error(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(weights / "vision" / "clip", tmp_path / "vision" / "dinov2")
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    with pytest.raises(ModelFileError, match="another model"):
        vision.load_vision("dino")
    score = score_clip(picture(0)[None], reference=picture(0), metrics=["dino_reference"])["dino_reference"]
    assert "another model" in score.reason
