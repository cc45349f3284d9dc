"""The grid in the graph, in a real ComfyUI and a real browser: live, cancelled, killed, reopened, clicked.

S2V_LONG_TESTS=1 also looks at it in light and dark, in both kinds of nodes, and at samplers in other places;
S2V_FRONTEND: another frontend's files (the folder ``static`` of its package).
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2v_core.files import sha256_file
from s2v_core.wan.embedded import nano_lora
from tests.host.conftest import PACK, ROOT, Host, comfy_root, end_host, need_requirements, start_host, wait_until_ready
from tests.host.grid_page import GRID, LORA, STEPS, Page, graph

pytestmark = [pytest.mark.host, pytest.mark.slow]
LONG = "S2V_LONG_TESTS"
SHOTS = os.environ.get("S2V_SHOTS")


class Stage:
    """A server that may be killed and comes back at the same place, and a page."""

    def __init__(self, base: Path, *more: str) -> None:
        self.base, self.more = base, more
        self.host: Host | None = None
        self.page = Page()
        self.start()

    def start(self, port: int = 0) -> None:
        self.host = start_host(comfy_root(), self.base, *self.more, port=port)
        try:
            wait_until_ready(self.host)
        except BaseException:
            self.close()
            raise

    def idle(self, seconds: float = 240) -> None:
        """Until the host has nothing to run."""
        end = time.monotonic() + seconds
        while any(self.host.get("/queue").values()):
            assert time.monotonic() < end, "the host is still at work"
            time.sleep(0.2)

    def kill(self) -> None:
        os.killpg(self.host.process.pid, signal.SIGKILL)
        self.host.process.wait(20)

    def restart(self) -> None:
        self.start(self.host.port)

    def close(self) -> None:
        self.page.close()
        end_host(self.host)

    def open(self, **settings: Any) -> None:
        self.page.open(self.host.url(""), **{"Comfy.ColorPalette": "dark", "Comfy.VueNodes.Enabled": False, **settings})

    def cells(self, name: str) -> dict[str, str]:
        """The finished cells on the disk: id -> sha256 and time of the clip."""
        folder = self.base / "output" / "skeleton2video" / name / "cells"
        return {
            file.parent.name: f"{sha256_file(file)} {file.stat().st_mtime_ns}" for file in folder.glob("*/clip.mkv")
        }

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.shot(Path(SHOTS) / f"{name}.png")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    need_requirements(comfy_root())
    base = tmp_path_factory.mktemp("browser")
    for folder in ("input", "output", "temp", "user", "custom_nodes", "models/loras"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    shutil.copyfile(nano_lora("article"), base / "models" / "loras" / LORA)
    frontend = os.environ.get("S2V_FRONTEND")
    stage = Stage(base, *(["--front-end-root", frontend] if frontend else []))
    yield stage
    stage.close()


def test_cancelled_killed_and_run_again(stage: Stage) -> None:
    """A sweep that is stopped and whose server is killed: what was finished is there at once, and stays as it is."""
    page = stage.page
    stage.open()
    page.show(graph("killed"))
    page.wait(f"() => {GRID}.skeleton2video.said.textContent.includes('no cells yet')")
    page.click(".s2v-button")  # Run
    page.wait("() => document.querySelector('.s2v-cell[data-state=stored]')")
    assert list(page.states.values()).count("running") <= 1
    page.wait(f"() => {GRID}.skeleton2video.source.run?.preview?.startsWith('data:image/jpeg')")
    stage.shot("running")
    page.click(".s2v-button")  # Stop
    page.wait(f"() => {GRID}.skeleton2video.said.textContent.includes('stopped')")
    kept = stage.cells("killed")
    assert 1 <= len(kept) < 4
    page.wait_painted(len(kept))
    stage.shot("stopped")

    stage.kill()
    stage.restart()
    # A page that stayed open sees the new server; one that is opened afresh finds the same.
    page.wait(f"() => {GRID}.skeleton2video.source.run === null")
    stage.open()
    page.show(graph("killed"))
    page.wait_painted(len(kept))
    assert len(page.painted) == list(page.states.values()).count("stored") == len(kept)
    assert f"{len(kept)} of 4 cells" in page.said and "Run makes the other" in page.said
    assert stage.host.get("/history") == {}, "nothing has run"
    stage.shot("reopened")

    page.click(".s2v-button")  # Run
    page.wait(f"() => {GRID}.skeleton2video.said.textContent === '4 of 4 cells'")
    done = stage.cells("killed")
    assert len(done) == 4
    assert {id: done[id] for id in kept} == kept, "finished cells were written again"
    page.wait_painted(4)
    assert page.overlaps() == []
    assert page.own_problems() == []
    stage.idle()  # the grid is drawn and saved


def test_a_click_sets_the_sampler(stage: Stage) -> None:
    page = stage.page
    before = page.values(10)
    assert (before["steps"], before["guidance"]) == (30, 5)
    page.hover('.s2v-cell[data-at="1 1"]')
    page.wait("() => document.querySelector('.s2v-large video')?.dataset.ready === 'yes'")
    stage.shot("enlarged")
    page.click('.s2v-cell[data-at="1 1"]')
    page.wait(f"() => {GRID}.skeleton2video.last?.labels[0] === 'guidance 3'")
    after = page.values(10)
    changed = {name: value for name, value in after.items() if before[name] != value}
    assert changed == {"steps": STEPS, "guidance": 3, "seed": 1, "control_after_generate": "fixed"}
    assert page.values(9)["strength"] == 1, "the LoRA in front of the sampler"
    assert page.values(6)["strength"] == 1 and page.last["missed"] == []
    told = page.evaluate("() => document.querySelector('.s2v-told').innerText")
    assert f"steps 30 → {STEPS}" in told and "LoRA strength 0.3 → 1" in told and "Wan-VACE Sampler #10" in told
    stage.shot("set")
    # By keyboard: to the cell on the left, and into the sampler.
    page.press("ArrowLeft", "Enter")
    page.wait(f"() => {GRID}.skeleton2video.last?.labels[1] === 'LoRA 0'")
    assert page.values(9)["strength"] == 0
    # What cannot be set is said.
    page.evaluate("() => { const node = app.graph.nodes.find((one) => one.type.endsWith('WanVaceSampler'));"
                  " node.disconnectInput(node.inputs.findIndex((one) => one.name === 'loras')); }")  # fmt: skip
    page.click('.s2v-cell[data-at="0 1"]')
    page.wait(f"() => {GRID}.skeleton2video.last?.labels.join() === 'guidance 1,LoRA 1'")
    assert page.last["missed"] == ["LoRA article at 1: add a Wan-VACE LoRA node for it"]
    assert page.values(10)["guidance"] == 1
    assert "Not set:" in page.evaluate("() => document.querySelector('.s2v-told').innerText")
    assert page.own_problems() == []
    stage.shot("not_set")


@pytest.mark.parametrize("kind", ["mp4", "png"])
def test_a_saved_file_gives_the_graph_back(stage: Stage, kind: str) -> None:
    """The grid's video and contact sheet, dragged from a folder onto an empty graph."""
    page = stage.page
    (file,) = (stage.base / "output" / "skeleton2video" / "killed").glob(f"grid_*.{kind}")
    page.evaluate("() => app.graph.clear()")
    page.drop(file)
    page.wait("() => app.graph.nodes.length === 10")
    kinds = sorted(page.evaluate("() => app.graph.nodes.map((node) => node.type)"))
    assert kinds == sorted(node["class_type"] for node in graph("killed").values())
    assert page.values(7)["name"] == "killed" and page.values(7)["steps"] == STEPS
    links = "Object.values(app.graph.links instanceof Map ? [...app.graph.links.values()] : app.graph.links).length"
    asked = [value for node in graph("killed").values() for value in node["inputs"].values()]
    assert page.evaluate(f"() => {links}") == sum(isinstance(value, list) for value in asked)
    page.wait_painted(4)
    assert page.own_problems() == []


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes a minute; {LONG}=1 runs it")
@pytest.mark.parametrize("palette", ["dark", "light"])
@pytest.mark.parametrize("nodes", ["canvas", "elements"])
def test_in_every_look(stage: Stage, palette: str, nodes: str) -> None:
    page = stage.page
    stage.open(**{"Comfy.ColorPalette": palette, "Comfy.VueNodes.Enabled": nodes == "elements"})
    if nodes == "elements" and page.frontend < (1, 30):
        pytest.skip("this frontend has no place for any pack's panels in nodes that are elements")
    for width, height in ((300, 640), (560, 760), (900, 900)):
        page.show(graph("killed"), size=(width, height))
        page.wait_painted(4)
        assert page.overlaps() == []
        panel = page.evaluate(f"() => {GRID}.skeleton2video.root.getBoundingClientRect().toJSON()")
        # Frontends may give a node more than it asks for, never less than its panel needs.
        assert panel["width"] >= width - 60 and panel["height"] >= 300
        tiles = page.evaluate("() => [...document.querySelectorAll('.s2v-cell')].map((one) => one.offsetWidth)")
        assert len(set(tiles)) == 1
        stage.shot(f"look-{palette}-{nodes}-{width}")
    # The wheel zooms the graph over the panel too, where nothing is to scroll.
    scale = page.evaluate("() => app.canvas.ds.scale")
    page.hover(".s2v-count")
    page.do("wheel", y=-120)
    page.wait("(scale) => app.canvas.ds.scale > scale", scale)
    page.do("wheel", y=120)
    assert min(page.contrasts().values()) >= 4.5, page.contrasts()
    before = page.values(10)
    page.click('.s2v-cell[data-at="0 1"]')
    page.wait(f"() => {GRID}.skeleton2video.last?.labels.join() === 'guidance 1,LoRA 1'")
    after = page.values(10)
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "steps": STEPS, "guidance": 1, "seed": 1, "control_after_generate": "fixed",
    }  # fmt: skip
    stage.shot(f"look-{palette}-{nodes}-set")
    assert page.own_problems() == []


