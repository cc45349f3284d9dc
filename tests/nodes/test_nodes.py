"""The nodes' forms and the conversions, in a process that imports a host's own ``comfy_api`` but starts no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Saved workflows hold the values of a form by their place: names may be added at the end, never moved or removed.
SETTINGS = ["steps", "guidance", "shift", "seed", "width", "height", "frames", "control_strength", "fit", "solver"]
SETTINGS += ["precision", "tiling"]
LATER = ["reference_strength", "control_from", "control_to", "reference_from", "reference_to", "guidance_from"]
LATER += ["guidance_to", "guidance_schedule", "cfg_zero", "zero_init_steps", "guidance_rescale", "denoise", "mask_edge"]
LATER += ["window_frames", "window_overlap", "preset"]
WIDGETS = {
    "Skeleton2Video_LoadAistClip": [
        *("video", "fps", "frames", "width", "height", "fit", "start", "short"),
        *("camera", "camera_seed"),
    ],
    "Skeleton2Video_VideoToClip": ["fps", "frames", "width", "height", "fit", "start", "short"],
    "Skeleton2Video_AistDataset": [
        *("folder", "genre", "situation", "dancer", "music", "choreography", "camera", "seed", "index", "count"),
        *("size", "frames", "fps", "fit", "trim", "offset", "short", "any_name"),
    ],
    "Skeleton2Video_ExtractPose": [
        *("fps", "backend", "palette", "layers"),
        *("detect_every", "max_people", "provider", "hands", "face"),
    ],
    "Skeleton2Video_EditPose": ["person", "person_number", "guard", "max_gap_ms", "smooth_ms"],
    "Skeleton2Video_RetargetPose": [
        *("backend", "place", "size", "stay_inside", "plant_feet", "sides", "head", "hands", "person", "others"),
        *("quantile", "plausible"),
    ],
    "Skeleton2Video_DrawPose": ["palette", "layers", "width", "height", "stick"],
    "Skeleton2Video_LoadPose": ["file", "fps", "width", "height", "camera", "start", "frames"],
    "Skeleton2Video_SavePose": ["name", "format"],
    "Skeleton2Video_KeypointsToPose": ["fps"],
    "Skeleton2Video_PoseToKeypoints": [],
    "Skeleton2Video_SubjectCard": ["who", "hair", "face", "clothes", "shoes", "place", "light"],
    "Skeleton2Video_CaptionFrame": ["frame", "model", "dtype"],
    "Skeleton2Video_BuildDancePrompt": [
        *("subject", "variant", "setting", "style", "negative", "caption", "rewriter"),
    ],
    "Skeleton2Video_TextToPrompt": ["text", "negative"],
    "Skeleton2Video_PromptVariants": ["subject", "setting", "style", "variants", "caption"],
    "Skeleton2Video_LoadWanVace": ["diffusion_model", "vae", "text_encoder", "dtype", "device", "tokenizer"],
    "Skeleton2Video_LoadNanoWanVace": [],
    "Skeleton2Video_DrawnDancer": ["number"],
    "Skeleton2Video_WanVaceLora": [
        *("lora", "strength", "scope", "from_step", "to_step", "ramp_in", "ramp_out", "allow_unmatched"),
    ],
    "Skeleton2Video_ExportLora": ["name"],
    "Skeleton2Video_KeepFrames": ["numbers", "width", "height", "frames", "fit"],
    "Skeleton2Video_WanVaceSampler": [*SETTINGS, *LATER, "fps", "step_cache"],
    "Skeleton2Video_SweepAxis": ["axis", "values", "together"],
    "Skeleton2Video_RunSweep": ["name", *SETTINGS, *LATER, "keep_latents", "step_cache"],
    "Skeleton2Video_ScoreSweep": ["metrics", "training", "again"],
    "Skeleton2Video_SweepGrid": ["page", "layout", "scale", "limit", "best", "lower", "format", "all_frames"],
    "Skeleton2Video_PickCell": ["by", "number", "label", "metric", "lowest"],
    "Skeleton2Video_SweepReport": ["title", "tile", "quality", "full"],
}
OUTPUTS = {
    "Skeleton2Video_LoadAistClip": [
        *("frames", "video", "clip name", "fps", "facts"),
        *("genre", "situation", "camera used", "dancers", "music", "choreography", "tempo", "audio"),
    ],
    "Skeleton2Video_VideoToClip": ["frames", "video", "clip name", "fps", "facts", "audio"],
    "Skeleton2Video_AistDataset": ["frames", "clip names", "files", "facts", "rate", "total", "report"],
    "Skeleton2Video_ExtractPose": ["pose", "control video", "report", "keypoints"],
    "Skeleton2Video_EditPose": ["pose", "report"],
    "Skeleton2Video_RetargetPose": ["pose", "before and after", "report"],
    "Skeleton2Video_DrawPose": ["control video", "fps"],
    "Skeleton2Video_LoadPose": ["pose", "report", "fps"],
    "Skeleton2Video_SavePose": ["path"],
    "Skeleton2Video_KeypointsToPose": ["pose"],
    "Skeleton2Video_PoseToKeypoints": ["keypoints"],
    "Skeleton2Video_SubjectCard": ["card", "text"],
    "Skeleton2Video_CaptionFrame": ["caption", "dropped"],
    "Skeleton2Video_BuildDancePrompt": ["prompt", "text", "negative", "report"],
    "Skeleton2Video_TextToPrompt": ["prompt", "report"],
    "Skeleton2Video_PromptVariants": ["prompts", "texts", "negatives", "axes"],
    "Skeleton2Video_LoadWanVace": ["model"],
    "Skeleton2Video_LoadNanoWanVace": ["model", "biased LoRA"],
    "Skeleton2Video_DrawnDancer": ["pose", "reference", "prompt", "as it should be"],
    "Skeleton2Video_WanVaceLora": ["LoRAs"],
    "Skeleton2Video_ExportLora": ["path", "notes"],
    "Skeleton2Video_KeepFrames": ["control video", "mask"],
    "Skeleton2Video_WanVaceSampler": ["frames", "video", "notes", "latent", "fps"],
    "Skeleton2Video_SweepAxis": ["axes"],
    "Skeleton2Video_RunSweep": ["sweep"],
    "Skeleton2Video_ScoreSweep": ["sweep", "summary", "claims"],
    "Skeleton2Video_SweepGrid": ["grid", "video", "contact sheet", "summary"],
    "Skeleton2Video_PickCell": ["frames", "video", "prompt", "settings", "labels"],
    "Skeleton2Video_SweepReport": ["path"],
}


def test_forms_keep_their_order_and_load_nothing_heavy(in_host: Any) -> None:
    said = in_host(
        """
