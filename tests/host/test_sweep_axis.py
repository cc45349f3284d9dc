"""The Sweep Axis node's form in a real ComfyUI: what its script asks for while values are typed."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

pytestmark = pytest.mark.host


def test_values_are_read_while_they_are_typed(host: Any) -> None:
    def ask(**asked: Any) -> tuple[int, Any]:
        return host.post("/skeleton2video/axis", asked)

    assert ask(axis="guidance", values="1:7:2") == (200, {"said": "4 values: 1; 3; 5; 7"})
    assert ask(axis="prompt", values="[calm] a man") == (200, {"said": "1 value: calm"})
    status, answer = ask(axis="guidance", values="1, many")
    assert status == 200
    assert "'many' is not a value of guidance" in answer["problem"]
    assert ask(axis=3, values="1")[0] == ask(axis="guidance")[0] == 400
    (script,) = (path for path in host.get("/extensions") if path.endswith("/js/sweep_axis.js"))
    with urllib.request.urlopen(host.url(script), timeout=20) as sent:
        assert b"/skeleton2video/axis" in sent.read()
