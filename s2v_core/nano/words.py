"""What the nano text encoder reads: captions of the toy world, and a tokenizer of umT5's kind for them."""

from __future__ import annotations

import math
import os
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import SettingsError
from ..prompts.template import VARIANTS
from .nets import NanoSizes
from .palette import PARTS
from .world import caption, scene

SPECIAL = ("<pad>", "</s>", "<unk>")  # umT5's first three pieces, in its order
_SPACE = "▁"
_PIECE = range(2, 6)  # letters of a part of a word
# Natural logarithms: a word in pieces must never be likelier than the whole word, nor letters than pieces.
_PART_PENALTY, _LETTER_SCORE, _UNKNOWN_SCORE = 8.0, -24.0, -100.0


def training_texts(count: int) -> Iterator[str]:
    """Captions of the first ``count`` training scenes: of each variant, and with ever other parts left out."""
    variants, parts = tuple(VARIANTS), tuple(PARTS)
    for number in range(count):
        made = scene(number)
        silent = [part for place, part in enumerate(parts) if number % 4 and (number * (place + 3)) % 5 == 0]
        yield caption(made.character, made.motion, without=silent, variant=variants[number % len(variants)]).text


def write_tokenizer(texts: Iterable[str], folder: str | os.PathLike[str], vocab: int = NanoSizes.vocab) -> int:
    """Write a Unigram tokenizer (``</s>`` at the end) made for ``texts``; give its number of pieces.

    The most frequent words are pieces of their own, with the logarithm of their share as score; what is left of
    ``vocab`` goes to frequent parts of words. Every printable ASCII character is a piece, so that any English prompt
    can be read. (The tokenizers library's own trainer gives other scores every time, and takes the words of so small a
    language apart again: "red" came out in three pieces.) Raises SettingsError when ``vocab`` has no room for
    the characters.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(set(string.printable.strip()))
    room = vocab - len(SPECIAL) - len(letters) - 1
    if room < 1:
        raise SettingsError("The tokenizer has too few pieces.", expected=f"from {vocab - room + 1}", got=str(vocab))
    # Punctuation stands alone: "shirt" and "shirt," are the same word.
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(r"[^\w▁]"), behavior="isolated")]
    )
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    scores = _pieces(words, room)
    table = [(piece, 0.0) for piece in SPECIAL[:2]] + [(SPECIAL[2], _UNKNOWN_SCORE)]
    for piece in (_SPACE, *letters):
        table.append((piece, scores.pop(piece, _LETTER_SCORE)))
    table += scores.items()
    tokenizer = Tokenizer(models.Unigram(table, unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], unk_token=SPECIAL[2]
    ).save_pretrained(folder)
    return len(table)


def _pieces(words: Counter[str], room: int) -> dict[str, float]:
    """Scores of ``room`` pieces of two and more letters, words first; and of the single letters that are words."""
    total = words.total()
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for size in _PIECE:
            for start in range(len(word) - size + 1):
                parts[word[start : start + size]] += count

    def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
        return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))

    scores = {word: math.log(count / total) for word, count in ranked(words) if len(word) > 1}
    scores = dict(list(scores.items())[:room])
    for part, count in ranked(parts):
        if len(scores) == room:
            break
        scores.setdefault(part, math.log(count / total) - _PART_PENALTY)
    return scores | {word: math.log(count / total) for word, count in words.items() if len(word) == 1}