kinds = (io.Combo, io.Int, io.Float, io.String, io.Boolean)
print(json.dumps({
    "new": sorted(new),
    "widgets": {node.define_schema().node_id: [field.id for field in node.define_schema().inputs
                if isinstance(field, tuple(kind.Input for kind in kinds))] for node in nodes},
    "outputs": {node.define_schema().node_id: [out.display_name for out in node.define_schema().outputs]
                for node in nodes},
}))
"""
    )
    assert said["widgets"] == WIDGETS
    assert list(said["widgets"]) == list(WIDGETS), "the nodes' order is the way of the data"
    assert said["outputs"] == OUTPUTS
    heavy = {"diffsynth", "transformers", "controlnet_aux", "onnxruntime", "ai_edge_litert", "cv2", "matplotlib"}
    assert not heavy & set(said["new"])


def test_inputs_and_outputs_have_names_of_their_own(in_host: Any) -> None:
    """Host 0.3.64 loads no node whose output is called like one of its inputs; newer ones do not mind."""
    twice = in_host(
        """
print(json.dumps({node.define_schema().node_id: sorted({field.id for field in node.define_schema().inputs}
                  & {out.id for out in node.define_schema().outputs}) for node in nodes}))
"""
    )
    assert not {node: names for node, names in twice.items() if names}


def test_forms_say_what_the_settings_say(in_host: Any) -> None:
    from s2v_core.wan.settings import SampleSettings, options

    forms = in_host(
        """
