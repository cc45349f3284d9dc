"""Poses in a real ComfyUI: extracted, edited, retargeted, drawn, saved, loaded, and exchanged with another pack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.pose.openpose_file import load_openpose
from s2v_core.pose.track_file import load_track

pytestmark = pytest.mark.host

Prompt = dict[str, Any]


@pytest.fixture(autouse=True)
def nets(base: Path) -> None:
    if not any((base / "models" / "skeleton2video").glob("*.tflite")):
        pytest.skip("NO BLAZEPOSE NETS: the host has no backend to find poses with")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}


def other(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def extracted(host: Any) -> Prompt:
    """Nodes 1 and 2: nine frames of the dancer and their pose."""
    clip = {"video": "gBR_sBM_c01_d04_mBR0_ch01.mp4", "fps": 15, "frames": 9, "width": 176, "height": 352}
    settings = {"detect_every": 16, "max_people": 6, "provider": "auto"}
    return {
        "1": node("LoadAistClip", **clip, fit="crop", start=0.0, short="error"),
        "2": node("ExtractPose", frames=["1", 0], fps=["1", 3], backend="blazepose", palette="vace",
                  layers="body + face", **settings),
    }  # fmt: skip


def text_of(run: Any, id: str) -> str:
    assert run.ended == "execution_success", run.error
    return str(run.outputs[id]["text"][0])


def test_edit_retarget_and_draw(host: Any) -> None:
    body = {"place": "reference", "size": "reference", "stay_inside": True, "plant_feet": True, "sides": "shared"}
    body |= {"head": "whole", "hands": "forearm", "person": 0, "others": "drop", "quantile": 0.9, "plausible": 0.5}
    prompt = extracted(host) | {
        "3": node("EditPose", pose=["2", 0], person="largest", person_number=0, guard=True, max_gap_ms=250.0,
                  smooth_ms=300.0),
        "4": other("LoadImage", image="reference.png"),
        "5": node("RetargetPose", pose=["3", 0], reference=["4", 0], backend="blazepose", **body),
        "6": node("DrawPose", pose=["5", 0], palette="vace", layers="body + face", width=96, height=192),
        "7": other("PreviewImage", images=["6", 0]),
        "8": other("PreviewImage", images=["5", 1]),
        "9": other("PreviewAny", source=["5", 2]),
        "10": other("PreviewAny", source=["3", 1]),
        "11": other("PreviewAny", source=["2", 2]),
    }  # fmt: skip
    run = host.run(prompt)
    assert "retargeted, scale" in text_of(run, "9")
    assert text_of(run, "10").startswith("trembling: ")
    assert "9 of 9 frames found" in text_of(run, "11")
    assert "LiteRT" in text_of(run, "11")
    assert len(run.outputs["7"]["images"]) == 9
    drawn = pictures(host, run.outputs["7"]["images"])
    assert drawn.shape == (9, 192, 96, 3)
    assert all(frame.any() for frame in drawn)
    again = host.run(prompt)
    assert not again.executed & {"2", "3", "5"}


def test_save_and_load_in_every_format(host: Any) -> None:
    formats = ("track (.npz)", "POSE_KEYPOINT (.json)", "OpenPose (a folder of .json)")
    prompt = extracted(host)
    for number, form in enumerate(formats):
        prompt[f"1{number}"] = node("SavePose", pose=["2", 0], name="saved", format=form)
        prompt[f"2{number}"] = other("PreviewAny", source=[f"1{number}", 0])
    run = host.run(prompt)
    paths = [Path(text_of(run, f"2{number}")) for number in range(3)]
    track = load_track(paths[0])
    assert len(track) == 9
    for path in paths[1:]:
        there = track.scores > 0
        assert np.array_equal(load_openpose(path).points[there], track.points[there])
    inside = [path.relative_to(host.base / "output").as_posix() for path in paths[:2]]
    frame = sorted(paths[2].iterdir())[3].relative_to(host.base / "output").as_posix()
    for file in (*inside, frame):
        loaded = host.run(
            {
                "1": node("LoadPose", file=f"{file} [output]", fps=0.0, width=0, height=0, camera="c01", start=0.0,
                          frames=0),
                "2": other("PreviewAny", source=["1", 1]),
                "3": node("DrawPose", pose=["1", 0], palette="vace", layers="body", width=0, height=0),
                "4": other("PreviewImage", images=["3", 0]),
            }
        )  # fmt: skip
        assert "9 frames at 15 a second" in text_of(loaded, "2")
        assert len(loaded.outputs["4"]["images"]) == 9


def test_keypoints_go_to_another_pack_and_come_back(host: Any) -> None:
    prompt = extracted(host) | {
        "3": other("EchoKeypoints", pose_kps=["2", 3]),
        "4": other("PreviewAny", source=["3", 1]),
        "5": node("KeypointsToPose", keypoints=["3", 0], fps=15.0),
        "6": node("PoseToKeypoints", pose=["5", 0]),
        "7": other("EchoKeypoints", pose_kps=["6", 0]),
        "8": other("PreviewAny", source=["7", 1]),
        "9": node("DrawPose", pose=["5", 0], palette="vace", layers="body + face", width=0, height=0),
        "10": other("PreviewImage", images=["9", 0]),
        "11": other("PreviewImage", images=["2", 1]),
    }
    run = host.run(prompt)
    assert text_of(run, "4") == text_of(run, "8")
    assert '"pose_keypoints_2d"' in text_of(run, "4")
    assert '"canvas_height": 352' in text_of(run, "4")
    back, direct = (pictures(host, run.outputs[id]["images"]) for id in ("10", "11"))
    assert np.array_equal(back, direct)


@pytest.mark.skipif(
    not os.environ.get("COMFY_AUX_ROOT"),
    reason="NO PEER PACK: name a checkout of comfyui_controlnet_aux in COMFY_AUX_ROOT",
)
def test_with_comfyui_controlnet_aux_itself(host: Any) -> None:
    prompt = extracted(host) | {
        "3": other("RenderPeopleKps", kps=["2", 3], render_body=True, render_hand=True, render_face=False),
        "4": other("PreviewImage", images=["3", 0]),
        "5": other("SavePoseKpsAsJsonFile", pose_kps=["2", 3], filename_prefix="peer"),
    }
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    (theirs,) = pictures(host, run.outputs["4"]["images"])
    assert theirs.shape == (352, 176, 3)
    assert theirs.any()
    (file,) = (host.base / "output").glob("peer_*.json")
    loaded = host.run(
        {
            "1": node("LoadPose", file=f"{file.name} [output]", fps=15.0, width=0, height=0, camera="c01", start=0.0,
                      frames=0),
            "2": other("PreviewAny", source=["1", 1]),
        }
    )  # fmt: skip
    assert "9 frames at 15 a second" in text_of(loaded, "2")


def test_mistakes_are_said(host: Any) -> None:
    missing = host.run(
        extracted(host)
        | {
            "3": node("EditPose", pose=["2", 0], person="number", person_number=7, guard=True, max_gap_ms=0.0,
                      smooth_ms=0.0),
            "4": other("PreviewAny", source=["3", 1]),
        }
    )  # fmt: skip
    assert missing.ended == "execution_error"
    assert "7" in missing.error
    outside = extracted(host) | {"3": node("SavePose", pose=["2", 0], name="../x", format="track (.npz)")}
    assert "is not a name for a file" in host.run(outside).error
    nets = extracted(host)
    nets["2"]["inputs"]["backend"] = "dwpose"
    nets["3"] = other("PreviewAny", source=["2", 2])
    assert "s2v models get dwpose" in host.run(nets).error


def pictures(host: Any, saved: list[dict[str, str]]) -> np.ndarray:
    from PIL import Image

    folder = {"temp": "temp", "output": "output"}
    return np.stack(
        [
            np.asarray(
                Image.open(host.base / folder[image["type"]] / image["subfolder"] / image["filename"]).convert("RGB")
            )
            for image in saved
        ]
    )
