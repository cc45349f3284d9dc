"""The engine in the host's memory management: known to it, moved by it, gone when it says so, and none the worse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.host.conftest import ROOT, comfy_root, need_requirements

pytestmark = pytest.mark.host
SCRIPT = Path(__file__).with_name("memory_in_comfy.py")
NETS = {"WanVaceTransformer", "WanVaceVAE", "WanVaceTextEncoder"}
WIDER = {"dim": 384, "ffn_dim": 1536, "num_heads": 32, "num_layers": 6}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``memory_in_comfy`` found with the host's own ``model_management``, on a made-up card and on the CPU."""
    root = comfy_root()
    need_requirements(root)
    from s2v_core.wan.tiny import build_tiny

    folder = tmp_path_factory.mktemp("memory")
    build_tiny(folder / "tiny")
    environment = {**os.environ, "PYTHONPATH": os.environ.get("COMFY_OVERLAY", ""), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root), str(ROOT), str(folder)],
        cwd=root,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert not any(scenario["warnings"] for scenario in answer.values()), "the host says that memory leaks"
    return answer


@pytest.fixture(scope="module")
def pixels(found: dict[str, Any]) -> str:
    """The sha256 of the clip that every scenario renders."""
    return str(found["roomy"]["first"])


def test_nets_come_when_they_are_used_and_stay(found: dict[str, Any], pixels: str) -> None:
    said = found["roomy"]
    assert said["before"] == {}
    assert set(said["after"]) == NETS
    assert said["after"] == said["sizes"]
    assert said["second"] == pixels
    assert said["copied again"] == 0


def test_a_guest_s_need_drives_them_off(found: dict[str, Any]) -> None:
    """``free_memory``: as many leave as it takes, as the host's own would."""
    said = found["roomy"]
    left = sum(said["sizes"].values()) - sum(said["after a guest"].values())
    assert 0 < said["wanted"] <= left < sum(said["sizes"].values())
    assert said["guest on"] == "cuda:0"


def test_unload_all_models_leaves_nothing_on_the_device(found: dict[str, Any], pixels: str) -> None:
    said = found["roomy"]
    assert said["unloaded"] == {}
    assert said["on the card"] == 0
    assert said["third"] == pixels
    assert said["left"] == {}
    assert said["gone"] == {}, "an engine that nobody uses any more must leave the host's list"


def test_engines_make_room_for_each_other(found: dict[str, Any], pixels: str) -> None:
    said = found["tight"]
    assert list(said["alone"]) == list(said["ours"]) == ["WanVaceTransformer"]
    assert said["driven off"] == {}
    assert said["again"] == pixels


def test_lowvram_keeps_a_part_in_main_memory(found: dict[str, Any], pixels: str) -> None:
    said = found["low"]
    size, here = said["sizes"]["WanVaceTransformer"], said["loaded"]["WanVaceTransformer"]
    if here == size:
        assert "max(128 * 1024 * 1024" in (comfy_root() / "comfy" / "model_management.py").read_text(encoding="utf-8")
    else:
        assert 0.3 * size < here <= 0.5 * size
        assert said["copied"] > size, "what has no room must come by turns"
    assert said["sha256"] == pixels


def test_novram_keeps_only_small_layers_there(found: dict[str, Any], pixels: str) -> None:
    said = found["no"]
    assert 0 < said["loaded"]["WanVaceTransformer"] < 0.15 * said["sizes"]["WanVaceTransformer"]
    assert said["copied"] > said["sizes"]["WanVaceTransformer"]
    assert said["sha256"] == pixels


def test_without_smart_memory_nothing_stays_after_a_run(found: dict[str, Any], pixels: str) -> None:
    assert found["not smart"]["first"] == pixels
    assert found["not smart"]["after"] == {}


def test_on_the_cpu_the_host_lets_go_of_the_weights(found: dict[str, Any], pixels: str) -> None:
    said = found["cpu"]
    # The text encoder comes with the first text.
    assert said["adopted"] == {name: size for name, size in said["sizes"].items() if name != "WanVaceTextEncoder"}
    assert set(said["both"]) == {*NETS, "Linear"}
    assert said["freed"] == {}
    assert said["parts"] == []
    assert said["kept"] == 0
    assert said["guest on"] == "cpu"
    assert said["first"] == said["second"] == pixels
    assert said["again"] == said["sizes"]
    assert said["gone"] == {}


@pytest.mark.parametrize("place", ["card", "cpu"])
def test_a_text_encoder_that_was_let_go_of_is_not_known(found: dict[str, Any], pixels: str, place: str) -> None:
    said = found["released"][place]
    assert said["most"] > 0
    assert said["sha256"] == [pixels, pixels]
    assert said["known"] == [["transformer", "vae"]] * 2
    assert set(said["after"]) == NETS - {"WanVaceTextEncoder"}
    assert said["parts"] == ["dit", "vace", "vae"]