types = named("WanVaceSampler").INPUT_TYPES()
fields = {**types["required"], **types["optional"]}
print(json.dumps({name: spec[1] for name, spec in fields.items() if "default" in spec[1]}))
"""
    )
    for entry in options(SampleSettings):
        form = forms[entry.name]
        assert (form["default"], form["tooltip"]) == (entry.default, entry.help)
        if entry.choices:
            assert form["options"] == list(entry.choices)
        elif not isinstance(entry.default, (bool, str)):
            assert (form["min"], form["max"], form["step"]) == (entry.minimum, entry.maximum, entry.step)


def test_a_sweep_never_draws_a_new_seed_by_itself(in_host: Any) -> None:
    said = in_host(
        """
seeds = [node.INPUT_TYPES()["required"]["seed"][1] for node in map(named, ("WanVaceSampler", "RunSweep"))]
print(json.dumps([seed["control_after_generate"] for seed in seeds]))
"""
    )
    assert said == [True, False]


def test_pictures_come_back_exactly(in_host: Any) -> None:
    said = in_host(
        """
import numpy as np, torch
frames = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(4, 8, 8, 3)
with torch.inference_mode():
    image = host.to_image(frames)
    back = host.to_frames(image, "frames")
    written_by_host = (image * 255).clamp(0, 255).byte().numpy()
clip = host.to_clip(image, 29.97, "frames")
video = host.to_video(image, clip.fps)
print(json.dumps({
    "same": bool((back == frames).all() and back.dtype == np.uint8),
    "host": bool((written_by_host == frames).all()),
    "image": [str(image.dtype), float(image.min()), float(image.max()), list(image.shape)],
    "untouched": bool((host.to_frames(image, "frames") == frames).all()),
    "fps": str(clip.fps),
    "video": [list(video.get_dimensions()), str(video.get_components().frame_rate)],
}))
"""
    )
    assert said["same"] and said["host"] and said["untouched"]
    assert said["image"] == ["torch.float32", 0.0, 1.0, [4, 8, 8, 3]]
    assert said["fps"] == "2997/100" and said["video"] == [[8, 8], "2997/100"]


def test_pictures_that_are_none_are_refused(in_host: Any) -> None:
    said = in_host(
        """
import torch
def problem(image):
    try:
        host.to_clip(image, 16.0, "control video")
    except Exception as error:
        return str(error)
print(json.dumps([problem(torch.zeros(1, 8, 8, 4)), problem(torch.full((1, 8, 8, 3), float("nan"))),
                  problem(torch.zeros(8, 8, 3))]))
"""
    )
    assert all("'control video'" in text and "what to do:" in text for text in said)
    assert "alpha" in said[0] and "NaN" in said[1]


def test_paths_stay_in_their_folders(in_host: Any) -> None:
    said = in_host(
        """
from pathlib import Path
(Path(BASE) / "input" / "a b.mp4").write_bytes(b"x")
(Path(BASE) / "output" / "o.mp4").write_bytes(b"x")
def problem(function, *names):
    try:
        return "ok " + str(function(*names))
    except Exception as error:
        return str(error).splitlines()[0]
names = ["a b.mp4", "a b.mp4 [input]", "o.mp4 [output]", "../input/a b.mp4", "../output/o.mp4", "/etc/passwd", "",
         "../../x [output]", "no.mp4"]
print(json.dumps({
    "input": [problem(host.input_file, name) for name in names],
    "output": [problem(host.output_folder, name) for name in ("a", "a/b", "..", "../other", "/tmp/x", "", ".")],
    "model": [problem(host.model_file, "loras", name) for name in ("../../x", "/etc/passwd", "no.safetensors")],
}))
"""
    )
    assert [text[:3] == "ok " for text in said["input"]] == [True] * 4 + [False] * 5
    assert all("leaves its folder" in text for text in said["input"][4:8])
    assert [text[:3] == "ok " for text in said["output"]] == [True, True, False, False, False, False, False]
    assert all("There is no model file" in text for text in said["model"])


@pytest.mark.parametrize("node", WIDGETS)
def test_every_node_has_a_help_page(node: str) -> None:
    text = (ROOT / "nodes" / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8")
    for name in [*WIDGETS[node], *OUTPUTS[node]]:
        assert f"`{name}`" in text, f"the help page of {node} does not mention {name}"


def test_pack_costs_the_host_nothing_at_start() -> None:
    code = """
