"""The pack's nodes, in the order of the way of the data."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import aist, grids, host, metrics, nano, pose, pose_files, prompts, reports, sweeps, wan


class Skeleton2VideoExtension(ComfyExtension):
    """What the host asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack. What its scripts in the browser ask for is answered from now on."""
        # Not in ``on_load``: hosts up to 0.8.0 never call it.
        host.answer_posts("/skeleton2video/axis", lambda asked: sweeps.read_axis(**asked))
        reports.add_routes()
        return [
            aist.LoadAistClip,
            aist.AistDataset,
            pose.ExtractPose,
            pose.EditPose,
            pose.RetargetPose,
            pose.DrawPose,
            pose_files.LoadPose,
            pose_files.SavePose,
            pose_files.KeypointsToPose,
            pose_files.PoseToKeypoints,
            prompts.SubjectCardNode,
            prompts.CaptionFrame,
            prompts.BuildDancePrompt,
            prompts.PromptVariants,
            wan.LoadWanVace,
            wan.LoadNanoWanVace,
            nano.DrawnDancer,
            wan.WanVaceLora,
            wan.ExportLora,
            wan.WanVaceSampler,
            sweeps.SweepAxis,
            sweeps.RunSweep,
            metrics.ScoreSweep,
            grids.SweepGrid,
            grids.PickCell,
            reports.SweepReport,
        ]
