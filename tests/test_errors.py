from __future__ import annotations

import inspect
import pickle

import pytest

from s2v_core import errors
from s2v_core.errors import Interrupted, LoraError, ModelFileError, S2VError

CHILDREN = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, S2VError) and kind is not S2VError
]


@pytest.mark.parametrize("kind", [S2VError, *CHILDREN])
def test_an_error_shows_its_parts_on_lines_of_their_own(kind: type[S2VError]):
    error = kind("The file a.mp4 is short.", expected="81 frames", got="12 frames", remedy="Give a longer clip.")
    assert str(error) == (
        "The file a.mp4 is short.\n  expected: 81 frames\n  came: 12 frames\n  what to do: Give a longer clip."
    )
    assert isinstance(error, S2VError)


def test_parts_that_are_not_known_are_not_shown():
    assert str(S2VError("Broken.")) == "Broken."
    assert str(S2VError("Broken.", remedy="Mend it.")) == "Broken.\n  what to do: Mend it."
    assert S2VError("Broken.").args == ("Broken.",)


@pytest.mark.parametrize("kind", [S2VError, *CHILDREN])
def test_an_error_comes_whole_out_of_another_process(kind: type[S2VError]):
    error = pickle.loads(pickle.dumps(kind("a", expected="b", got="c", remedy="d")))
    assert type(error) is kind
    assert (error.problem, error.expected, error.got, error.remedy) == ("a", "b", "c", "d")


def test_a_lora_error_is_a_model_file_error_and_an_interrupt_is_no_error_of_ours():
    assert issubclass(LoraError, ModelFileError)
    assert not issubclass(Interrupted, S2VError)
    assert len(CHILDREN) >= 6
    for kind in CHILDREN:
        assert kind.__doc__
