"""The workflows in ComfyUI's own page: opened as a person opens them, and run by pressing Run.

The whole matrix, every workflow by template browser and by drag and drop in every host, takes its time:

    S2V_LONG_TESTS=1 S2V_HOSTS="~/comfy/ComfyUI;~/comfy/ComfyUI=/tmp/newest;~/comfy/ComfyUI-0.3.64=/tmp/overlay" \\
        S2V_SHOTS=/tmp/shots python -m pytest tests/host/test_browser_workflows.py

``S2V_HOSTS``: checkouts, each with a folder of packages that go first (another frontend) behind "=". ``S2V_SHOTS``: a
folder for a picture of every graph before and after its run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workflows.make import browser as page
from workflows.make.frozen import FORMS
from workflows.make.hosts import PACK, RunningHost, fill_base, running
from workflows.make.shrink import smaller

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
FROZEN = ROOT / "tests" / "frozen"
EVERY = sorted(path.stem for path in FOLDER.glob("*.json"))
KEPT = sorted(path for path in FROZEN.glob("*/*.json") if path.name != FORMS)
LONG = pytest.mark.skipif("S2V_LONG_TESTS" not in os.environ, reason="a long test; set S2V_LONG_TESTS=1")
SECONDS = 900  # for a run, on a busy machine
# What pages say that is not ours: a frontend newer than its host asks for what the host does not have, and 1.27
# stumbles at its start over its own settings.
NOT_OURS = ("Jobs API", "Failed to fetch", "ResizeObserver", "manager", "Proxy.addSetting")

# What a page shows below a node and some frontends send along with its fields; no node has an input of such a name.
SHOWN = ("preview", "previewMode", "previewText", "video-preview")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def problems(browser: page.Browser) -> list[str]:
    return [said for said in browser.problems() if not any(word in said for word in NOT_OURS)]


def check_graph(browser: page.Browser, drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands there is what was drawn: every node known, none red, every field with its value, nothing overlaps."""
    nodes = browser.nodes()
    assert browser.dialogs() == []
    assert {node["id"]: node["type"] for node in nodes} == {node["id"]: node["type"] for node in drawn["nodes"]}
    for node, wanted in zip(nodes, sorted(drawn["nodes"], key=lambda node: node["id"]), strict=True):
        assert not node["missing"] and not node["red"], node
        values = [widget["value"] for widget in node["widgets"]]
        for value, there in zip(wanted["widgets_values"], values, strict=False):
            assert there == value or value == "", f"{node['type']}: {values} instead of {wanted['widgets_values']}"
        linked = sum(slot["link"] is not None for slot in wanted["inputs"])
        assert sum(slot["link"] is not None for slot in node["inputs"]) == linked
    check_room(nodes)
    return nodes


def check_room(nodes: list[dict[str, Any]]) -> None:
    """No node lies on another, title and all, and none is smaller than what it has to show."""
    boxes = [(node["id"], node["pos"][0], node["pos"][1] - 30, node["size"][0], node["size"][1] + 30) for node in nodes]
    for first, x, y, wide, tall in boxes:
        for second, left, top, width, height in boxes:
            apart = x + wide <= left or left + width <= x or y + tall <= top or top + height <= y
            assert first == second or apart, f"nodes {first} and {second} overlap"


def make_small(browser: page.Browser, nodes: list[dict[str, Any]]) -> None:
    """Write smaller values into the fields, as a person does for a quick try."""
    changes = []
    for node in nodes:
        values = {widget["name"]: widget["value"] for widget in node["widgets"]}
        changes += [[node["id"], name, value] for name, value in smaller(node["type"], values).items()]
    browser.set(changes=changes)


def press_run(browser: page.Browser) -> dict[str, Any]:
    done: dict[str, Any] = browser.run(timeout=SECONDS)
    assert done["status"] == "success", done
    assert browser.dialogs() == [] and problems(browser) == []
    nodes = browser.nodes()
    assert not [node for node in nodes if node["red"]]
    check_room(nodes)
    return done


