"""A language model rewrites a prompt, the guard judges it, and the template stands in where it lies.

The rules that the model gets are those of Wan's own prompt extension (Wan-Video/Wan2.1,
``wan/utils/prompt_extend.py``), in words of our own: English, 80 to 100 words, subject, style, space, shot, motion and
camera, and only the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .facts import Fact
from .guard import MAX_WORDS, MIN_WORDS, check_rewrite
from .language import find_language_model, generate, load_parts, model_identity, place
from .prompt import Prompt

REWRITE = "rewrite"
MAX_NEW_TOKENS = 240
RULES = (
    "You rewrite prompts for a video model. Write fluent English of 80 to 100 words in one paragraph: the subject "
    "first, then style, place, shot, motion and camera. Keep every given phrase word for word. Do not add people, "
    "objects, clothes, colors or places. Answer with the new prompt only."
)

Messages = list[dict[str, str]]


class Writer(Protocol):
    """Whatever answers messages of role and content.

    One that takes long calls ``on_token(tokens so far, tokens at most)`` and asks ``should_stop`` on its way, and
    raises ``Interrupted`` when that says so.
    """

    def write(
        self,
        messages: Messages,
        *,
        on_token: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> str:
        """The answer's text."""


@dataclass(frozen=True)
class Rewritten:
    """The prompt that is used. ``how``: "rewrite", "second rewrite" or "template"; ``reasons``: what came before it."""

    prompt: Prompt
    how: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalWriter:
    """A loaded instruct model that always takes the likeliest word, so the same messages give the same answer."""

    model: Any
    tokenizer: Any
    identity: str

    def write(
        self,
        messages: Messages,
        *,
        on_token: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> str:
        """The answer, without the template's signs."""
        batch = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.model.device)
        made = generate(
            self.model,
            batch,
            MAX_NEW_TOKENS,
            on_token=on_token,
            should_stop=should_stop,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return str(self.tokenizer.decode(made[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


def load_writer(model: str = "qwen2.5-0.5b", device: str = "auto", dtype: str = "auto") -> LocalWriter:
    """An instruct model out of a local folder or a GGUF file, or by its name. Raises ``ModelFileError``."""
    path = find_language_model(model)
    device, kind = place(device, dtype)

    def load(folder: str, options: dict[str, Any]) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        if not tokenizer.chat_template:
            raise ValueError("its tokenizer has no chat template, so it is not an instruct model")
        net: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, use_safetensors=True, **options)
        return net.to(device).eval(), tokenizer

    net, tokenizer = load_parts(path, load)
    return LocalWriter(net, tokenizer, model_identity(path))


def rewrite_prompt(
    prompt: Prompt,
    facts: Iterable[Fact],
    writer: Writer,
    *,
    on_token: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rewritten:
    """Let ``writer`` rewrite a template's prompt from its facts; at a lie ask once more, then keep the template's.

    ``on_token(tokens so far, tokens at most)`` of the answer in work. Raises ``Interrupted``.
    """
    facts = tuple(facts)
    # A card that needs many words gets them.
    limits = (MIN_WORDS, max(MAX_WORDS, len(prompt.text.split()) + 20))
    keep = "; ".join(fact.text for fact in facts if fact.required)
    messages: Messages = [
        {"role": "system", "content": RULES},
        {"role": "user", "content": f"Phrases to keep: {keep}.\nPrompt: {prompt.text}"},
    ]
    reasons: list[str] = []
    for how in (REWRITE, f"second {REWRITE}"):
        text = writer.write(messages, on_token=on_token, should_stop=should_stop)
        verdict = check_rewrite(text, facts, limits=limits)
        if verdict.passed:
            return Rewritten(
                replace(prompt, text=text.strip(), origins=((text.strip(), REWRITE),)), how, tuple(reasons)
            )
        reasons += [f"{how}: {reason}" for reason in verdict.reasons]
        # A long answer is not sent back whole: a model's window has an end.
        messages = [
            *messages[:2],
            {"role": "assistant", "content": text[:1000]},
            {"role": "user", "content": f"That is wrong. {' '.join(verdict.reasons)} Write it again."},
        ]
    return Rewritten(prompt, "template", tuple(reasons))
