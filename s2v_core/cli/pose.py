"""``s2v pose``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from ..arguments import parse_size
from .console import Json, Out, Size, Start, command, progress, setting


def pose(
    clip: Annotated[Path, typer.Argument(help="A video of one dancer.")],
    out: Out = Path("pose.mkv"),
    track: Annotated[Path | None, typer.Option(help="Also write the points, as .npz.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write the clip with its skeleton over it.")] = None,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second to take.")] = 16.0,
    frames: Annotated[int, typer.Option(min=0, help="Frames to take; 0 for all.")] = 81,
    start: Start = 0.0,
    size: Size = "",
    fit: Annotated[str, setting("fit")] = "letterbox",
    backend: Annotated[str, typer.Option(help="auto, blazepose or dwpose.")] = "auto",
    palette: Annotated[str, typer.Option(help="vace (as VACE was trained) or openpose.")] = "vace",
    hands: Annotated[bool, typer.Option(help="Draw hands.")] = False,
    face: Annotated[bool, typer.Option(help="Draw the face.")] = True,
    as_json: Json = False,
) -> None:
    """Extract the pose of a clip and draw it. The suffix of --out decides the form; .mkv is lossless."""
    with command(as_json) as done:
        from ..pose.draw import draw_pose
        from ..pose.draw import overlay as draw_over
        from ..pose.extract import extract_pose
        from ..pose.track_file import save_track
        from ..video.read import read_clip
        from ..video.write import write_clip

        taken = read_clip(
            clip, fps=Fraction(str(fps)), frames=frames or None, size=parse_size(size), fit=fit, start=start
        )
        with progress() as show:
            report = extract_pose(taken, backend, on_progress=show.pose)
        drawn = draw_pose(report.track, palette=palette, hands=hands, face=face)
        written: dict[str, Any] = {"pose video": write_clip(drawn, out, lossless=out.suffix == ".mkv")}
        if track:
            written["track"] = save_track(report.track, track)
        if overlay:
            written["overlay"] = write_clip(draw_over(taken, report.track), overlay)
        noted = {index: note for index, note in enumerate(report.track.notes) if note}
        done(
            {
                **written,
                "backend": report.track.backend,
                "provider": report.provider,
                "choice": report.choice,
                "frames": len(taken),
                "found": report.found,
                "frames per second": round(report.frames_per_second, 2),
                "notes": noted,
            }
        )
