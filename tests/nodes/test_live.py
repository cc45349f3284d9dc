"""What running sweeps tell, and what pages may ask for, with a host's own classes: no model, no server."""

from __future__ import annotations

from typing import Any

import pytest

SWEEP = """
import importlib, sys, types, threading, time
from fractions import Fraction
from pathlib import Path
import numpy as np
part = lambda name: importlib.import_module("my pack-1_x_0." + name)
live, routes, server = part("nodes.live"), part("nodes.routes"), part("nodes.server")
axes, run, store = (part("s2v_core.sweeps." + name) for name in ("axes", "run", "store"))
errors = part("s2v_core.errors")
settings = part("s2v_core.wan.settings").SampleSettings(width=32, height=16, frames=5, steps=3)
prompt = part("s2v_core.prompts.prompt").Prompt("a dancer", "blurry")
sweep = axes.Sweep(prompt, settings, tuple(axes.make_axis(*axis) for axis in (("guidance", [1, 3]), ("seed", [0, 1]))),
                   NAME)
def picture_of(event): return event.step.preview() if hasattr(event, "step") else None
class Step:
    def __init__(self, index): self.index, self.total = index, 3
    def preview(self): return np.full((2, 4, 3), 80 * self.index, np.uint8)
class Painter:
    fingerprint, wrong, pause = {"model": "paint"}, (), 0.0
    def lora_sha256(self, file): return file
    def render(self, prompt, settings, *, on_step=None, should_stop=None):
        if (settings.guidance, settings.seed) in self.wrong: raise ValueError("odd number")
        for index in range(3):
            if should_stop and should_stop(): raise errors.Interrupted
            time.sleep(self.pause)
            on_step(Step(index))
        return part("s2v_core.video.clip").Clip(np.full((5, 16, 32, 3), 40, np.uint8), Fraction(16))
told = []
fake = types.SimpleNamespace(send_sync=lambda kind, said, sid=None: told.append((kind, json.loads(json.dumps(said)))),
                             last_node_id="5", last_prompt_id="p1")
sys.modules["server"] = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=fake))
folder = host.output_folder(NAME)
painter = Painter()
def go(**how):
    with live.feed(folder) as feed:
        return run.run_sweep(sweep, painter, store.CellStore(folder / "cells"), **how,
                             on_event=lambda event: feed(event, picture_of(event)))
"""


def test_a_run_is_told_step_by_step(in_host: Any) -> None:
    said = in_host(
        "NAME = 'told'\n"
        + SWEEP
        + """
painter.wrong, painter.pause = [(3, 1)], 0.06
go()
first, told[:] = list(told), []
painter.wrong = []
calls = []
def stop(): calls.append(1); return True
stopped = ""
import comfy.model_management as management
for error in (errors.Interrupted("x"), management.InterruptProcessingException()):
    try:
        with live.feed(folder): raise error
    except BaseException as caught: stopped += told[-1][1]["run"]["state"] + " "
try:
    with live.feed(folder): raise errors.SettingsError("Broken.")
except errors.SettingsError: pass
failed = told[-1][1]["run"]
print(json.dumps({"first": first, "stopped": stopped, "failed": failed, "plan": (folder / "plan.json").exists()}))
"""
    )
    assert {kind for kind, _ in said["first"]} == {"skeleton2video.sweep"}
    messages = [message for _, message in said["first"]]
    assert {(one["sweep"], one["node"], one["prompt_id"]) for one in messages} == {("told", "5", "p1")}
    whats = [one["what"] for one in messages]
    assert whats[0] == "planned" and whats[-1] == "end"
    assert whats.count("cell") == 4 and whats.count("run") == 4
    # Three steps of 0.06 s, told at most every 0.1 s: never each of them.
    assert 4 <= whats.count("step") <= 8
    step = next(one["run"] for one in messages if one["what"] == "step")
    assert step["preview"].startswith("data:image/jpeg;base64,") and (step["state"], step["steps"]) == ("running", 3)
    cells = [one for one in messages if one["what"] == "cell"]
    assert [one["cell"]["state"] for one in cells] == ["stored", "stored", "stored", "failed"]
    assert cells[0]["cell"]["frames"] == 5 and "odd number" in cells[3]["cell"]["reason"]
    end = messages[-1]["run"]
    assert (end["state"], end["stored"], list(end["failed"].values())) == ("done", 3, ["ValueError: odd number"])
    assert said["stopped"] == "stopped stopped "
    assert (said["failed"]["state"], said["failed"]["problem"]) == ("failed", "Broken.")
    assert said["plan"]


ASK = """
import asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
fake.routes = web.RouteTableDef()
routes.add_routes()
app = web.Application()
app.add_routes(fake.routes)
threads = []
watched = store.CellStore.meta
def meta(self, *given, **named):
    threads.append(threading.current_thread() is threading.main_thread())
    return watched(self, *given, **named)
store.CellStore.meta = meta
async def asking(work):
    async with TestClient(TestServer(app)) as client:
        async def get(what, headers=None, **asked):
            response = await client.get("/skeleton2video/" + what, params=asked, headers=headers or {})
            body = await response.read()
            return {"status": response.status, "type": response.content_type, "length": len(body),
                    "headers": dict(response.headers), "body": body,
                    "json": json.loads(body) if response.content_type == "application/json" else None}
        return await work(get)
"""