def test_a_sweep_s_second_model_is_known_too(found: dict[str, Any]) -> None:
    said = found["model axis"]
    assert said["own"] is True
    assert said["before"] == ["WanVaceTransformer"]
    assert said["own later"] == {}, "one model at a time"
    assert said["second"] == ["WanVaceVAE"]


@pytest.fixture(scope="module")
def wide(host: Any, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A tiny model whose transformer is large enough to be seen in a process: its bytes."""
    from s2v_core.wan import tiny

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "_DIT", {**tiny._DIT, **WIDER})
        made = tiny.build_tiny(tmp_path_factory.mktemp("wide") / "model")
    target = host.base / "models" / "diffusion_models" / "wide.safetensors"
    Path(made.transformer).rename(target)
    return target.stat().st_size


def rendered(seed: int, name: str, transformer: str = "wide.safetensors") -> dict[str, Any]:
    """A graph of three nodes and the file that its frames go to."""
    files = {"vae": "wan_2.1_vae.safetensors", "text_encoder": "models_t5_umt5-xxl-enc-bf16.safetensors"}
    load = {"diffusion_model": transformer, **files, "dtype": "auto", "device": "auto"}
    said = {"subject": "a man", "variant": "detailed", "setting": "", "style": "", "negative": ""}
    settings = {"steps": 1, "guidance": 3.0, "shift": 5.0, "seed": seed, "width": 64, "height": 64, "frames": 5}
    settings |= {"control_strength": 1.0, "fit": "letterbox", "solver": "euler", "precision": "float32"}
    return {
        "1": {
            "class_type": "Skeleton2Video_LoadWanVace",
            "inputs": {**load, "tokenizer": "beside the text encoder"},
        },
        "2": {"class_type": "Skeleton2Video_BuildDancePrompt", "inputs": said},
        "3": {
            "class_type": "Skeleton2Video_WanVaceSampler",
            "inputs": {"model": ["1", 0], "prompt": ["2", 0], **settings, "tiling": False},
        },
        "4": {"class_type": "TestDump", "inputs": {"name": name, "image": ["3", 0]}},
    }


def run_and_read(host: Any, prompt: dict[str, Any]) -> bytes:
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert "3" in run.executed
    return bytes((host.base / "output" / f"{prompt['4']['inputs']['name']}.safetensors").read_bytes())


def free(host: Any, **what: bool) -> dict[str, Any]:
    """/free, and the host's memory once it was done. The host does it between two prompts, and collects garbage.

    It misses the call while it collects the garbage of the prompt before, so the call is repeated.
    """
    for _ in range(20):
        assert host.post("/free", what)[0] == 200
        for _ in range(10):
            facts: dict[str, Any] = host.get("/test/memory")
            if not facts["models"]:
                time.sleep(0.5)
                return dict(host.get("/test/memory"))
            time.sleep(0.2)
    pytest.fail(f"/free left {facts['models']}")


def test_free_gives_memory_back_and_the_next_run_is_the_same(host: Any, wide: int) -> None:
    first = run_and_read(host, rendered(1, "first"))
    run_and_read(host, rendered(2, "other"))  # takes the first one's place in the host's cache
    before = host.get("/test/memory")
    assert dict(before["models"])["WanVaceTransformer"] == pytest.approx(wide, rel=0.01)
    assert {name for name, _ in before["models"]} >= NETS
    after = free(host, unload_models=True)
    print(f"weights {wide >> 20} MiB; before {before['rss'] >> 20}, after /free {after['rss'] >> 20} MiB")
    assert before["rss"] - after["rss"] > 0.8 * wide
    again = host.run(rendered(1, "again"))
    assert again.ended == "execution_success", again.error
    assert "1" in again.cached, "the model need not be loaded by its node again"
    assert (host.base / "output" / "again.safetensors").read_bytes() == first

    full = host.get("/test/memory")
    assert full["rss"] - after["rss"] > 0.8 * wide
    emptied = free(host, unload_models=True, free_memory=True)
    assert full["rss"] - emptied["rss"] > 0.8 * wide
    third = rendered(1, "third")
    assert run_and_read(host, third) == first


@pytest.mark.skipif(not os.environ.get("S2V_LONG_TESTS"), reason="LONG TEST: set S2V_LONG_TESTS=1 (ten runs)")
def test_ten_runs_take_no_more_memory(host: Any, wide: int) -> None:
    taken = []
    for seed in range(10):
        run_and_read(host, rendered(seed, "flat"))
        taken.append(host.get("/test/memory?trim=1")["rss"])
    print([rss >> 20 for rss in taken])
    assert max(taken[5:]) - min(taken[2:5]) < 8 << 20
