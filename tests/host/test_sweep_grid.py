"""What the Sweep Grid node's page hears and asks in a real ComfyUI: messages, cells, films, clips."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.host.conftest import ROOT
from tests.host.test_sweep_axis import sweep_prompt

pytestmark = pytest.mark.host


def get(host: Any, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """A request whose path is sent as it is: no client tidies it up on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_a_run_is_followed_and_its_cells_are_shown(host: Any) -> None:
    run = host.run(sweep_prompt("followed", ("guidance", "1, 3"), ("seed", "0, 1")))
    assert run.ended == "execution_success", run.error
    told = run.of("skeleton2video.sweep")
    assert {message["sweep"] for message in told} == {"followed"}
    assert {message["node"] for message in told} == {"3"}
    whats = [message["what"] for message in told]
    assert (whats[0], whats[-1], whats.count("cell")) == ("planned", "end", 4)
    assert told[-1]["run"]["state"] == "done" and told[-1]["run"]["stored"] == 4
    steps = [message["run"] for message in told if message["what"] == "step"]
    assert steps and all(step["preview"].startswith("data:image/jpeg") for step in steps)
    assert run.outputs["4"]["skeleton2video_sweep"] == ["followed"]
    assert run.outputs["4"]["images"][0]["filename"].startswith("grid_")

    for prefix in ("", "/api"):
        status, headers, body = get(host, f"{prefix}/skeleton2video/sweep?sweep=followed")
        assert (status, headers["Cache-Control"]) == (200, "no-store")
    shown = json.loads(body)
    assert shown["run"]["state"] == "done"
    id = shown["grid"]["cells"][3]["id"]
    assert shown["grid"]["cells"][3]["labels"] == ["guidance 3", "seed 1"]
    assert shown["grid"]["states"][id]["state"] == "stored"
    form = json.loads(get(host, f"/skeleton2video/cell?sweep=followed&id={id}")[2])
    assert (form["settings"]["guidance"], form["settings"]["seed"], form["loras"]) == (3, 1, [])
    status, headers, body = get(host, f"/skeleton2video/film?sweep=followed&id={id}&tile=160")
    assert status == 200 and body[:2] == b"\xff\xd8"
    assert json.loads(headers["X-Skeleton2Video-Film"])["count"] == 5
    whole = get(host, f"/skeleton2video/clip?sweep=followed&id={id}")
    part = get(host, f"/skeleton2video/clip?sweep=followed&id={id}", Range="bytes=100-199")
    assert (whole[0], whole[1]["Content-Type"], part[0]) == (200, "video/mp4", 206)
    assert part[2] == whole[2][100:200] and part[1]["Content-Range"] == f"bytes 100-199/{len(whole[2])}"


def test_a_stopped_run_says_so(host: Any) -> None:
    prompt = sweep_prompt("halted", ("guidance", "2, 3"), ("seed", "0, 1"))
    prompt["3"]["inputs"]["steps"] = 60  # time to stop it on a quick machine too

    def second(event: dict[str, Any]) -> bool:
        return event["type"] == "skeleton2video.sweep" and event["data"]["run"]["number"] == 2

    run = host.run(prompt, watch=second)
    assert run.ended == "execution_interrupted"
    last = run.of("skeleton2video.sweep")[-1]
    assert (last["what"], last["run"]["state"], last["run"]["problem"]) == ("end", "stopped", "")
    states = json.loads(get(host, "/skeleton2video/sweep?sweep=halted")[2])["grid"]["states"]
    kinds = [state["state"] for state in states.values()]
    assert kinds.count("stored") == last["run"]["stored"] >= 1 and "missing" in kinds


@pytest.mark.parametrize(
    "name",
    [
        "../followed",
        "..",
        "..%2f..%2f..%2fetc",
        "%2e%2e/%2e%2e",
        "/etc/passwd",
        "followed/../..",
        "a%00b",
        "@x",
        "",
        ".",
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(host: Any, name: str) -> None:
    for what in ("sweep", "cell", "film", "clip"):
        status, headers, body = get(host, f"/skeleton2video/{what}?sweep={name}&id={'0' * 64}&tile=96")
        assert status in (400, 404) and "problem" in json.loads(body), (what, status)
        assert headers["Content-Type"].startswith("application/json")


def test_a_cell_s_id_is_no_path(host: Any) -> None:
    (host.base / "output" / "skeleton2video" / "plain").mkdir(parents=True, exist_ok=True)
    for id in ("../../followed", "..", "/etc/passwd", "0" * 63 + "/", "store.json"):
        for what in ("cell", "film", "clip"):
            status, _, body = get(host, f"/skeleton2video/{what}?sweep=followed&id={quote(id, safe='')}&tile=96")
            assert status == 404 and "problem" in json.loads(body)
    # A folder of results that is no sweep, and one that does not exist, are the same to whoever asks.
    for name in ("plain", "never"):
        status, _, body = get(host, f"/skeleton2video/sweep?sweep={name}")
        assert status == 404 and "has no cells yet" in json.loads(body)["problem"]


def test_the_page_s_scripts_are_served(host: Any) -> None:
    scripts = [path for path in host.get("/extensions") if "/skeleton2video-under-test/js/" in path]
    files = (ROOT / "nodes" / "web" / "js").glob("*.js")
    assert sorted(path.rsplit("/", 1)[1] for path in scripts) == sorted(file.name for file in files)
    for sheet in ("sweep_grid.css", "grid_table.css"):
        status, headers, body = get(host, scripts[0].rsplit("/", 1)[0] + "/" + sheet)
        assert status == 200 and headers["Content-Type"].startswith("text/css") and b"--s2v-" in body
