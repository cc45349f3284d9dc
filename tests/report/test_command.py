"""``s2v sweep report`` as a user calls it, on a store that is there."""

from __future__ import annotations

import json
import sys

import pytest

from s2v_core.cli import main


@pytest.fixture
def call(monkeypatch, capsys):
    """The JSON that a command prints, in this process."""

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["s2v", "sweep", "report", *map(str, arguments), "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code or 0) == code, said.err
        return json.loads(said.out)

    return run


def test_a_store_becomes_a_page(call, result, tmp_path):
    page = tmp_path / "page.html"
    said = call(result.store.folder, "--out", page, "--title", "mine", "--weight", "toy_pose=2", "--no-full")
    assert (said["page"], said["cells"], said["stored"], said["scored"]) == (str(page), 5, 5, 5)
    text = page.read_text(encoding="utf-8")
    assert said["bytes"] == page.stat().st_size and "<title>mine</title>" in text
    assert "Best by Pose (toy truth)" in text


def test_given_scores_are_shown_and_not_judged(call, result, tmp_path):
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({result.cells[0].id: {"mine": 3.5}}))
    page = tmp_path / "page.html"
    assert call(result.store.folder, "--out", page, "--scores", scores)["scored"] == 1
    text = page.read_text(encoding="utf-8")
    assert '"title": "mine"' in text and "What the numbers say" not in text


def test_mistakes_are_said(call, result, tmp_path):
    wrong = call(result.store.folder, "--out", tmp_path / "page.html", "--weight", "toy_pose=much", code=1)
    assert wrong["error"]["problem"] == "'toy_pose=much' is not a weight."
    wrong = call(result.store.folder, "--out", tmp_path / "page.pdf", code=1)
    assert wrong["error"]["problem"] == "A report cannot be written as page.pdf."
    wrong = call(tmp_path / "nothing", code=1)
    assert wrong["error"]["kind"] == "StoreError"
    assert list(tmp_path.iterdir()) == []
