"""How long a prompt is for Wan's text encoder, umT5, which reads 512 tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelFileError

MAX_TOKENS = 512  # Wan2.1, config text_len

# Without the tokenizer: the letters a token of English holds at least, on average, and one token at the end. Signs
# outside ASCII count whole.
_LETTERS_PER_TOKEN = 3.0


@dataclass(frozen=True)
class Length:
    """``tokens`` of a text with the one at its end. ``exact``: counted by the tokenizer, otherwise a high estimate."""

    tokens: int
    exact: bool

    @property
    def warning(self) -> str:
        """What is lost, in a sentence; "" for a text that fits."""
        if self.tokens <= MAX_TOKENS:
            return ""
        about = "" if self.exact else "about "
        return f"The prompt has {about}{self.tokens} tokens; umT5 reads {MAX_TOKENS}, and what follows would be lost."


def prompt_length(text: str, tokenizer: str = "") -> Length:
    """Count the umT5 tokens of a prompt. ``tokenizer``: the folder google/umt5-xxl, "" for an estimate without it.

    Raises ``ModelFileError`` for a folder without a readable tokenizer.json.
    """
    text = " ".join(text.split())
    if not tokenizer:
        plain = sum(sign.isascii() for sign in text)
        return Length(math.ceil(plain / _LETTERS_PER_TOKEN) + len(text) - plain + 1, exact=False)
    from tokenizers import Tokenizer

    file = Path(tokenizer) / "tokenizer.json"
    try:
        counter = Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers package raises plain Exceptions
        raise ModelFileError(
            f"The tokenizer in {tokenizer} cannot be loaded.",
            expected=file.name,
            got=" ".join(str(error).split()),
            remedy="Name the folder google/umt5-xxl of the Wan2.1 repository.",
        ) from error
    # A file may bring a limit of its own, which would hide how long the text is.
    counter.no_truncation()
    counter.no_padding()
    return Length(len(counter.encode(text).ids), exact=True)
