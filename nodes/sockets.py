"""What travels between the nodes: one socket type for each thing that ``s2v_core`` hands on.

The host compares these names when two nodes are connected, and saved workflows hold them: never rename one.
"""

from __future__ import annotations

from comfy_api.latest import io

ClipName = io.Custom("SKELETON2VIDEO_CLIP_NAME")
"""``aist.names.ClipName``, or None for a file that does not follow AIST's naming."""

Pose = io.Custom("SKELETON2VIDEO_POSE")
"""``pose.track.PoseTrack``."""

PoseKeypoint = io.Custom("POSE_KEYPOINT")
"""comfyui_controlnet_aux's: a list of one OpenPose dict a frame."""

SubjectCard = io.Custom("SKELETON2VIDEO_SUBJECT_CARD")
"""``prompts.facts.SubjectCard``."""

Prompt = io.Custom("SKELETON2VIDEO_PROMPT")
"""``prompts.prompt.Prompt``."""

Model = io.Custom("SKELETON2VIDEO_MODEL")
"""``wan.engine.Engine``."""

Loras = io.Custom("SKELETON2VIDEO_LORAS")
"""A tuple of ``wan.settings.LoraUse``."""

Axes = io.Custom("SKELETON2VIDEO_AXES")
"""A tuple of ``sweeps.axes.Axis``."""

Sweep = io.Custom("SKELETON2VIDEO_SWEEP")
"""``sweeps.run.SweepResult``."""
