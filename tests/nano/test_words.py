from __future__ import annotations

from pathlib import Path

import pytest

from s2v_core.errors import SettingsError
from s2v_core.nano import palette
from s2v_core.nano.nets import NanoSizes, build_nets
from s2v_core.nano.words import training_texts, write_tokenizer
from s2v_core.wan.text import encode_text, load_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("words") / "tokenizer"
    assert write_tokenizer(training_texts(600), path) == NanoSizes.vocab
    return str(path)


def test_each_word_of_the_palette_is_one_piece(folder: str) -> None:
    """So that each colour has a vector of its own."""
    tokenizer = load_tokenizer(folder)
    assert len(tokenizer) == NanoSizes.vocab
    words = {name for part in palette.PARTS for name in palette.names(part)} | {*palette.PARTS}
    assert {word: tokenizer.tokenize(word) for word in sorted(words)} == {word: [f"▁{word}"] for word in sorted(words)}
    text = "a short-sleeved red shirt, white trousers and black shoes."
    assert tokenizer.tokenize(text)[-2:] == ["▁shoes", "."]


def test_captions_are_short_and_come_back(folder: str) -> None:
    tokenizer = load_tokenizer(folder)
    for text in training_texts(60):
        pieces = tokenizer(text).input_ids
        assert len(pieces) < 140 and pieces[-1] == tokenizer.eos_token_id == 1
        assert tokenizer.decode(pieces, skip_special_tokens=True) == text


def test_any_english_can_be_read(folder: str) -> None:
    tokenizer = load_tokenizer(folder)
    strange = 'Qu@rtz {jumps} ~over~ 42 "lazy" fox|es?'
    assert tokenizer.unk_token_id not in tokenizer(strange).input_ids
    assert tokenizer.decode(tokenizer(strange).input_ids, skip_special_tokens=True) == strange


def test_the_text_encoder_takes_it(folder: str) -> None:
    encoder = build_nets(NanoSizes(layers=1, vace_layers=(0,))).text_encoder.eval()
    states = encode_text(encoder, load_tokenizer(folder), next(iter(training_texts(1))), "cpu")
    assert states.shape == (1, 512, 96) and states[0, 0].any() and not states[0, 200:].any()


def test_training_texts_vary_and_repeat() -> None:
    texts = list(training_texts(40))
    assert texts == list(training_texts(40)) and len(set(texts)) == 40
    assert 0 < sum("skin" in text for text in texts) < 40


def test_the_same_texts_give_the_same_tokenizer(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_tokenizer(training_texts(100), tmp_path / name)
    one, other = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
    assert one == other


def test_too_few_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="too few pieces"):
        write_tokenizer(["red shirt"], tmp_path, vocab=40)
