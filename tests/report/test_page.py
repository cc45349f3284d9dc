"""The page's file: what is in it, that nothing in it can do harm, and that it is written whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.sweep_report.findings import Claim, Findings, Number
from s2v_core.sweep_report.options import ReportOptions
from s2v_core.sweep_report.write import SCRIPTS, write_report
from tests.report.conftest import EVIL, NO_FACE


class Reader(HTMLParser):
    """A page's elements with their attributes, and the text of scripts, styles and all else."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style", "title"):
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        if tag in ("script", "style", "title"):
            self.open.pop()

    def handle_data(self, data):
        self.texts.append((self.elements[self.open[-1]] if self.open else None, data))

    def text(self, tag, **attrs):
        found = [data for of, data in self.texts if of and of[0] == tag and attrs.items() <= of[1].items()]
        return "".join(found)


@pytest.fixture(scope="module")
def page(write):
    findings = Findings(
        (Claim(EVIL, "supported", EVIL, (Number(EVIL, 1.0, 0.5, 1.5, EVIL, 0.0),), EVIL),), notes=(EVIL,)
    )
    return Reader(write(findings=findings, title=EVIL).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def facts(page):
    return json.loads(page.text("script", id="facts"))


def test_texts_stay_texts_wherever_they_stand(page, facts):
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert {attrs.get("type") for attrs in scripts} == {"application/json", "text/plain", None}
    assert len([attrs for attrs in scripts if "type" not in attrs]) == 1, "the page's own script alone runs"
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert page.text("title") == EVIL
    shown = "".join(data for of, data in page.texts if of is None)
    assert shown.count(EVIL) == 8, "headline, prompt, claim, its words, reason, number and unit, and the note"
    assert facts["cells"][0]["prompt"] == EVIL
    assert facts["cells"][5]["reason"] == "RuntimeError: out of <memory>"


def test_the_browser_lets_only_this_script_run_and_reaches_nothing(page):
    (policy,) = [attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv")]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'" and "connect-src" not in allowed

    def own(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (script,) = [data for of, data in page.texts if of == ("script", {})]
    assert allowed["script-src"] == own(script)
    assert allowed["style-src"] == own(page.text("style"))
    assert not [attrs for _, attrs in page.elements if "style" in attrs]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script + page.text("style"))
    assert not [attrs for tag, attrs in page.elements if tag == "link" or "src" in attrs]


def test_the_facts_are_the_sweeps(facts, result):
    assert [axis["title"] for axis in facts["axes"]] == ["guidance", "seed"]
    assert facts["axes"][0] == {"name": "guidance", "title": "guidance", "labels": ["1", "2", "3"], "values": [1, 2, 3]}
    assert (facts["rows"], facts["columns"], facts["frames"], facts["fps"]) == ([0], [1], 5, 16.0)
    assert [cell["id"] for cell in facts["cells"]] == [cell.id for cell in result.cells]
    assert [cell["state"] for cell in facts["cells"]] == ["there"] * 5 + ["failed"]
    first = facts["cells"][0]
    assert first["scores"]["toy_identity"] == {"value": 1.0, "low": 1.0, "high": 2.0, "how": ""}
    assert first["scores"]["identity_face"] == {"value": None, "reason": NO_FACE}
    assert facts["cells"][5]["scores"]["toy_pose"] == {"value": None, "reason": "the cell failed"}
    known = {metric["name"]: metric for metric in facts["metrics"]}
    assert list(known) == ["identity_face", "motion", "toy_identity", "toy_pose"], "the order of the registry"
    assert (known["motion"]["direction"], known["motion"]["ideal"], known["motion"]["unit"]) == (
        "neutral",
        1.0,
        "x driving",
    )
    assert known["identity_face"]["count"] == 0


def test_every_clip_is_in_the_page(page, facts):
    files = {attrs["id"].removeprefix("file-") for tag, attrs in page.elements if attrs.get("type") == "text/plain"}
    named = {cell["clip"]["sheet"] for cell in facts["cells"] if cell["clip"]}
    named |= {entry["clip"]["sheet"] if "clip" in entry else entry["still"] for entry in facts["inputs"]}
    assert files == named and len(files) == 7 and facts["files"] == {}
    for name in files:
        kind, data = page.text("script", id=f"file-{name}").split(",")
        assert kind in ("data:image/webp;base64", "data:image/png;base64")
        assert base64.b64decode(data, validate=True)[:4] in (b"RIFF", b"\x89PNG")


def test_the_same_sweep_gives_the_same_bytes(write):
    assert write().read_bytes() == write().read_bytes()


def test_clips_lie_beside_the_page_and_old_ones_go(result, tmp_path):
    page = tmp_path / "a report.html"
    progress = []
    options = ReportOptions(beside=True, tile=96)
    write_report(result, page, options=options, on_progress=lambda *done: progress.append(done))
    folder = tmp_path / "a report_clips"
    facts = json.loads(Reader(page.read_text(encoding="utf-8")).text("script", id="facts"))
    assert facts["files"] == {path.name: f"a%20report_clips/{path.name}" for path in sorted(folder.iterdir())}
    assert len(facts["files"]) == 5 and progress[-1] == (5, 5)
    assert "base64" not in re.sub(r"sha256-\S+", "", page.read_text(encoding="utf-8").split("<script>")[0])
    (folder / "cell-0123456789abcdef.mp4").touch()
    (folder / "mine.txt").write_text("mine")
    write_report(result, page, options=options)
    assert {path.name for path in folder.iterdir()} == {*facts["files"], "mine.txt"}


def test_nothing_half_is_left_behind(result, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("an older one")
    with pytest.raises(Interrupted):
        write_report(result, page, should_stop=lambda: True)
    assert page.read_text() == "an older one" and list(tmp_path.iterdir()) == [page]
    with pytest.raises(SettingsError, match=r"ends in \.html"):
        write_report(result, tmp_path / "report.pdf")


def test_scores_may_be_given_and_unknown_metrics_prefer_nothing(write, result):
    scores = {result.cells[0].id: {"my score": 2, "bad": float("nan")}}
    facts = json.loads(Reader(write(scores=scores).read_text(encoding="utf-8")).text("script", id="facts"))
    assert [(metric["title"], metric["direction"]) for metric in facts["metrics"]] == [
        *(("my score", "neutral"), ("bad", "neutral"))
    ]
    assert facts["cells"][0]["scores"] == {
        "my score": {"value": 2.0, "how": ""},
        "bad": {"value": None, "reason": "no number was given"},
    }


def test_a_damaged_cell_and_damaged_scores_say_so(pictures, result, tmp_path):
    from s2v_core.sweeps.run import run_sweep
    from s2v_core.sweeps.store import CellStore

    store = CellStore(tmp_path / "cells")
    made = run_sweep(result.sweep, pictures.PictureRenderer(), store)
    store.add_scores(made.cells[0].id, {"motion": {"version": "1", "value": 1.0}})
    scored = store.add_scores(made.cells[1].id, {"motion": {"version": "1", "value": 2.0}})
    scored.write_text(scored.read_text().replace("2.0", "3.0"))
    clip = store.path(made.cells[2].id) / "clip.mkv"
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")
    page = write_report(replace(made, failed={}), tmp_path / "report.html")
    cells = json.loads(Reader(page.read_text(encoding="utf-8")).text("script", id="facts"))["cells"]
    assert cells[0]["scores"]["motion"]["value"] == 1.0
    assert cells[1]["scores"]["motion"]["reason"].startswith("the stored scores are damaged: ")
    assert cells[2]["state"] == "failed" and cells[2]["reason"].startswith("damaged: clip.mkv has changed")


def test_a_sweep_with_nothing_computed_still_has_a_page(result, tmp_path):
    from s2v_core.sweeps.store import CellStore

    bare = replace(result, store=CellStore(tmp_path / "cells"), failed={}, computed=())
    page = Reader(write_report(bare, tmp_path / "report.html").read_text(encoding="utf-8"))
    facts = json.loads(page.text("script", id="facts"))
    assert {cell["state"] for cell in facts["cells"]} == {"missing"} and facts["metrics"] == []


def test_every_script_of_the_page_is_used():
    from s2v_core.sweep_report.write import PAGE

    assert {path.name for path in PAGE.glob("*.js")} == set(SCRIPTS)
    assert not any("</script" in path.read_text(encoding="utf-8").lower() for path in PAGE.glob("*.*s"))
