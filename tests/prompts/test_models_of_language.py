"""Captions and rewrites through the real classes and files of Florence-2 and Qwen2, with the network cut off."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.errors import Interrupted, MissingPackageError, ModelFileError, SettingsError
from s2v_core.prompts.caption import MAX_NEW_TOKENS, Florence, GivenCaption, caption_images, load_captioner
from s2v_core.prompts.caption_text import clean_caption
from s2v_core.prompts.facts import card_facts, name_facts
from s2v_core.prompts.language import LANGUAGE_MODELS, find_language_model
from s2v_core.prompts.rewrite import RULES, LocalWriter, load_writer, rewrite_prompt
from s2v_core.prompts.template import build_prompt
from tests.prompts.adversarial import CARD, HONEST, NAME, rewrites_that_lie

ROOT = Path(__file__).parents[2]
FACTS = (*name_facts(NAME), *card_facts(CARD))
TEMPLATE = build_prompt(NAME, card=CARD)
LIE = HONEST.replace("black crew-neck", "red crew-neck")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("S2V_MODELS", raising=False)


@pytest.fixture(scope="module")
def florence_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.prompts.tiny_models import write_florence

    return write_florence(tmp_path_factory.mktemp("florence"))


@pytest.fixture(scope="module")
def florence(florence_folder: Path) -> Florence:
    return load_captioner(str(florence_folder), device="cpu")


def pictures(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8) for seed in range(count)]


def test_captions_are_the_same_each_time_alone_and_in_a_batch(florence: Florence, florence_folder: Path):
    images = pictures(3)
    said = florence.describe(images)
    assert all(said) and said == florence.describe(images)
    assert [florence.describe([image])[0] for image in images] == said
    again = load_captioner(str(florence_folder), device="cpu")
    assert again.identity == florence.identity and again.describe(images) == said
    assert load_captioner(str(florence_folder), device="cpu", dtype="bfloat16").identity != florence.identity


def test_each_picture_is_described_once(florence: Florence):
    counted: list[int] = []

    class Counting:
        identity = florence.identity

        def describe(self, images: Any, **_: Any) -> list[str]:
            counted.append(len(images))
            return florence.describe(images)

    images = [*pictures(3), pictures(1)[0]]
    steps: list[tuple[int, int]] = []
    said = caption_images(images, Counting(), batch=2, on_progress=lambda *step: steps.append(step))
    assert counted == [2, 1] and said[0] == said[3] and steps == [(3, 4), (4, 4)]
    assert caption_images(images, Counting()) == said and counted == [2, 1]
    with pytest.raises(Interrupted):
        caption_images([images[0] // 2], Counting(), should_stop=lambda: True)


def test_a_caption_is_stopped_between_two_tokens_and_not_kept(florence: Florence, tmp_path: Path):
    tokens: list[tuple[int, int]] = []
    with pytest.raises(Interrupted, match="after 3 tokens"):
        caption_images(
            pictures(2), florence, on_token=lambda *step: tokens.append(step), should_stop=lambda: len(tokens) == 3
        )
    assert tokens == [(1, MAX_NEW_TOKENS), (2, MAX_NEW_TOKENS), (3, MAX_NEW_TOKENS)]
    assert not (tmp_path / "cache" / "captions").exists()
    # The same model goes on as if nothing had been.
    assert caption_images(pictures(2), florence) == florence.describe(pictures(2))


def test_a_given_text_is_a_captioner_and_is_not_kept(tmp_path: Path):
    assert caption_images(pictures(2), GivenCaption("A man.")) == ["A man.", "A man."]
    assert not (tmp_path / "cache" / "captions").exists()
    with pytest.raises(SettingsError, match="another form"):
        caption_images([np.zeros((4, 4), np.uint8)], GivenCaption("A man."))


def test_a_damaged_memory_is_made_anew(florence: Florence, tmp_path: Path):
    said = caption_images(pictures(1), florence)
    (file,) = (tmp_path / "cache" / "captions").iterdir()
    for bad in ("", "[]", '{"caption": 3}', json.dumps("x")):
        file.write_text(bad, encoding="utf-8")
        assert caption_images(pictures(1), florence) == said


class Told:
    """Answers that were written down, one a call, for what a tiny model cannot learn."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.seen: list[list[dict[str, str]]] = []

    def write(self, messages: list[dict[str, str]], **_: Any) -> str:
        self.seen.append(messages)
        return self.answers.pop(0)


def test_a_writer_that_lies_once_is_asked_again():
    writer = Told(LIE, HONEST)
    made = rewrite_prompt(TEMPLATE, FACTS, writer)
    assert (made.how, made.prompt.text) == ("second rewrite", HONEST)
    assert "rewrite: No source names 'red'." in made.reasons
    assert writer.seen[0][0]["content"] == RULES
    assert "No source names 'red'" in writer.seen[1][-1]["content"] and writer.seen[1][2]["content"] == LIE


