from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from s2v_core.aist.catalog import scan_folder
from s2v_core.dataset.look import look
from s2v_core.dataset.manifest import read_rows
from s2v_core.dataset.prepare import Sources, prepare
from s2v_core.errors import Interrupted, SettingsError
from tests.dataset.toy_videos import names, settings, write_videos


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    videos = write_videos(tmp_path_factory.mktemp("videos"), names(3))
    (videos / "gWA_sBM_c01_d25_mWA0_ch01.mp4").write_bytes(b"<b>no video</b>")
    (videos / "<i>holiday.mp4").write_bytes(b"x")
    out = tmp_path_factory.mktemp("made") / "my data & more"
    prepare(scan_folder(videos), out, settings(), sources=Sources(keypoints=videos / "keypoints2d"))
    return out


class Page(HTMLParser):
    """What a browser finds: open tags must be closed in order."""

    VOID = ("meta", "input", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.cards: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        self.links += [given[name] for name in ("src", "href") if given.get(name)]
        if tag == "article":
            self.cards.append(given["class"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_is_wrong_stands_first(made: Path, tmp_path: Path):
    dataset = Path(shutil.copytree(made, tmp_path / made.name))
    rows = read_rows(dataset)
    (dataset / rows[2]["pose"]).unlink()
    picture = dataset / rows[1]["vace_reference_image"]
    picture.write_bytes(bytes(reversed(picture.read_bytes())))
    (dataset / "clips" / "stray.mp4").write_bytes(b"x")
    steps: list[tuple[int, int]] = []
    seen = look(dataset, on_progress=lambda *step: steps.append(step))
    assert (seen.clips, seen.damaged, seen.failed, seen.strays) == (3, 2, 1, ("clips/stray.mp4",))
    assert steps[-1] == (3, 3) and seen.page == dataset / "look" / "index.html"
    text = seen.page.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open and page.cards[:2] == ["damaged", "damaged"] and len(page.cards) == 3
    assert "is missing." in text and "was changed after it was made." in text and "clips/stray.mp4" in text
    places = [
        text.index(word) for word in ("1 failed", "1 file was not taken", "1 file belongs to no clip", "<article")
    ]
    assert places == sorted(places)
    assert "&lt;i&gt;holiday.mp4" in text and "<i>holiday" not in text
    for link in page.links:
        assert not re.match(r"[a-z]+:", link), "nothing from elsewhere"
        assert (seen.page.parent / unquote(link)).resolve().is_file()
    assert "ISMIR 2019" in text and "CC BY 4.0" in text and "break dance with basic choreography" in text


def test_strips_and_sheets_show_the_clips(made: Path, tmp_path: Path):
    seen = look(made, tmp_path / "page")
    with Image.open(tmp_path / "page" / "strips" / f"{read_rows(made)[0]['id']}.jpg") as strip:
        tiles = np.split(np.asarray(strip.convert("L"), np.float32), 4, axis=1)
    assert strip.size == (4 * 320, 240)
    first, pose, *over = tiles
    assert first.mean() > 60 > 20 > pose.mean() > 0.5 and all(20 < tile.mean() < first.mean() for tile in over)
    (sheet,) = seen.sheets
    with Image.open(sheet) as picture:
        assert picture.width == 2 * 32 + 2 * 960 + 24 and picture.height > 600
    # A second look replaces the first one's pictures.
    (tmp_path / "page" / "sheet-9.jpg").write_bytes(b"old")
    assert look(made, tmp_path / "page").sheets == seen.sheets and not (tmp_path / "page" / "sheet-9.jpg").exists()
    assert Page(seen.page.read_text()).links


def test_a_manifest_cannot_lead_out_of_its_folder(made: Path, tmp_path: Path):
    dataset = Path(shutil.copytree(made, tmp_path / "d"))
    lines = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    lines[0]["video"] = "../secret.mp4"
    lines[0]["files"] = {"../../secret": {"bytes": 1, "sha256": ""}}
    lines[0]["id"] = "../../evil"
    (dataset / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    seen = look(dataset)
    assert seen.damaged == 1 and not (tmp_path / "evil.jpg").exists()
    assert "leaves its folder" in seen.page.read_text()


def test_a_folder_that_is_no_dataset(made: Path, tmp_path: Path):
    with pytest.raises(SettingsError, match="is no prepared dataset"):
        look(tmp_path)
    with pytest.raises(Interrupted):
        look(made, tmp_path / "out", should_stop=lambda: True)
