"""``s2v score``: a clip of any tool, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Json, command, progress

if TYPE_CHECKING:
    from fractions import Fraction

    from ..metrics.scorecard import Metric, Score, Scorecard
    from ..pose.track import PoseTrack
    from ..video.clip import Clip

_POSE_FILES = (".npz", ".json", ".pkl")


def score(
    clip: Annotated[Path, typer.Argument(help="The video to measure, of whatever tool made it.")],
    control: Annotated[
        Path | None,
        typer.Option(help="Its pose video, or the points of it: .npz, OpenPose .json (a file or a folder), .pkl."),
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="The reference picture; of several the first one counts.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="A training set to look for in the clip: a folder, or its table.")
    ] = None,
    driving: Annotated[Path | None, typer.Option(help="The clip that the pose was taken from.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Only this metric; may be given several times.")
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            help="Who finds points in the clip: auto, dwpose, blazepose, or toy (for clips of the nano model)."
        ),
    ] = "auto",
    prompt: Annotated[str, typer.Option(help="The prompt, for metrics that compare with it.")] = "",
    as_json: Json = False,
) -> None:
    """Measure a clip: identity, background, leakage, pose, motion, steadiness and picture quality.

    What cannot be measured stays empty and says why. docs/metrics.md tells what each value means.
    """
    with command(as_json) as done:
        from ..metrics.registry import chosen_metrics, score_clip
        from ..video.read import probe_clip
        from ..video.still import read_reference

        wanted = chosen_metrics(metrics or None)
        frames = _read(clip, rate := probe_clip(clip).fps)
        with progress() as show:
            card = score_clip(
                frames,
                control=None if control is None else _control(control, rate),
                reference=[read_reference(path) for path in reference or []] or None,
                training=training,
                driving=None if driving is None else _read(driving, rate),
                provenance={"prompt": {"text": prompt}} if prompt else None,
                metrics=[metric.name for metric in wanted],
                detector=detector,
                on_progress=show.metrics,
            )
        facts = {"clip": str(clip), "frames": len(frames), "size": f"{frames.width} x {frames.height}", "fps": rate}
        if as_json:
            done({**facts, "fps": float(rate), "scores": _as_json(wanted, card)})
        else:
            done({**facts, "fps": f"{float(rate):g}", **_as_rows(wanted, card)})


def _read(path: Path, rate: Fraction) -> Clip:
    from ..video.read import read_clip

    return read_clip(path, fps=rate, frames=None)


def _control(path: Path, rate: Fraction) -> Clip | PoseTrack:
    if path.is_dir() or path.suffix.lower() in _POSE_FILES:
        from ..pose.pose_file import load_pose

        return load_pose(path, fps=rate)
    return _read(path, rate)


def _as_json(metrics: tuple[Metric, ...], card: Scorecard) -> dict[str, Any]:
    said = card.to_json()
    return {
        metric.name: {
            **said[metric.name],
            "title": metric.title,
            "unit": metric.unit,
            "direction": metric.direction,
            "says": metric.says,
        }
        for metric in metrics
    }


def _as_rows(metrics: tuple[Metric, ...], card: Scorecard) -> dict[str, str]:
    """Aligned lines: value and unit, 95% interval, which way is better, and how it was measured or why not."""
    values = [_value(metric, card[metric.name]) for metric in metrics]
    widths = [max(len(one[column]) for one in values) for column in range(3)]
    rows = {}
    for metric, value in zip(metrics, values, strict=True):
        score = card[metric.name]
        cells = [text.ljust(width) for text, width in zip(value, widths, strict=True)]
        rows[metric.title] = "  ".join([*cells, score.how or score.reason])
    return rows


def _value(metric: Metric, score: Score) -> tuple[str, str, str]:
    from ..sweeps.scores import say_score

    value = f"{say_score(score.value)} {metric.unit}".strip() if score.value is not None else "–"
    interval = (
        "" if score.low is None else f"{say_score(score.low, score.value)} to {say_score(score.high, score.value)}"
    )
    ideal = "" if metric.ideal is None else f"{metric.ideal:g} is best"
    better = {"higher": "higher is better", "lower": "lower is better", "neutral": ideal}[metric.direction]
    return value, interval, better
