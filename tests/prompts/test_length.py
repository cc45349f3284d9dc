from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import ModelFileError
from s2v_core.prompts.length import MAX_TOKENS, Length, prompt_length


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    from s2v_core.wan.tiny import _write_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer") / "umt5"
    _write_tokenizer(folder)
    return str(folder)


@pytest.mark.parametrize("text", ["", "a man dances", "  a \n man ", "word " * 600])
def test_the_count_is_that_of_the_loader(tokenizer: str, text: str):
    from s2v_core.wan.text import load_tokenizer, token_ids

    expected = len(token_ids(load_tokenizer(tokenizer), text))
    assert prompt_length(text, tokenizer) == Length(expected, exact=True)


def test_warnings_say_whether_it_was_counted():
    assert Length(MAX_TOKENS, exact=True).warning == Length(1, exact=False).warning == ""
    assert "has 513 tokens; umT5 reads 512" in Length(513, exact=True).warning
    assert "about 513" in Length(513, exact=False).warning
    assert prompt_length("a dancer " * 400).warning


@given(st.text(), st.text())
def test_an_estimate_grows_with_the_text(one: str, two: str):
    assert 1 <= prompt_length(one).tokens <= prompt_length(f"{one} {two}").tokens


def test_a_folder_without_a_tokenizer(tmp_path: Path):
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        prompt_length("a", str(tmp_path))
