"""The Sweep Axis node's form in a real ComfyUI: what its script asks for while values are typed."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from s2v_core.wan.settings import SampleSettings, options

pytestmark = pytest.mark.host


def test_values_are_read_while_they_are_typed(host: Any) -> None:
    def ask(**asked: Any) -> tuple[int, Any]:
        return host.post("/skeleton2video/axis", asked)

    assert ask(axis="guidance", values="1:7:2") == (200, {"said": "4 values: 1; 3; 5; 7"})
    assert ask(axis="prompt", values="[calm] a man") == (200, {"said": "1 value: calm"})
    status, answer = ask(axis="guidance", values="1, many")
    assert status == 200
    assert "'many' is not a value of guidance" in answer["problem"]
    assert "the same value twice" in ask(axis="steps", values="8, 8")[1]["problem"]
    assert ask(axis="steps", values="8, 8", together=True)[1] == {"said": "2 values: 8; 8"}
    assert ask(axis=3, values="1")[0] == ask(axis="guidance")[0] == 400
    (script,) = (path for path in host.get("/extensions") if path.endswith("/js/sweep_axis.js"))
    with urllib.request.urlopen(host.url(script), timeout=20) as sent:
        assert b"/skeleton2video/axis" in sent.read()


def sweep_prompt(name: str, *axes: tuple[str, str]) -> dict[str, Any]:
    """A sweep of tiny pictures without a connected pose or reference, over chained axes."""
    settings = {entry.name: entry.default for entry in options(SampleSettings)}
    settings |= {"steps": 1, "guidance": 1.0, "width": 64, "height": 128, "frames": 5}
    model = {
        "diffusion_model": MODEL,
        "vae": "wan_2.1_vae.safetensors",
        "dtype": "auto",
        "device": "auto",
        "text_encoder": "models_t5_umt5-xxl-enc-bf16.safetensors",
        "tokenizer": "beside the text encoder",
    }
    words = {"subject": "a man", "variant": "detailed", "setting": "", "style": "", "negative": ""}
    prompt: dict[str, Any] = {
        "1": {"class_type": "Skeleton2Video_LoadWanVace", "inputs": model},
        "2": {"class_type": "Skeleton2Video_BuildDancePrompt", "inputs": words},
    }
    last: dict[str, Any] = {}
    for number, (axis, values) in enumerate(axes):
        made = {"axis": axis, "values": values, **last}
        prompt[f"axis {number}"] = {"class_type": "Skeleton2Video_SweepAxis", "inputs": made}
        last = {"axes": [f"axis {number}", 0]}
    run = {"model": ["1", 0], "prompt": ["2", 0], "name": name, **settings, **last}
    prompt["3"] = {"class_type": "Skeleton2Video_RunSweep", "inputs": run}
    prompt["4"] = {"class_type": "Skeleton2Video_SweepGrid", "inputs": {"sweep": ["3", 0], "page": 1}}
    return prompt


MODEL = "wan2.1_vace_1.3B_fp16.safetensors"


def test_axes_over_models_and_references_take_the_hosts_files(host: Any, cell_hashes: Any) -> None:
    source = host.base / "models" / "diffusion_models" / MODEL
    (source.parent / "same_again.safetensors").write_bytes(source.read_bytes())
    models = ("model", f"{MODEL}\nsame_again.safetensors")
    run = host.run(sweep_prompt("files", ("reference", "none\nreference.png"), models))
    assert run.ended == "execution_success", run.error
    # The copy of the model is the same model by content, so its cells are the first one's.
    assert len(cell_hashes("files")) == 2
    zipped = sweep_prompt("files", ("reference", "none\nreference.png"), models)
    zipped["axis 1"]["inputs"]["together"] = True
    run = host.run(zipped)
    assert run.ended == "execution_success", run.error
    assert len(cell_hashes("files")) == 2
    run = host.run(sweep_prompt("files", ("reference", "../../secret.png")))
    assert run.ended == "execution_error"
    assert "leaves its folder" in run.error
