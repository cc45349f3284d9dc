"""``s2v aist`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from tests.dataset.toy_videos import names, write_videos

NAMES = [str(name) for name in names(2)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_videos(tmp_path_factory.mktemp("videos"), names(2))
    (folder / "holiday.mp4").write_bytes(b"x")
    (folder / "gWA_sBM_c01_d25_mWA0_ch01.mp4").write_bytes(b"no video")
    return folder


def s2v(*given: Any) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["aist", *map(str, given), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_catalog(videos: Path, tmp_path: Path):
    code, said = s2v("catalog", videos, "--list", "--split", "--picture", tmp_path / "p.png")
    assert code == 0 and (said["clips"], said["chosen"], said["dances"]) == (3, 3, 3)
    assert [refused["file"] for refused in said["refused"]] == ["holiday.mp4"] and "no valid genre" in str(said)
    assert said["camera"] == {"c01": 3} and sum(said["sets"].values()) == 3 and len(said["list"]) == 3
    assert (tmp_path / "p.png").is_file()
    code, said = s2v("catalog", videos, "--genre", "waack", "--camera", "random")
    assert code == 0 and said["chosen"] == 1 and said["left out"] == {"genre": 2}
    code, said = s2v("catalog", videos, "--genre", "gXX")
    assert code == 1 and "No clip has the genre" in said["error"]["problem"]
    (tmp_path / "list.txt").write_text(f"{NAMES[0]}\nodd\n")
    code, said = s2v("catalog", tmp_path / "list.txt")
    assert code == 0 and said["chosen"] == 1 and said["refused"][0]["file"] == "line 2: odd"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert s2v("catalog", empty) == (1, {"clips": 0, "refused": []})


def test_prepare_and_look(videos: Path, tmp_path: Path):
    (tmp_path / "train.txt").write_text("\n".join(name.replace("c01", "cAll") for name in [*NAMES, "odd"]))
    small = ("--size", "64x48", "--frames", 17, "--workers", 0, "--no-tidy")
    given = (*small, "--pose", "aistpp", "--keypoints", videos / "keypoints2d", "--trim", "motion")
    out = tmp_path / "out"
    code, said = s2v("prepare", videos, "--out", out, *given, "--genre", f"{NAMES[0][:3]},gWA")
    assert code == 1, "a clip failed"
    assert said["made"] == 1 and [one["file"] for one in said["failed"]] == ["gWA_sBM_c01_d25_mWA0_ch01.mp4"]
    assert said["not taken"][0]["file"] == "holiday.mp4" and Path(said["list"]).is_file()
    code, said = s2v("prepare", videos, "--out", out, *given, "--split-list", f"train={tmp_path / 'train.txt'}")
    assert code == 0 and (said["made"], said["there already"], said["failed"]) == (1, 1, [])
    code, said = s2v("prepare", videos, "--out", out, *given, "--split", "--split-list", "train=x")
    assert code == 1 and "cannot be made of this" in said["error"]["problem"]
    code, said = s2v("prepare", videos, "--out", out, *small[:-1], "--pose", "aistpp")
    assert code == 1 and "keypoints are not given" in said["error"]["problem"]
    code, said = s2v("look", out)
    assert code == 0 and said["clips"] == 2 and Path(said["page"]).is_file() and len(said["sheets"]) == 1
    next((out / "poses").iterdir()).unlink()
    assert s2v("look", out)[0] == 1


def test_download_asks_for_the_terms(tmp_path: Path):
    (tmp_path / "list.txt").write_text(f"{NAMES[0]}\n")
    code, said = s2v("download", tmp_path / "list.txt", "--out", tmp_path / "clips")
    assert code == 1 and "terms of use" in said["error"]["problem"] and not (tmp_path / "clips").exists()
