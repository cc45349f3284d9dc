"""What goes in and out by the host's own sockets: VIDEO with its rate and sound, AUDIO, MASK, STRING, FLOAT."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip

pytestmark = pytest.mark.host

DOCS = Path(__file__).resolve().parents[2] / "docs" / "comfyui.md"
RATE = 16000
Prompt = dict[str, Any]
# The host's own types and those of common packs, by node: what it takes and what it gives. docs/comfyui.md shows it.
KINDS = ("IMAGE", "MASK", "VIDEO", "AUDIO", "LATENT", "CONDITIONING", "NOISE", "STRING", "FLOAT", "POSE_KEYPOINT")
TAKES = {
    "VideoToClip": {"VIDEO"},
    "ExtractPose": {"IMAGE"},
    "RetargetPose": {"IMAGE"},
    "KeypointsToPose": {"POSE_KEYPOINT"},
    "CaptionFrame": {"IMAGE"},
    "KeepFrames": {"IMAGE"},
    "WanVaceSampler": {"IMAGE", "MASK", "CONDITIONING", "NOISE", "AUDIO"},
    "RunSweep": {"IMAGE", "MASK"},
    "ScoreSweep": {"IMAGE"},
    "SweepGrid": {"IMAGE"},
    "SweepReport": {"IMAGE"},
}
GIVES = {
    "LoadAistClip": {"IMAGE", "VIDEO", "AUDIO", "STRING", "FLOAT"},
    "VideoToClip": {"IMAGE", "VIDEO", "AUDIO", "STRING", "FLOAT"},
    "AistDataset": {"IMAGE", "STRING", "FLOAT"},
    "ExtractPose": {"IMAGE", "STRING", "POSE_KEYPOINT"},
    "EditPose": {"STRING"},
    "RetargetPose": {"IMAGE", "STRING"},
    "DrawPose": {"IMAGE", "FLOAT"},
    "LoadPose": {"STRING", "FLOAT"},
    "SavePose": {"STRING"},
    "PoseToKeypoints": {"POSE_KEYPOINT"},
    "SubjectCard": {"STRING"},
    "CaptionFrame": {"STRING"},
    "BuildDancePrompt": {"STRING"},
    "TextToPrompt": {"STRING"},
    "PromptVariants": {"STRING"},
    "DrawnDancer": {"IMAGE"},
    "ExportLora": {"STRING"},
    "KeepFrames": {"IMAGE", "MASK"},
    "WanVaceSampler": {"IMAGE", "VIDEO", "LATENT", "STRING", "FLOAT"},
    "ScoreSweep": {"STRING"},
    "SweepGrid": {"IMAGE", "VIDEO", "STRING"},
    "SweepReport": {"STRING"},
    "PickCell": {"IMAGE", "VIDEO", "STRING"},
}


def own(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}


def other(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def run(host: Any, prompt: Prompt) -> Any:
    done = host.run(prompt)
    assert done.ended == "execution_success", done.error
    return done


def dumped(host: Any, name: str) -> dict[str, torch.Tensor]:
    return load_file(host.base / "output" / f"{name}.safetensors")


def write_beats(path: Path) -> None:
    """Three seconds at 24 frames a second; at each whole second a white frame and a click, as WAV in Matroska."""
    frames = np.zeros((72, 48, 64, 3), np.uint8)
    frames[::24] = 255
    write_clip(Clip(frames, Fraction(24)), path.with_suffix(".mute.mkv"))
    samples = np.zeros((1, 3 * RATE), np.float32)
    samples[:, ::RATE] = 0.5
    with av.open(str(path.with_suffix(".mute.mkv"))) as source, av.open(str(path), "w") as target:
        picture = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("pcm_f32le", rate=RATE, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    path.with_suffix(".mute.mkv").rename(path.with_name("mute.mkv"))


@pytest.fixture(scope="module")
def beats(host: Any) -> str:
    """The name of a film in the host's input folder whose sound and picture beat together, beside a mute one."""
    write_beats(host.base / "input" / "beats.mkv")
    return "beats.mkv"


