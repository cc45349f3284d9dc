"""The pack inside a real ComfyUI: loading, nodes, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.host

NODES = {
    "Skeleton2Video_LoadAistClip": "Load AIST Clip",
    "Skeleton2Video_VideoToClip": "Video to Clip",
    "Skeleton2Video_AistDataset": "AIST Dataset",
    "Skeleton2Video_ExtractPose": "Extract Pose",
    "Skeleton2Video_EditPose": "Edit Pose",
    "Skeleton2Video_RetargetPose": "Retarget Pose",
    "Skeleton2Video_DrawPose": "Draw Pose",
    "Skeleton2Video_LoadPose": "Load Pose",
    "Skeleton2Video_SavePose": "Save Pose",
    "Skeleton2Video_KeypointsToPose": "Keypoints to Pose",
    "Skeleton2Video_PoseToKeypoints": "Pose to Keypoints",
    "Skeleton2Video_SubjectCard": "Subject Card",
    "Skeleton2Video_CaptionFrame": "Caption Frame",
    "Skeleton2Video_BuildDancePrompt": "Build Dance Prompt",
    "Skeleton2Video_TextToPrompt": "Text to Prompt",
    "Skeleton2Video_PromptVariants": "Prompt Variants",
    "Skeleton2Video_LoadWanVace": "Load Wan-VACE",
    "Skeleton2Video_LoadNanoWanVace": "Load Nano Wan-VACE",
    "Skeleton2Video_DrawnDancer": "Drawn Dancer",
    "Skeleton2Video_WanVaceLora": "Wan-VACE LoRA",
    "Skeleton2Video_ExportLora": "Export LoRA",
    "Skeleton2Video_KeepFrames": "Keep Frames",
    "Skeleton2Video_WanVaceSampler": "Wan-VACE Sampler",
    "Skeleton2Video_SweepAxis": "Sweep Axis",
    "Skeleton2Video_RunSweep": "Run Sweep",
    "Skeleton2Video_ScoreSweep": "Score Sweep",
    "Skeleton2Video_SweepGrid": "Sweep Grid",
    "Skeleton2Video_PickCell": "Pick Cell",
    "Skeleton2Video_SweepReport": "Sweep Report",
}


def test_pack_loads_without_error(host: Any) -> None:
    log = host.log()
    assert "IMPORT FAILED" not in log and "could not be loaded" not in log
    assert "skeleton2video-under-test" in log


def test_object_info_lists_exactly_our_nodes(host: Any) -> None:
    info = host.get("/object_info")
    ours = {name: entry for name, entry in info.items() if entry["python_module"].startswith("custom_nodes.skeleton")}
    assert {name: entry["display_name"] for name, entry in ours.items()} == NODES
    assert all(name.startswith("Skeleton2Video_") == (name in NODES) for name in info)


def test_every_input_explains_itself(host: Any) -> None:
    for name in NODES:
        entry = host.get(f"/object_info/{name}")[name]
        assert entry["category"].startswith("Skeleton2Video/") and entry["description"]
        inputs = entry["input"].get("required", {}) | entry["input"].get("optional", {})
        for field, (_, options) in inputs.items():
            assert options.get("tooltip"), f"{name}.{field} has no tooltip"
        assert all(entry["output_tooltips"]), f"{name} has an output without a tooltip"
