"""What a person reads in the graph when something is wrong."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.host


def clip_prompt(video: str, **changes: Any) -> dict[str, Any]:
    inputs = {"video": video, "fps": 16, "frames": 5, "width": 64, "height": 128, "fit": "crop", "start": 0.0}
    return {
        "1": {"class_type": "Skeleton2Video_LoadAistClip", "inputs": {**inputs, "short": "error", **changes}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 4]}},
    }


def model_prompt(**changes: Any) -> dict[str, Any]:
    inputs = {
        "diffusion_model": "wan2.1_vace_1.3B_fp16.safetensors",
        "vae": "wan_2.1_vae.safetensors",
        "text_encoder": "models_t5_umt5-xxl-enc-bf16.safetensors",
        "dtype": "auto",
        "device": "auto",
        "tokenizer": "beside the text encoder",
    }
    size = {"width": 64, "height": 128, "frames": 5}
    return {
        "1": {"class_type": "Skeleton2Video_LoadWanVace", "inputs": {**inputs, **changes}},
        "2": {
            "class_type": "Skeleton2Video_BuildDancePrompt",
            "inputs": {"subject": "a man", "variant": "detailed", "setting": "", "style": "", "negative": ""},
        },
        "3": {
            "class_type": "Skeleton2Video_WanVaceSampler",
            "inputs": {
                "model": ["1", 0],
                "prompt": ["2", 0],
                "steps": 2,
                "guidance": 1.0,
                "shift": 5.0,
                "seed": 0,
                **size,
                "control_strength": 1.0,
                "fit": "letterbox",
                "solver": "euler",
                "precision": "float32",
                "tiling": False,
            },
        },
        "4": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["3", 1], "filename_prefix": "t", "format": "auto", "codec": "auto"},
        },
    }


def refused(host: Any, prompt: dict[str, Any]) -> str:
    """The whole answer to a prompt that the host does not even begin."""
    status, answer = host.post("/prompt", {"prompt": prompt})
    assert status == 400, answer
    return str(answer)


def test_truncated_video(host: Any) -> None:
    run = host.run(clip_prompt("truncated.mp4", frames=33))
    assert run.ended == "execution_error"
    assert "truncated.mp4" in run.error and "what to do:" in run.error


def test_video_too_short_says_how_long_it_is(host: Any) -> None:
    run = host.run(clip_prompt("gBR_sBM_c01_d04_mBR0_ch01.mp4", frames=161))
    assert run.ended == "execution_error" and "what to do:" in run.error and "expected:" in run.error
    run = host.run(clip_prompt("gBR_sBM_c01_d04_mBR0_ch01.mp4", frames=161, short="hold"))
    assert run.ended == "execution_success", run.error


def test_facts_of_the_name(host: Any) -> None:
    run = host.run(clip_prompt("gBR_sBM_c01_d04_mBR0_ch01.mp4"))
    assert "genre: Break" in run.outputs["2"]["text"][0] and "80 BPM" in run.outputs["2"]["text"][0]


def test_any_other_name_is_allowed_and_said(host: Any) -> None:
    source = host.base / "input" / "gBR_sBM_c01_d04_mBR0_ch01.mp4"
    (host.base / "input" / "dances").mkdir()
    (host.base / "input" / "dances" / "holiday.mp4").write_bytes(source.read_bytes())
    run = host.run(clip_prompt("dances/holiday.mp4"))
    assert run.ended == "execution_success", run.error
    assert "not an AIST" in run.outputs["2"]["text"][0]


def test_same_name_with_another_video_is_read_anew(host: Any) -> None:
    name = "changing.mp4"
    source = host.base / "input" / "gBR_sBM_c01_d04_mBR0_ch01.mp4"
    (host.base / "input" / name).write_bytes(source.read_bytes())
    prompt = clip_prompt(name)
    assert host.run(prompt).executed == {"1", "2"}
    assert host.run(prompt).executed == set()
    (host.base / "input" / name).write_bytes(source.read_bytes())
    assert "1" in host.run(prompt).executed


@pytest.mark.parametrize(
    "name", ["../../../../../../etc/passwd", "/etc/passwd", "../user/comfyui.db", "../user/comfyui.db [output]"]
)
def test_path_traversal_is_refused(host: Any, name: str) -> None:
    assert "leaves its folder" in refused(host, clip_prompt(name))


def test_output_name_cannot_leave_the_output_folder(host: Any) -> None:
    prompt = model_prompt()
    settings = prompt.pop("3")["inputs"]
    del prompt["4"]
    prompt["5"] = {"class_type": "Skeleton2Video_SweepAxis", "inputs": {"axis": "seed", "values": "1, 2"}}
    prompt["6"] = {
        "class_type": "Skeleton2Video_RunSweep",
        "inputs": {**settings, "axes": ["5", 0], "name": "../../escaped"},
    }
    prompt["7"] = {"class_type": "Skeleton2Video_SweepGrid", "inputs": {"sweep": ["6", 0], "page": 1}}
    run = host.run(prompt)
    assert run.ended == "execution_error" and "leaves its folder" in run.error
    assert not list(host.base.rglob("escaped"))


def test_models_are_taken_from_the_model_folders_only(host: Any) -> None:
    prompt = model_prompt(diffusion_model="../../../../../../etc/passwd")
    status, answer = host.post("/prompt", {"prompt": prompt})
    # Host 0.3.64 does not check the choices of such combos: then the node itself does.
    text = str(answer) if status == 400 else host.run(prompt).error
    assert "not in" in text or "There is no model file" in text


def test_damaged_model_file(host: Any) -> None:
    run = host.run(model_prompt(diffusion_model="broken.safetensors"))
    assert run.ended == "execution_error" and "broken.safetensors" in run.error and "what to do:" in run.error


def test_model_file_of_another_kind(host: Any) -> None:
    vae = host.base / "models" / "vae" / "wan_2.1_vae.safetensors"
    (host.base / "models" / "diffusion_models" / "a_vae.safetensors").write_bytes(vae.read_bytes())
    run = host.run(model_prompt(diffusion_model="a_vae.safetensors"))
    assert run.ended == "execution_error" and "a_vae.safetensors" in run.error and "expected:" in run.error


def test_size_is_refused_before_anything_runs(host: Any) -> None:
    prompt = model_prompt()
    prompt["3"]["inputs"]["frames"] = 6
    assert "4n + 1" in refused(host, prompt)


def test_axis_values_are_refused_before_anything_runs(host: Any) -> None:
    axis = {"class_type": "Skeleton2Video_SweepAxis", "inputs": {"axis": "guidance", "values": "1, many"}}
    answer = refused(host, {"1": axis, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}})
    assert "many" in answer and "is not a value of guidance" in answer