def test_which_node_takes_and_gives_what(host: Any) -> None:
    info = host.get("/object_info")
    ours = {name.removeprefix("Skeleton2Video_"): entry for name, entry in info.items() if name.startswith("Skeleton")}
    takes: dict[str, set[str]] = {}
    gives: dict[str, set[str]] = {}
    for name, entry in ours.items():
        fields = entry["input"].get("required", {}) | entry["input"].get("optional", {})
        # Texts and numbers are fields of the form; every field can be a socket.
        found = {spec[0] for spec in fields.values() if isinstance(spec[0], str)} & set(KINDS) - {"STRING", "FLOAT"}
        takes |= {name: found} if found else {}
        given = set(entry["output"]) & set(KINDS)
        gives |= {name: given} if given else {}
    assert takes == TAKES
    assert gives == GIVES
    names = {name: entry["display_name"] for name, entry in ours.items()}
    assert documented() == {names[name]: (takes.get(name, set()), gives.get(name, set())) for name in takes | gives}


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """What docs/comfyui.md says that each node takes and gives; a row may be of several nodes."""
    said = {}
    for line in DOCS.read_text(encoding="utf-8").split("## Sockets")[1].split("\n## ")[0].splitlines():
        if line.startswith("| ") and not line.startswith("| node"):
            nodes, takes, gives = (part.strip() for part in line.strip("|").split("|"))
            kinds = [{kind for kind in KINDS if kind in re.findall("[A-Z_]+", text)} for text in (takes, gives)]
            for node in nodes.split(", "):
                said[node] = (kinds[0] - {"STRING"}, kinds[1])
    return said


