"""The commands as a user calls them, in processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from s2v_core.cli import main
from s2v_core.video.read import read_clip
from s2v_core.video.write import write_clip
from s2v_core.wan.tiny import build_tiny, build_tiny_lora
from tests.wan.other_weights import spoil


def s2v(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "s2v_core.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def json_of(*arguments, code=0):
    ran = s2v(*arguments, "--json")
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout)  # raises when anything else stands on stdout


@pytest.fixture
def json_here(monkeypatch, capsys):
    """``json_of`` in this process, where torch is loaded already: for a second look at what a process has shown."""

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["s2v", *map(str, arguments), "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code or 0) == code, said.err
        return json.loads(said.out)

    return run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("cli") / "model")


def test_help_is_quick_and_light():
    seconds = []
    for _ in range(3):
        before = os.times()
        assert "sweep" in s2v("--help").stdout
        after = os.times()
        # The processor's time, not the clock's: another program on the machine must not decide this.
        seconds.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(seconds) < 0.5
    heavy = (
        "import sys, s2v_core.cli; print([m for m in ('torch', 'diffsynth', 'numpy', 'av', 'cv2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_prompt():
    said = json_of("prompt", "gBR_sBM_c01_d04_mBR0_ch01.mp4", "--subject", "a man with black hair")
    assert "a man with black hair" in said["text"]
    assert "80 beats per minute" in said["text"]
    wrong = json_of("prompt", "gXX_sBM_c01", code=1)
    assert wrong["error"]["problem"]
    shown = s2v("prompt", "gXX_sBM_c01")
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr


def test_pose_of_a_real_dancer(dancer_clip, blazepose_models, tmp_path):
    clip = write_clip(dancer_clip.with_frames(dancer_clip.frames[:20, :, :174]), tmp_path / "dancer.mp4")
    said = json_of(
        "pose", clip, "--frames", 16, "--out", tmp_path / "pose.mkv", "--track", tmp_path / "p.npz",
        "--overlay", tmp_path / "over.mp4", "--size", "96x192",
    )  # fmt: skip
    assert said["found"] == said["frames"] == 16
    drawn = read_clip(tmp_path / "pose.mkv", frames=16)
    assert (drawn.width, drawn.height) == (96, 192)
    assert drawn.frames.any(axis=(1, 2, 3)).all()


def test_sample_and_its_errors(tiny, tmp_path, json_here):
    model = ["--transformer", tiny.transformer, "--vae", tiny.vae, "--text-encoder", tiny.text_encoder]
    lora = build_tiny_lora(tiny, tmp_path / "style.safetensors")
    shape = ["--prompt", "a dancer", "--steps", 2, "--width", 64, "--height", 48, "--frames", 5, "--device", "cpu"]
    said = json_of("sample", *model, *shape, "--lora", f"{lora}:0.5", "--out", tmp_path / "a.mkv")
    assert said["settings"]["loras"] == [{"file": str(lora), "strength": 0.5}]
    assert len(read_clip(tmp_path / "a.mkv", frames=None)) == 5
    plain = json_here("sample", *model, *shape, "--out", tmp_path / "b.mkv")
    assert "step cache" not in plain
    quick = json_here("sample", *model, *shape, "--steps", 6, "--step-cache", 10, "--out", tmp_path / "c.mkv")
    assert quick["step cache"]["steps estimated"] == [2, 3, 4]
    assert "6 of 12 forwards of the model were left out" in quick["notes"][-1]
    a, b = (read_clip(tmp_path / name, frames=None).frames for name in ("a.mkv", "b.mkv"))
    assert not np.array_equal(a, b)
    assert (said["memory"]["plan"], said["memory"]["device"]) == ("resident", "cpu")
    assert said["memory"]["need"] > said["memory"]["weights"]["transformer"] > 0
    eight = json_here("sample", *model, *shape, "--memory", "fp8", "--out", tmp_path / "c.mkv")
    assert eight["memory"]["asked"] == "fp8"
    assert not np.array_equal(b, read_clip(tmp_path / "c.mkv", frames=None).frames)
    assert "the CPU" in json_here("sample", *model, *shape, "--memory", "streaming", code=1)["error"]["expected"]
    swapped = ["--transformer", tiny.vae, "--vae", tiny.vae, "--text-encoder", tiny.text_encoder]
    assert "a Wan VAE" in json_of("sample", *swapped, *shape, code=1)["error"]["got"]
    assert "multiples of 16" in json_here("sample", *model, *shape, "--width", 50, code=1)["error"]["expected"]


def test_a_second_sample_keeps_the_text_encoder_s_file_closed(tmp_path, monkeypatch, json_here):
    """Its weights are gone, behind a sound header; whoever reads them gives another video."""
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("S2V_KEPT_GB", "1")
    files = build_tiny(tmp_path / "model")
    model = ["--transformer", files.transformer, "--vae", files.vae, "--text-encoder", files.text_encoder]
    shape = ["--prompt", "a dancer", "--steps", 1, "--width", 32, "--height", 32, "--frames", 5, "--device", "cpu"]

    def video(name, *more, call=json_here):
        call("sample", *model, *shape, "--out", tmp_path / name, *more)
        return read_clip(tmp_path / name, frames=None).frames

    fresh = video("fresh.mkv", "--fresh")
    assert not (tmp_path / "cache" / "kept").exists()
    first = video("first.mkv", call=json_of)
    spoil(files.text_encoder)
    second = video("second.mkv", call=json_of)
    assert np.array_equal(first, fresh)
    assert np.array_equal(second, fresh)
    assert not np.array_equal(video("other.mkv", "--fresh"), fresh)


def test_doctor_finds_what_is_there(tiny, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(tiny.vae, folder)
    (folder / "cut.safetensors").write_bytes(b"123")
    said = json_of("doctor", "--folder", folder)
    held = {entry["path"].rsplit("/", 1)[-1]: entry["holds"] for entry in said["wan files"]}
    assert held["Wan2.1_VAE.safetensors"] == "a Wan VAE"
    assert held["cut.safetensors"].startswith("unreadable")
    assert said["packages"]["diffsynth"].startswith("2.1.")
    assert any("VACE" in entry for entry in said["missing"])
    assert said["compute"]["attention"]


def test_models_list_and_get(mediapipe_wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    assert len(json_of("models", "get", "blazepose", "--from", mediapipe_wheel)["installed"]) == 7
    found = {entry["name"]: entry["found"] for entry in json_of("models", "list")["files"]}
    assert found["blazepose-detection"].startswith(str(tmp_path))
    refused = json_of("models", "get", "dwpose", "--from", mediapipe_wheel, code=1)["error"]
    assert "does not hold what is to be installed" in refused["problem"]


def test_demo_from_nothing_and_again(blazepose_models, dancer_clip, tmp_path):
    first = json_of("demo", "--out", tmp_path)
    assert (first["computed"], first["reused"], first["failed"]) == (12, 0, {})
    for kind in ("clip", "pose", "reference", "grid", "grid (WebP)", "sheet"):
        assert (tmp_path / first[kind]).stat().st_size > 0
    grid = read_clip(first["grid"], frames=None)
    assert len(grid) == 17
    again = json_of("demo", "--out", tmp_path)
    assert (again["computed"], again["reused"]) == (0, 12)


def test_a_sweep_file_with_a_mistake_names_its_line(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("name: x\nprompt: a dancer\naxis:\n  guidance: [1]\n")
    assert "line 3" in json_of("sweep", "run", file, code=1)["error"]["problem"]


SWEEP = """\
name: killed
prompt: a dancer on a stage
negative: blurry
models:
  transformer: {0.transformer}
  vae: {0.vae}
  text_encoder: {0.text_encoder}
settings: {{steps: 8, width: 96, height: 96, frames: 17}}
axes:
  guidance: [1.5, 3, 4.5]
  seed: [1, 2]
out: results
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_sweep_of_the_real_engine_goes_on_where_it_was(tiny, tmp_path, json_here):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(tiny))
    cells = tmp_path / "results" / "cells"

    def finished():
        return {path.parent.name: path.read_bytes() for path in cells.glob("[0-9a-f]*/clip.mkv")}

    running = subprocess.Popen(
        [sys.executable, "-m", "s2v_core.cli", "sweep", "run", str(file), "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    try:
        while len(finished()) < 2:
            assert running.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        running.kill()
    assert running.wait() == -signal.SIGKILL
    before = finished()
    assert 2 <= len(before) < 6

    said = json_of("sweep", "run", file, "--device", "cpu")
    assert (said["reused"], said["computed"]) == (len(before), 6 - len(before))
    after = finished()
    assert len(after) == 6
    assert all(after[name] == data for name, data in before.items())
    assert not [
        path for path in cells.iterdir() if path.name.startswith(".") and path.is_dir() and any(path.glob("clip*"))
    ]
    assert json_here("sweep", "run", file, "--device", "cpu")["computed"] == 0
