from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.sweeps.shelf import Shelf


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "out" / "quick" / "cells").mkdir(parents=True)
    (tmp_path / "elsewhere" / "cells").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    return Shelf(tmp_path / "out")


def test_sweeps_below_the_root_are_found_by_their_path(shelf, tmp_path):
    assert shelf.put(tmp_path / "out" / "quick") == "quick"
    assert shelf.find(" quick ") == (tmp_path / "out" / "quick").resolve()
    assert shelf.find("a/b") == (tmp_path / "out" / "a" / "b").resolve()


def test_others_must_have_been_put_here(shelf, tmp_path):
    with pytest.raises(SettingsError, match="not known"):
        shelf.find("@0123456789abcdef")
    key = shelf.put(tmp_path / "elsewhere")
    assert key.startswith("@") and str(tmp_path) not in key
    assert shelf.find(key) == (tmp_path / "elsewhere").resolve()
    # A root that is a relative of the folder's name is no parent of it.
    assert shelf.put(f"{tmp_path}/out-of-it").startswith("@")
    assert Shelf(tmp_path / "out").put(tmp_path / "out").startswith("@")
    with pytest.raises(SettingsError, match="not known"):
        Shelf(tmp_path / "out").find(key)


@pytest.mark.parametrize(
    "key",
    ["..", "../elsewhere", "quick/../../elsewhere", "/etc", "link", "link/cells", ".", "", " ", "quick/..", "a\0b",
     "@", "@../elsewhere", "@/etc"],
)  # fmt: skip
def test_no_key_leaves_the_root(shelf, key):
    with pytest.raises(SettingsError):
        shelf.find(key)


@given(st.lists(st.sampled_from(["..", ".", "quick", "link", "/", "\\", "~", "etc", "passwd", "@", "\0", " "])))
def test_whatever_is_found_lies_below_the_root(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "shelf"
    shelf = Shelf(root)
    try:
        found = shelf.find("/".join(parts))
    except SettingsError:
        return
    assert os.path.commonpath([root.resolve(), found]) == str(root.resolve())
    assert found != root.resolve()