def test_a_video_of_load_video_keeps_its_rate_and_sound(host: Any, beats: str) -> None:
    piece = {"fps": 16, "frames": 25, "width": 64, "height": 48, "fit": "crop", "start": 0.5, "short": "error"}
    run(host, {
        "1": other("LoadVideo", file=beats),
        "2": own("VideoToClip", video=["1", 0], **piece),
        "3": other("TestDump", name="piece", video=["2", 1]),
        "4": other("TestDump", name="sound", audio=["2", 5]),
        "5": own("LoadAistClip", video=beats, **piece),
        "6": other("TestDump", name="same", video=["5", 1]),
    })  # fmt: skip
    found = dumped(host, "piece")
    assert found["rate"].tolist() == [16, 1]
    white = found["video"].mean((1, 2, 3)) > 0.5
    assert white.nonzero().flatten().tolist() == [8, 24], "seconds 1 and 2 of the film, counted from 0.5"
    sound = found["audio"]
    assert found["sample_rate"].item() == RATE
    assert sound.shape == (1, 1, round(25 / 16 * RATE))
    assert sound[0, 0].nonzero().flatten().tolist() == [RATE // 2, 3 * RATE // 2]
    assert torch.equal(dumped(host, "sound")["audio"], sound)
    assert torch.equal(dumped(host, "same")["audio"], sound)
    assert torch.equal(dumped(host, "same")["video"], found["video"])


def test_a_video_made_in_the_graph_is_taken_too(host: Any, beats: str) -> None:
    """From memory: at another rate, with the sound that belongs to the piece."""
    piece = {"fps": 8, "frames": 9, "width": 32, "height": 24, "fit": "crop", "start": 1.0, "short": "error"}
    done = run(host, {
        "1": other("LoadVideo", file=beats),
        "2": other("GetVideoComponents", video=["1", 0]),
        "3": other("CreateVideo", images=["2", 0], audio=["2", 1], fps=["2", 2]),
        "4": own("VideoToClip", video=["3", 0], **piece),
        "5": other("TestDump", name="made", video=["4", 1]),
        "6": other("PreviewAny", source=["4", 4]),
        "7": other("PreviewAny", source=["4", 3]),
    })  # fmt: skip
    found = dumped(host, "made")
    assert found["video"].shape == (9, 24, 32, 3)
    assert (found["video"].mean((1, 2, 3)) > 0.5).nonzero().flatten().tolist() == [0, 8]
    assert found["audio"][0, 0].nonzero().flatten().tolist() == [0, RATE]
    assert "not an AIST" in done.outputs["6"]["text"][0]
    assert float(done.outputs["7"]["text"][0]) == 8.0


def test_a_mute_video_has_no_sound_and_a_short_one_says_so(host: Any, beats: str) -> None:
    piece = {"fps": 16, "frames": 5, "width": 32, "height": 32, "fit": "crop", "start": 0.0, "short": "error"}
    done = run(host, {
        "1": own("LoadAistClip", video="mute.mkv", **piece),
        "2": other("TestDump", name="mute", video=["1", 1]),
        "3": other("PreviewAny", source=["1", 4]),
    })  # fmt: skip
    assert "audio" not in dumped(host, "mute")
    assert "no sound" in done.outputs["3"]["text"][0]
    for made in ({"1": other("LoadVideo", file=beats)}, {
        "0": other("LoadVideo", file=beats),
        "9": other("GetVideoComponents", video=["0", 0]),
        "1": other("CreateVideo", images=["9", 0], fps=["9", 2]),
    }):  # fmt: skip
        failed = host.run({
            **made,
            "2": own("VideoToClip", video=["1", 0], **{**piece, "frames": 161}),
            "3": other("PreviewImage", images=["2", 0]),
        })  # fmt: skip
        assert failed.ended == "execution_error"
        assert "too short" in failed.error


def sampled(host: Any, name: str, extra: Prompt, **inputs: Any) -> dict[str, torch.Tensor]:
    """What the nano model makes of it, as a video."""
    settings = {"steps": 1, "guidance": 1.0, "shift": 5.0, "seed": 0, "width": 32, "height": 32, "frames": 5}
    settings |= {"control_strength": 1.0, "fit": "crop", "solver": "euler", "precision": "float32", "tiling": False}
    run(host, {
        "1": own("LoadNanoWanVace"),
        "2": own("TextToPrompt", text="A dancer.", negative=""),
        **extra,
        "3": own("WanVaceSampler", model=["1", 0], prompt=["2", 0], **{**settings, **inputs}),
        "4": other("TestDump", name=name, video=["3", 1]),
        "5": other("TestDump", name=f"{name} frames", image=["3", 0]),
        "6": other("SaveVideo", video=["3", 1], filename_prefix=name, format="auto", codec="auto"),
        "7": other("PreviewAny", source=["3", 4]),
    })  # fmt: skip
    return dumped(host, name)


def test_the_sampler_s_video_plays_at_its_rate_with_its_sound(host: Any, beats: str) -> None:
    piece = {"fps": 24, "frames": 5, "width": 32, "height": 32, "fit": "crop", "start": 1.0, "short": "error"}
    extra = {"8": own("LoadAistClip", video=beats, **piece)}
    found = sampled(host, "danced", extra, control_video=["8", 0], audio=["8", 12], fps=["8", 3])
    assert found["rate"].tolist() == [24, 1]
    assert found["audio"].shape[2] == round(5 / 24 * RATE)
    assert found["audio"][0, 0, 0] == 0.5
    (file,) = (host.base / "output").glob("danced_*.mp4")
    with av.open(str(file)) as saved:
        assert saved.streams.video[0].average_rate == 24
        assert saved.streams.audio[0].rate == RATE
    # A longer sound is cut, a shorter one is followed by silence; without one and with the default rate as before.
    long = {"8": own("LoadAistClip", video=beats, **{**piece, "frames": 25, "start": 0.0})}
    assert sampled(host, "cut", long, audio=["8", 12])["audio"].shape[2] == round(5 / 16 * RATE)
    plain = sampled(host, "plain", {})
    assert plain["rate"].tolist() == [16, 1]
    assert "audio" not in plain


def test_kept_frames_are_kept(host: Any, beats: str) -> None:
    """Keep Frames gives a control video and a mask: black where a picture stands."""
    piece = {"fps": 24, "frames": 2, "width": 32, "height": 32, "fit": "crop", "start": 0.0, "short": "error"}
    prompt = {
        "1": own("LoadAistClip", video=beats, **piece),
        "2": own("KeepFrames", pictures=["1", 0], numbers="0, -1", width=32, height=32, frames=5, fit="crop"),
        "3": other("TestDump", name="kept", image=["2", 0], mask=["2", 1]),
    }
    run(host, prompt)
    found = dumped(host, "kept")
    assert found["image"].shape == (5, 32, 32, 3)
    assert found["image"][0].min() > 0.9
    assert found["image"][4].max() < 0.1
    assert found["mask"].shape == (5, 32, 32)
    assert found["mask"].mean((1, 2)).tolist() == [0, 1, 1, 1, 0]
    for numbers, said in (("0", "do not match"), ("0, 0", "named twice"), ("0, x", "no list"), ("0, 9", "no frame 9")):
        prompt["2"]["inputs"]["numbers"] = numbers
        failed = host.run(prompt)
        assert failed.ended == "execution_error"
        assert said in failed.error
    prompt["2"]["inputs"].update(numbers="0, -1", frames=6)
    status, answer = host.post("/prompt", {"prompt": prompt})
    assert status == 400
    assert "4n + 1" in str(answer)


def test_a_text_of_any_node_is_a_prompt(host: Any) -> None:
    done = run(host, {
        "1": other("StringConcatenate", string_a="A dancer", string_b="turns.", delimiter=" "),
        "2": own("TextToPrompt", text=["1", 0], negative="blurry"),
        "3": other("PreviewAny", source=["2", 1]),
    })  # fmt: skip
    assert "3 words" in done.outputs["3"]["text"][0]
