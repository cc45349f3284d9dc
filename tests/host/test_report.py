"""The node Sweep Report in a real ComfyUI: the page is handed out, and gets nothing of the host."""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host

spec = importlib.util.spec_from_file_location("host_sweeps", Path(__file__).with_name("test_sweep_axis.py"))
assert spec and spec.loader
sweeps = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sweeps)


def test_the_page_of_a_sweep_is_handed_out_in_a_sandbox(host: Any) -> None:
    prompt = sweeps.sweep_prompt("reported", ("guidance", "1, 2"))
    run = next(id for id, node in prompt.items() if node["class_type"] == "Skeleton2Video_RunSweep")
    prompt = {id: node for id, node in prompt.items() if node["class_type"] != "Skeleton2Video_SweepGrid"}
    prompt["page"] = {
        "class_type": "Skeleton2Video_SweepReport",
        "inputs": {"sweep": [run, 0], "title": "two cells", "tile": 0, "quality": 85, "full": True},
    }
    done = host.run(prompt)
    assert done.ended == "execution_success", done.error
    (place,) = done.outputs["page"]["skeleton2video_report"]
    assert place == "reported/report_00001_.html"
    with urllib.request.urlopen(host.url(f"/skeleton2video/report?place={urllib.parse.quote(place)}")) as answer:
        page, headers = answer.read(), answer.headers
    assert page == (host.base / "output" / "skeleton2video" / place).read_bytes()
    assert b"<title>two cells</title>" in page
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
    for wrong in ("../../input/reference.png", "reported/cells/store.json", "nothing.html"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(host.url(f"/skeleton2video/report?place={urllib.parse.quote(wrong)}"))
