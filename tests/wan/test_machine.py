"""What rendering leaves of the machine."""

from __future__ import annotations

import os

import pytest
import torch

from s2v_core.wan import render
from s2v_core.wan.machine import usable_cores
from s2v_core.wan.render import Renderer


@pytest.mark.parametrize(("threads", "cores", "fills"), [(1, 1, True), (1, 2, False), (2, 2, True), (4, 2, True)])
def test_torch_s_threads_and_the_cores_say_whether_one_is_left(engine, monkeypatch, threads, cores, fills):
    monkeypatch.setattr(render, "usable_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert Renderer(engine).fills_processor is fills
    monkeypatch.setattr(engine, "device", "cuda")
    assert Renderer(engine).fills_processor is False


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no process on some cores")
def test_only_cores_that_may_be_used_count():
    allowed = os.sched_getaffinity(0)
    assert usable_cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
