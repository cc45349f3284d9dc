"""The pack's nodes, in the order of the way of the data."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    aist,
    grids,
    loras,
    masks,
    metrics,
    nano,
    pose,
    pose_files,
    prompts,
    reports,
    routes,
    server,
    sweeps,
    videos,
    wan,
)


class Skeleton2VideoExtension(ComfyExtension):
    """What the host asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack. What its scripts in the browser ask for is answered from now on."""
        # Not in ``on_load``: hosts up to 0.8.0 never call it.
        server.answer_posts("/skeleton2video/axis", lambda asked: sweeps.read_axis(**asked))
        routes.add_routes()
        reports.add_routes()
        return [
            aist.LoadAistClip,
            videos.VideoToClip,
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
            prompts.TextToPrompt,
            prompts.PromptVariants,
            wan.LoadWanVace,
            wan.LoadNanoWanVace,
            nano.DrawnDancer,
            loras.WanVaceLora,
            loras.ExportLora,
            masks.KeepFrames,
            wan.WanVaceSampler,
            sweeps.SweepAxis,
            sweeps.RunSweep,
            metrics.ScoreSweep,
            grids.SweepGrid,
            grids.PickCell,
            reports.SweepReport,
        ]
