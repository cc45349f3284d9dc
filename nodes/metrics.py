"""Scores of a sweep's cells, and what they say of the article's claims."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError
from . import host, sockets
from .wan import MOST_REFERENCES


class ScoreSweep(io.ComfyNode):
    """Measures every finished cell."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_ScoreSweep",
            display_name="Score Sweep",
            category="Skeleton2Video/sweep",
            description=(
                "Measures every finished cell of a sweep: pose, identity, motion, steadiness, leakage of a LoRA's "
                "training set... Scores are kept with the cells and never measured twice; Sweep Grid shows them "
                "below each cell."
            ),
            inputs=[
                sockets.Sweep.Input("sweep", tooltip="From Run Sweep."),
                io.String.Input(
                    "metrics",
                    default="",
                    tooltip=(
                        "What is measured, parted by commas, such as pose_pck, identity_clothes, motion. Empty is all "
                        "that needs no download."
                    ),
                ),
                io.Image.Input(
                    "control_video", optional=True, tooltip="The one that Run Sweep got: pose is compared with it."
                ),
                io.Image.Input(
                    "reference", optional=True, tooltip="The one that Run Sweep got: identity is compared with it."
                ),
                io.String.Input(
                    "training",
                    default="",
                    optional=True,
                    tooltip=(
                        "A folder below ComfyUI's input folder with the LoRA's training set, for leakage; empty: none."
                    ),
                ),
                io.Boolean.Input("again", default=False, optional=True, tooltip="Also measure anew what had no value."),
            ],
            outputs=[
                sockets.Sweep.Output("scored", display_name="sweep", tooltip="For Sweep Grid and Pick Cell."),
                io.String.Output("summary", display_name="summary", tooltip="What was measured, and what could not."),
                io.String.Output(
                    "claims", display_name="claims", tooltip="What the scores say of the article's sentences."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, metrics: str | None) -> bool | str:
        """Say what is wrong with a name before anything runs (what comes by a link is None here)."""
        try:
            _names(metrics or "")
        except S2VError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        sweep: Any,
        metrics: str,
        control_video: Any = None,
        reference: Any = None,
        training: str = "",
        again: bool = False,
    ) -> io.NodeOutput:
        """Measure what is not measured yet, and judge."""
        from ..s2v_core.analysis.claimsfile import load_claims
        from ..s2v_core.assess import score_result, verdicts_of
        from ..s2v_core.wan.vace import FPS

        control = None if control_video is None else host.to_clip(control_video, FPS, "control video")
        pictures = [] if reference is None else host.some_pictures(reference, "reference", MOST_REFERENCES)
        progress = host.Progress(1)
        with host.interruptible() as should_stop:
            found = score_result(
                sweep,
                control=control,
                reference=pictures,
                metrics=_names(metrics),
                training=host.input_folder(training) if training.strip() else None,
                again=again,
                on_progress=progress,
                should_stop=should_stop,
            )
        return io.NodeOutput(sweep, _summary(sweep, found), _claims(verdicts_of(load_claims(), [sweep])))


def _names(metrics: str) -> list[str] | None:
    from ..s2v_core.metrics.registry import chosen_metrics

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    return [metric.name for metric in chosen_metrics(names)] if names else None


def _summary(result: Any, found: Any) -> str:
    lines = [
        f"{len(found.scored)} cells scored, {len(found.settled)} scored before, {len(found.failed)} failed",
        f"cells: {result.store.folder}",
        *(f"no {metric} in {count} cells: {reason}" for (metric, reason), count in sorted(found.missing.items())),
        *(f"failed: {reason}" for reason in found.failed.values()),
    ]
    return "\n".join(lines)


def _claims(verdicts: Any) -> str:
    from ..s2v_core.analysis.verdict import say_effect

    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.word}: {verdict.claim.says}")
        lines += [f"  {part.says}: {say_effect(part)}" for part in verdict.parts]
        if verdict.reason:
            lines.append(f"  {verdict.reason}")
    return "\n".join(lines)