def test_what_pages_may_ask_for(in_host: Any) -> None:
    said = in_host(
        "NAME = 'asked'\n"
        + SWEEP
        + ASK
        + """
go()
live._feeds.clear()  # as after a restart
threads.clear()
async def work(get):
    grid = (await get("sweep", sweep=NAME))["json"]
    id = grid["grid"]["cells"][2]["id"]
    form = (await get("cell", sweep=NAME, id=id))["json"]
    film = await get("film", sweep=NAME, id=id, tile="96")
    clip = await get("clip", sweep=NAME, id=id)
    part = await get("clip", sweep=NAME, id=id, headers={"Range": "bytes=10-29"})
    out = await get("clip", sweep=NAME, id=id, headers={"Range": "bytes=99999999-"})
    same = part["body"] == clip["body"][10:30]
    (folder / "plan.json").unlink()
    older = (await get("sweep", sweep=NAME))["json"]["grid"]
    for one in (film, clip, part, out): del one["body"]
    return {"grid": grid, "form": form, "film": film, "clip": clip, "part": part, "out": out, "same": same,
            "older": older, "main": sum(threads), "elsewhere": len(threads) - sum(threads)}
print(json.dumps(asyncio.run(asking(work))))
"""
    )
    grid = said["grid"]["grid"]
    assert (said["grid"]["sweep"], said["grid"]["run"]) == ("asked", None)
    assert [state["state"] for state in grid["states"].values()] == ["stored"] * 4
    assert grid["columns"]["labels"] == ["0", "1"]
    assert (said["form"]["settings"]["guidance"], said["form"]["settings"]["seed"]) == (3, 0)
    assert said["older"]["states"] == grid["states"], "a store without a plan is shown by its cells' labels"
    assert (said["film"]["status"], said["film"]["type"]) == (200, "image/jpeg")
    assert '"count": 5' in said["film"]["headers"]["X-Skeleton2Video-Film"]
    assert "immutable" in said["film"]["headers"]["Cache-Control"]
    assert (said["clip"]["status"], said["clip"]["type"]) == (200, "video/mp4")
    assert (said["part"]["status"], said["part"]["length"], said["same"]) == (206, 20, True)
    assert said["part"]["headers"]["Content-Range"] == f"bytes 10-29/{said['clip']['length']}"
    assert said["out"]["status"] == 416
    # The host's loop waits, and works nothing itself.
    assert said["main"] == 0 and said["elsewhere"] >= 10


LEAVING = ["..", "../..", "../../etc", "/etc", "asked/../..", ".", " ", "", "link", "a\0b", "@0123456789abcdef", "~"]


def test_nothing_else_can_be_read(in_host: Any) -> None:
    said = in_host(
        f"NAME, LEAVING = 'kept', {LEAVING!r}\n"
        + SWEEP
        + ASK
        + """
import shutil
go()
outside = Path(BASE) / "outside"
shutil.copytree(folder, outside / "secret")
(folder.parent / "link").symlink_to(outside / "secret")
async def work(get):
    id = (await get("sweep", sweep=NAME))["json"]["grid"]["cells"][0]["id"]
    ways = [await get(what, sweep=name, id=id, tile="96") for what in ("sweep", "cell", "film", "clip")
            for name in LEAVING]
    ids = [await get(what, sweep=NAME, id=bad, tile="96") for what in ("cell", "film", "clip")
           for bad in ("..", "../" + id, id + "/clip.mkv", id.upper(), "0" * 64, "", "*")]
    tiles = [(await get("film", sweep=NAME, id=id, tile=bad))["status"] for bad in ("97", "-1", "x", "", "\\u0663")]
    before = (await get("sweep", sweep="@" + "0" * 16))["status"]
    key = live.shelf().put(outside / "secret")  # a node names it
    named = await get("film", sweep=key, id=id, tile="96")
    return {"ways": [[one["status"], one["body"].decode("utf-8", "replace")] for one in ways],
            "ids": [[one["status"], one["type"]] for one in ids], "tiles": tiles, "before": before,
            "named": named["status"], "outside": str(outside)}
print(json.dumps(asyncio.run(asking(work))))
"""
    )
    for status, body in said["ways"]:
        assert status in (400, 404), body
        assert "problem" in body and said["outside"] not in body
    assert all(status in (400, 404) and kind == "application/json" for status, kind in said["ids"])
    assert said["tiles"] == [400] * 5
    assert (said["before"], said["named"]) == (400, 200)


@pytest.mark.parametrize("what", ["plan", "clip"])
def test_damage_is_said(in_host: Any, what: str) -> None:
    said = in_host(
        f"NAME, WHAT = 'damaged_{what}', {what!r}\n"
        + SWEEP
        + ASK
        + """
result = go()
live._feeds.clear()
id = result.cells[1].id
clip = folder / "cells" / id / "clip.mkv"
if WHAT == "plan": (folder / "plan.json").write_text("{")
else: clip.write_bytes(bytes(reversed(clip.read_bytes())))  # of the same size
async def work(get):
    grid, film = await get("sweep", sweep=NAME), await get("film", sweep=NAME, id=id, tile="96")
    return {"grid": [grid["status"], grid["json"]], "film": [film["status"], film["json"]]}
print(json.dumps(asyncio.run(asking(work))))
"""
    )
    if what == "plan":
        assert said["grid"][0] == 404 and "plan.json cannot be read" in said["grid"][1]["problem"]
        assert said["film"][0] == 200
    else:
        assert said["grid"][0] == 200
        assert said["film"][0] == 404 and "clip.mkv has changed" in said["film"][1]["problem"]