def api_of(browser: page.Browser) -> dict[str, Any]:
    """The graph as the browser sends it, without the notes of its own, and without what it shows in its previews."""

    def inputs_of(node: Any) -> dict[str, Any]:
        return {name: value for name, value in node["inputs"].items() if name not in SHOWN}

    return {
        id: {"class_type": node["class_type"], "inputs": inputs_of(node)}
        for id, node in browser.api().items()
        if node["class_type"] != "MarkdownNote"
    }


def twin(path: Path) -> dict[str, Any]:
    said = read(path)
    return {id: {"class_type": node["class_type"], "inputs": node["inputs"]} for id, node in said.items()}


def differences(came: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Of two graphs in API form, by node and field."""

    def flat(graph: dict[str, Any]) -> dict[str, Any]:
        fields = {f"{id}.{name}": value for id, node in graph.items() for name, value in node["inputs"].items()}
        return {**fields, **{id: node["class_type"] for id, node in graph.items()}}

    a, b = flat(came), flat(expected)
    # Newer frontends send a field's own text, which is its default "", when the node that feeds it is bypassed.
    more = {name for name in a if name not in b and a[name] == ""}
    names = sorted({*a, *b} - more)
    return [f"{name}: {a.get(name)} for {b.get(name)}" for name in names if a.get(name, ()) != b.get(name, ())]


def open_template(browser: page.Browser, pack: str, name: str) -> None:
    browser.template(pack=pack, name=name)
    browser.card(name=name)


@pytest.fixture(scope="module")
def browsing(host: Any) -> Iterator[page.Browser]:
    if missing := page.what_is_missing():
        pytest.skip(f"BROWSER TESTS SKIPPED: {missing}")
    with page.opened(host.url("")) as browser:
        yield browser


def test_quick_look_opens_from_the_template_browser_and_runs(browsing: page.Browser, host: Any) -> None:
    pack = next(name for name in host.get("/workflow_templates") if name.startswith("skeleton2video"))
    open_template(browsing, pack, "quick_look")
    nodes = check_graph(browsing, read(FOLDER / "quick_look.json"))
    assert differences(api_of(browsing), twin(FOLDER / "api" / "quick_look.json")) == []
    make_small(browsing, nodes)
    # A name of its own, so that other tests' cells are not counted; the first values only.
    run = next(node["id"] for node in nodes if node["type"] == "Skeleton2Video_RunSweep")
    browsing.set(changes=[[run, "name", "opened"], [run, "steps", 1]])
    done = press_run(browsing)
    grid = next(str(node["id"]) for node in nodes if node["type"] == "Skeleton2Video_SweepGrid")
    assert done["outputs"][grid]["images"][0]["filename"].endswith(".mp4")


def test_old_values_of_a_node_with_an_upload_find_their_fields(browsing: page.Browser) -> None:
    """The browser keeps "image" for the upload button, where an old graph has no field yet."""
    browsing.load(graph=read(FROZEN / "0.1.0-first" / "guidance_sweep.json"), name="old")
    clip = next(node for node in browsing.nodes() if node["type"] == "Skeleton2Video_LoadAistClip")
    values = {widget["name"]: widget["value"] for widget in clip["widgets"]}
    assert (values["short"], values["camera"], values["camera_seed"]) == ("error", "as chosen", 0)


# The whole matrix


def hosts() -> list[tuple[str, str]]:
    """(checkout, overlay) of S2V_HOSTS, else the one of the other tests."""
    own = f"{os.environ.get('COMFY_ROOT') or '~/comfy/ComfyUI'}={os.environ.get('COMFY_OVERLAY', '')}"
    parts = [part.partition("=") for part in (os.environ.get("S2V_HOSTS") or own).split(";")]
    return [(str(Path(root).expanduser()), overlay) for root, _, overlay in parts]


def named(host: tuple[str, str]) -> str:
    return "+".join(Path(part).name for part in host if part)


@pytest.fixture(scope="module", params=hosts(), ids=named)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningHost, page.Browser, Path | None]]:
    if missing := page.what_is_missing():
        pytest.skip(f"BROWSER TESTS SKIPPED: {missing}")
    clip, nets = request.getfixturevalue("dancer_clip"), request.getfixturevalue("blazepose_models")
    base = tmp_path_factory.mktemp("stage") / "ComfyUI"
    fill_base(base, "tiny", clip, nets)
    # What the first workflows ask for.
    encoders = base / "models" / "text_encoders"
    (encoders / "models_t5_umt5-xxl-enc-bf16.safetensors").symlink_to(
        encoders / "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    )
    shots = Path(os.environ["S2V_SHOTS"]) / named(request.param) if "S2V_SHOTS" in os.environ else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    root, overlay = request.param
    with running(Path(root), base, overlay) as host, page.opened(host.url, 2600, 1250) as browser:
        yield host, browser, shots


def shoot(browser: page.Browser, shots: Path | None, name: str) -> None:
    if shots:
        browser.view(margin=0)
        browser.shot(file=str(shots / f"{name}.png"))


@LONG
@pytest.mark.parametrize("way", ["template", "drop"])
@pytest.mark.parametrize("name", EVERY)
def test_opens_and_runs(stage: tuple[RunningHost, page.Browser, Path | None], name: str, way: str) -> None:
    _, browser, shots = stage
    if way == "template":
        open_template(browser, PACK, name)
    else:
        browser.drop(file=str(FOLDER / f"{name}.json"))
    nodes = check_graph(browser, read(FOLDER / f"{name}.json"))
    if way == "template":
        shoot(browser, shots, f"{name}-opened")
    assert differences(api_of(browser), twin(FOLDER / "api" / f"{name}.json")) == []
    assert problems(browser) == []
    make_small(browser, nodes)
    press_run(browser)
    if way == "drop":
        shoot(browser, shots, f"{name}-ran")


@LONG
@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_kept_workflows_open_and_run(stage: tuple[RunningHost, page.Browser, Path | None], path: Path) -> None:
    _, browser, _ = stage
    browser.drop(file=str(path))
    nodes = browser.nodes()
    assert not [node for node in nodes if node["missing"] or node["red"]] and browser.dialogs() == []
    expected = twin(path.parent / "api" / path.name)
    for id, node in api_of(browser).items():
        said = {name: value for name, value in node["inputs"].items() if name in expected[id]["inputs"]}
        assert said == expected[id]["inputs"]
    make_small(browser, nodes)
    assert browser.run(timeout=SECONDS)["status"] == "success"


@LONG
def test_help_pages_show_their_pictures(stage: tuple[RunningHost, page.Browser, Path | None]) -> None:
    _, browser, shots = stage
    browser.drop(file=str(FOLDER / "quick_look.json"))
    browser.help(type="Skeleton2Video_SweepGrid")
    seen = browser.images()
    assert len(seen) == 1 and seen[0][0].endswith("/Skeleton2Video_SweepGrid.webp") and seen[0][1] > 100, seen
    if shots:
        browser.shot(file=str(shots / "help.png"))


def test_help_texts_and_thumbnails_are_served(host: Any) -> None:
    import urllib.request

    def size(path: str) -> int:
        with urllib.request.urlopen(host.url(path), timeout=20) as answer:
            return len(answer.read())

    (pack,) = (name for name in host.get("/workflow_templates") if name.startswith("skeleton2video"))
    assert sorted(host.get("/workflow_templates")[pack]) == EVERY
    for name in EVERY:
        assert size(f"/api/workflow_templates/{pack}/{name}.json") == (FOLDER / f"{name}.json").stat().st_size
        assert size(f"/api/workflow_templates/{pack}/{name}.jpg") == (FOLDER / f"{name}.jpg").stat().st_size
    nodes = [name for name in host.get("/object_info") if name.startswith("Skeleton2Video_")]
    for node in nodes:
        assert size(f"/extensions/{pack}/docs/{node}.md")
        assert size(f"/extensions/{pack}/docs/images/{node}.webp")
    assert set(host.get("/i18n")["en"]["nodeDefs"]) >= set(nodes)