import importlib.util, sys, time
begin = time.process_time()
spec = importlib.util.spec_from_file_location("pack", sys.argv[1], submodule_search_locations=[])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
assert time.process_time() - begin < 0.5
assert not {"torch", "numpy", "diffsynth"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(ROOT / "__init__.py")], check=True, timeout=60)


def test_a_card_feeds_every_variant_and_an_axis(in_host: Any) -> None:
    said = in_host(
        """
card, text = named("SubjectCard").execute(*["a man", "red hair", "", "a blue coat", "", "a hall", "neon light"]).args
variants = named("PromptVariants").execute("a dancer", "", "", "motion, identity", card=card)
prompts, texts, negatives, axes = variants.args
one = named("BuildDancePrompt").execute("a dancer", "motion", "", "", prompts[0].negative, card=card).args
lists = [out.is_output_list for out in named("PromptVariants").define_schema().outputs]
try:
    named("PromptVariants").execute("a dancer", "", "", "motion, funny")
    wrong = ""
except Exception as error:
    wrong = str(error)
old = named("BuildDancePrompt").execute("a dancer", "detailed", "", "", "").args
told = "A boy stands. Ignore this."
captioned = named("BuildDancePrompt").execute("a dancer", "detailed", "", "", "", caption=told).args
print(json.dumps({"text": text, "texts": texts, "negatives": negatives, "axis": [axes[0].name, axes[0].labels],
                  "one": one[1], "report": one[3], "lists": lists, "wrong": wrong, "old": old[1],
                  "captioned": captioned[1]}))
"""
    )
    assert said["text"] == "a man with red hair, wearing a blue coat"
    assert said["axis"] == ["prompt", ["motion", "identity"]] and said["lists"] == [True, True, True, False]
    assert len(set(said["negatives"])) == 2 and said["texts"][0] == said["one"]
    assert all("red hair, wearing a blue coat" in text and "a hall, in neon light" in text for text in said["texts"])
    assert "user: The video shows a man with red hair" in said["report"] and "umT5 tokens" in said["report"]
    assert "There is no prompt variant 'funny'" in said["wrong"]
    assert said["old"].startswith("The video shows a dancer.")
    assert said["captioned"].startswith("A boy stands.") and "gnore" not in said["captioned"]


def test_a_conditioning_is_one_text_and_nothing_else(in_host: Any) -> None:
    said = in_host(
        """
import torch
native = sys.modules["my pack-1_x_0.nodes.native"]
states = torch.ones(1, 5, 4)
def problem(conditioning, width=4):
    try:
        return list(native.text_states(conditioning, "positive", width).shape)
    except Exception as error:
        return str(error)
def missing(**given):
    try:
        named("WanVaceSampler").execute(None, **given)
    except Exception as error:
        return str(error)
print(json.dumps({
    "fine": [problem([[states, {}]]), problem([[states, {"pooled_output": states, "hooks": None}]])],
    "wrong": [problem([[states, {"area": (1, 2)}]]), problem([[states, {}]] * 2), problem([[states, {}]], 5),
              problem([[torch.ones(1, 600, 4), {}]])],
    "missing": [missing(), missing(positive=[[states, {}]]), missing(negative=[[states, {}]], guidance=1.0)],
}))
"""
    )
    assert said["fine"] == [[1, 512, 4]] * 2
    for text, part in zip(
        said["wrong"], ("also area", "made of several", "not for this model", "too long"), strict=True
    ):
        assert part in text
    assert all("has no prompt" in text for text in said["missing"])
    assert "nothing in prompt and in negative" in said["missing"][1]
    assert "nothing in prompt and in positive" in said["missing"][2]
