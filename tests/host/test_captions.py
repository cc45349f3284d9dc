"""Captions and rewrites in a real ComfyUI, by tiny random models in its models folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.prompts.caption import MAX_NEW_TOKENS, load_captioner
from s2v_core.prompts.caption_text import clean_caption

pytestmark = pytest.mark.host

Prompt = dict[str, Any]


@pytest.fixture(scope="module")
def language(base: Path) -> Path:
    """The host's folder of language models, with a Florence-2 and a Qwen2."""
    from tests.prompts.tiny_models import write_florence, write_qwen

    folder = base / "models" / "skeleton2video" / "language"
    write_florence(folder / "florence-2-base")
    write_qwen(folder / "qwen2.5-0.5b")
    return folder


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}


def shown(source: str, output: int = 0) -> dict[str, Any]:
    return {"class_type": "PreviewAny", "inputs": {"source": [source, output]}}


def captioned(**changes: Any) -> Prompt:
    """Nodes 1 to 4: the reference picture, its caption, and what was dropped."""
    frame = {"image": ["1", 0], "frame": 0, "model": "florence-2-base", "dtype": "float32"}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "reference.png"}},
        "2": node("CaptionFrame", **{**frame, **changes}),
        "3": shown("2"),
        "4": shown("2", 1),
    }


def text_of(run: Any, id: str) -> str:
    assert run.ended == "execution_success", run.error
    return str(run.outputs[id]["text"][0])


def captions(host: Any) -> list[str]:
    return [json.loads(file.read_text())["caption"] for file in (host.base / "cache" / "captions").glob("*.json")]


def stop_after(tokens: int, at: str) -> Any:
    return lambda event: (
        event["type"] == "progress" and event["data"]["node"] == at and event["data"]["value"] >= tokens
    )


def test_a_stopped_caption_is_not_kept_and_the_next_run_makes_it(host: Any, language: Path) -> None:
    stopped = host.run(captioned(), watch=stop_after(1, "2"))
    assert stopped.ended == "execution_interrupted"
    done = [event["value"] for event in stopped.of("progress") if event["node"] == "2"]
    assert 1 <= done[-1] < MAX_NEW_TOKENS and not captions(host)

    run = host.run(captioned())
    from PIL import Image

    picture = np.asarray(Image.open(host.base / "input" / "reference.png").convert("RGB"))
    (said,) = load_captioner(str(language / "florence-2-base"), device="cpu", dtype="float32").describe([picture])
    expected = clean_caption(said)
    assert captions(host) == [said]
    assert (text_of(run, "3"), text_of(run, "4")) == (expected.text, "\n".join(expected.dropped))
    assert expected.text or expected.dropped


def test_a_prompt_from_card_caption_and_rewriter(host: Any, language: Path) -> None:
    form = {"subject": "a dancer", "variant": "motion", "setting": "", "style": "", "negative": ""}
    prompt = captioned() | {
        "5": node("SubjectCard", who="a woman", hair="red hair", face="", clothes="", shoes="", place="", light=""),
        "6": node("BuildDancePrompt", **form, card=["5", 0], caption=["2", 0], rewriter="qwen2.5-0.5b"),
        "7": shown("6", 1),
        "8": shown("6", 3),
    }
    stopped = host.run(prompt, watch=stop_after(1, "6"))
    assert stopped.ended == "execution_interrupted"
    run = host.run(prompt)
    assert text_of(run, "7").startswith("The video shows a woman with red hair.")
    report = text_of(run, "8")
    assert "how: template" in report and "second rewrite: " in report and "user: The video shows" in report


def test_mistakes_are_said(host: Any, language: Path) -> None:
    run = host.run(captioned(model="florence-2-large"))
    assert run.ended == "execution_error" and "s2v models get florence-2-large" in run.error
    assert "There is no frame 7" in host.run(captioned(frame=7)).error
