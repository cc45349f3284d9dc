"""The peak of memory, on a real process."""

import sys

import numpy as np
import pytest

from s2v_core.peak import Peak

MB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets a process's peak")


def test_counts_what_was_taken_in_between_even_when_it_is_gone():
    before = Peak().bytes()
    peak = Peak()
    np.ones(64 * MB, np.uint8).sum()
    assert 60 * MB < peak.bytes() - before < 160 * MB


def test_begins_anew_each_time():
    np.ones(200 * MB, np.uint8).sum()
    high = Peak()
    taken = np.ones(200 * MB, np.uint8)
    most = high.bytes()
    del taken
    assert Peak().bytes() < most - 150 * MB


def test_where_nothing_can_tell_there_is_no_number(monkeypatch, tmp_path):
    monkeypatch.setattr("s2v_core.peak._RESET", tmp_path / "none" / "clear_refs")
    assert Peak().bytes() is None