def test_a_model_that_is_honest_is_used(tmp_path: Path):
    from tests.prompts.tiny_models import write_qwen

    writer = Told(HONEST)
    rewrite_prompt(TEMPLATE, FACTS, writer)
    lesson = [*writer.seen[0], {"role": "assistant", "content": HONEST}]
    folder = str(write_qwen(tmp_path / "qwen", [lesson]))
    loaded = load_writer(folder, device="cpu")
    assert isinstance(loaded, LocalWriter) and type(loaded.model).__name__ == "Qwen2ForCausalLM"
    made = rewrite_prompt(TEMPLATE, FACTS, loaded)
    assert made == rewrite_prompt(TEMPLATE, FACTS, writer_of(folder))
    assert (made.how, made.prompt.text, made.reasons) == ("rewrite", HONEST, ())
    assert made.prompt.origins == ((HONEST, "rewrite"),) and made.prompt.facts == TEMPLATE.facts


def writer_of(folder: str) -> LocalWriter:
    return load_writer(folder, device="cpu")


def test_a_model_that_babbles_leaves_the_template(tmp_path: Path):
    from tests.prompts.tiny_models import write_qwen

    writer = load_writer(str(write_qwen(tmp_path / "qwen")), device="cpu")
    tokens: list[int] = []
    with pytest.raises(Interrupted, match="after 5 tokens"):
        rewrite_prompt(
            TEMPLATE, FACTS, writer, on_token=lambda made, most: tokens.append(made), should_stop=lambda: 5 in tokens
        )
    assert tokens == [1, 2, 3, 4, 5]
    made = rewrite_prompt(TEMPLATE, FACTS, writer)
    assert made.how == "template" and made.prompt == TEMPLATE
    assert any(reason.startswith("rewrite: ") for reason in made.reasons)
    assert any(reason.startswith("second rewrite: ") for reason in made.reasons)


def test_the_template_stands_in_for_every_lie():
    for _, text in rewrites_that_lie():
        made = rewrite_prompt(TEMPLATE, FACTS, Told(text, text))
        assert (made.how, made.prompt) == ("template", TEMPLATE) and made.reasons


def test_a_manifest_from_the_command_line_with_captions(tmp_path: Path, florence_folder: Path, florence: Florence):
    """One row's image and another one's first frame are described by Florence-2 out of a folder."""
    from PIL import Image

    from s2v_core.video.clip import Clip
    from s2v_core.video.write import write_clip

    picture = pictures(1)[0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    write_clip(Clip(np.stack([picture, 255 - picture]), Fraction(2)), tmp_path / "gKR_sBM_c01_d28_mKR5_ch02.mkv")
    rows = [{"clip": "gBR_sBM_c01_d04_mBR0_ch01", "image": "a.png"}, {"clip": "gKR_sBM_c01_d28_mKR5_ch02.mkv"}]
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out.jsonl"
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "s2v_core.cli", "prompts", str(manifest), "--out", str(out), "--json"]
    command += ["--captioner", str(florence_folder), "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)
    assert (json.loads(done.stdout)["made"], json.loads(done.stdout)["kept"]) == (2, 0)
    entries = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    said = [clean_caption(text) for text in florence.describe([picture])]
    assert (entries[0]["caption"], tuple(entries[0]["dropped"])) == (said[0].text, said[0].dropped)
    assert entries[1]["caption"] or entries[1]["dropped"]


def test_a_gguf_file_that_cannot_be_read(tmp_path: Path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    needs = importlib.util.find_spec("gguf") is None
    with pytest.raises(MissingPackageError if needs else ModelFileError) as caught:
        load_writer(str(file), device="cpu")
    assert ("skeleton2video[language]" in caught.value.remedy) == needs and "model.gguf" in caught.value.problem
    with pytest.raises(ModelFileError, match="no language model"):
        load_writer(str(tmp_path / "other.gguf"))


def test_models_that_are_not_there_or_are_others(tmp_path: Path, florence_folder: Path):
    with pytest.raises(ModelFileError, match="no language model") as caught:
        find_language_model("qwen2.5-0.5b")
    assert LANGUAGE_MODELS["qwen2.5-0.5b"].repository in caught.value.remedy
    with pytest.raises(ModelFileError, match="no language model"):
        load_captioner("../florence-2-base")
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_captioner(str(tmp_path), device="cpu")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_writer(str(florence_folder), device="cpu")
    with pytest.raises(SettingsError, match="no precision"):
        load_captioner(str(florence_folder), device="cpu", dtype="int8")