def click(page: Page, at: str) -> dict[str, Any]:
    """Click a cell; gives what the page says it has set and missed."""
    page.evaluate(f"() => {{ {GRID}.skeleton2video.last = null; }}")
    page.click(f'.s2v-cell[data-at="{at}"]')
    page.wait(f"() => {GRID}.skeleton2video.last")
    return page.last


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes a minute; {LONG}=1 runs it")
def test_samplers_wherever_they_are(stage: Stage) -> None:
    page = stage.page
    stage.open()
    # None: the page offers to add one, with LoRA nodes of its own.
    prompt = graph("killed")
    del prompt["9"], prompt["10"]
    page.show(prompt)
    page.wait_painted(4)
    page.click('.s2v-cell[data-at="1 0"]')
    page.wait("() => document.querySelector('.s2v-told .s2v-button')")
    page.click(".s2v-told .s2v-button")
    page.wait(f"() => {GRID}.skeleton2video.last")
    assert page.last["missed"] == [] and "guidance 5 → 3" in page.last["changed"]
    assert "LoRA strength 1 → 0" in page.last["changed"]
    assert page.values(6)["strength"] == 1, "the sweep's own LoRA node stays as it is"

    # Inside a subgraph, and its steps out of a primitive node.
    prompt = graph("killed")
    prompt["11"] = {"class_type": "PrimitiveInt", "inputs": {"value": 7}}
    prompt["10"]["inputs"]["steps"] = ["11", 0]
    page.show(prompt)
    page.wait_painted(4)
    inner = "app.graph.nodes.find((node) => node.subgraph).subgraph.nodes[0]"
    page.evaluate(
        "() => { const found = app.graph.nodes.find((node) => node.type.endsWith('WanVaceSampler'));"
        " app.graph.convertToSubgraph(new Set([found])); }"
    )
    assert click(page, "1 1")["missed"] == []
    assert page.values(11)["value"] == STEPS
    assert page.evaluate(f"() => {inner}.widgets.find((one) => one.name === 'guidance').value") == 3

    # A LoRA node that the sampler shares with the sweep is not touched: the next run would be of another sweep.
    prompt = graph("killed")
    prompt["10"]["inputs"]["loras"] = ["6", 0]
    page.show(prompt)
    page.wait_painted(4)
    (missed,) = click(page, "0 0")["missed"]
    assert missed.startswith("LoRA strength 0: Wan-VACE LoRA #6 feeds the sweep too")
    assert page.values(6)["strength"] == 1 and page.values(10)["guidance"] == 1
    # And what was set is taken back by Ctrl+Z.
    page.do("move", x=760, y=960)
    page.press("Control+z")
    page.wait(f"() => {GRID}")
    page.wait("() => app.graph.getNodeById(10)?.widgets.find((one) => one.name === 'guidance').value === 5")
    assert page.own_problems() == []
