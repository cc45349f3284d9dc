"""``s2v pose``: points out of a clip or a file, tidied, retargeted, drawn and written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..arguments import parse_size
from ..pose.settings import DwposeSettings, ExtractSettings, RetargetSettings, TidySettings
from .console import Json, Out, Size, Start, command, progress, setting

if TYPE_CHECKING:
    from ..pose.extract import ExtractReport
    from ..pose.track import PoseTrack
    from ..video.clip import Clip

_POSE_FILES = (".npz", ".json", ".pkl")


def pose(
    source: Annotated[
        Path,
        typer.Argument(
            help="A video, or points that are there already: a .npz track, OpenPose .json (a file or a folder of "
            "them), AIST++ .pkl."
        ),
    ],
    out: Out = Path("pose.mkv"),
    track: Annotated[
        Path | None, typer.Option(help="Also write the points: .npz, .json (POSE_KEYPOINT), or a folder (OpenPose).")
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write the clip with its skeleton over it.")] = None,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second to take.")] = 16.0,
    frames: Annotated[int, typer.Option(min=0, help="Frames to take; 0 for all.")] = 81,
    start: Start = 0.0,
    size: Size = "",
    fit: Annotated[str, typer.Option(help="How another shape is fitted: letterbox or crop.")] = "letterbox",
    backend: Annotated[str, setting("backend", ExtractSettings)] = ExtractSettings.backend,
    detect_every: Annotated[int, setting("detect_every", DwposeSettings)] = DwposeSettings.detect_every,
    batch: Annotated[int, setting("batch", DwposeSettings)] = DwposeSettings.batch,
    max_people: Annotated[int, setting("max_people", DwposeSettings)] = DwposeSettings.max_people,
    provider: Annotated[str, setting("provider", DwposeSettings)] = DwposeSettings.provider,
    keep: Annotated[bool, setting("keep", ExtractSettings)] = ExtractSettings.keep,
    find_hands: Annotated[bool, setting("hands", ExtractSettings, "--find-hands")] = ExtractSettings.hands,
    find_face: Annotated[bool, setting("face", ExtractSettings, "--find-face")] = ExtractSettings.face,
    tidy: Annotated[bool, typer.Option("--tidy", help="Clean the points, by the next five options.")] = False,
    person: Annotated[str, setting("person", TidySettings)] = TidySettings.person,
    person_number: Annotated[int, setting("person_number", TidySettings)] = TidySettings.person_number,
    guard: Annotated[bool, setting("guard", TidySettings)] = TidySettings.guard,
    max_gap_ms: Annotated[float, setting("max_gap_ms", TidySettings)] = TidySettings.max_gap_ms,
    smooth_ms: Annotated[float, setting("smooth_ms", TidySettings)] = TidySettings.smooth_ms,
    onto: Annotated[
        Path | None, typer.Option(help="A picture of another person: the dance gets their body, place and floor.")
    ] = None,
    place: Annotated[str, setting("place", RetargetSettings)] = RetargetSettings.place,
    body_size: Annotated[str, setting("size", RetargetSettings, "--body-size")] = RetargetSettings.size,
    plant_feet: Annotated[bool, setting("plant_feet", RetargetSettings)] = RetargetSettings.plant_feet,
    page: Annotated[Path | None, typer.Option(help="With --onto: also write a picture of before and after.")] = None,
    palette: Annotated[str, typer.Option(help="vace (as VACE was trained) or openpose.")] = "vace",
    hands: Annotated[bool, typer.Option(help="Draw hands.")] = False,
    face: Annotated[bool, typer.Option(help="Draw the face.")] = True,
    camera: Annotated[str, typer.Option(help="Of AIST++ keypoints: c01 to c09.")] = "c01",
    as_json: Json = False,
) -> None:
    """Find the pose of a clip, or take it from a file; tidy, retarget and draw it.

    The suffix of --out decides the form; .mkv is lossless.
    """
    with command(as_json) as done:
        from ..pose.draw import draw_pose
        from ..pose.draw import overlay as draw_over
        from ..pose.pose_file import save_pose
        from ..video.write import write_clip

        clip: Clip | None = None
        report: ExtractReport | None = None
        dwpose = DwposeSettings(detect_every, batch, max_people, provider)
        settings = ExtractSettings(backend, keep, find_hands, find_face, dwpose)
        if source.is_dir() or source.suffix.lower() in _POSE_FILES:
            points = _load(source, fps, frames, start, size, fit, camera)
        else:
            from ..pose.extract import extract_pose
            from ..video.read import read_clip

            clip = read_clip(
                source, fps=Fraction(str(fps)), frames=frames or None, size=parse_size(size), fit=fit, start=start
            )
            with progress() as show:
                report = extract_pose(clip, settings, on_progress=show.pose)
            points = report.track
        said: dict[str, Any] = {}
        if tidy:
            points = _tidied(points, TidySettings(person, person_number, guard, max_gap_ms, smooth_ms), said)
        written: dict[str, Any] = {}
        if overlay:
            written["overlay"] = write_clip(draw_over(_pictures(clip, overlay), points), overlay)
        if onto:
            body = RetargetSettings(place=place, size=body_size, plant_feet=plant_feet)
            points = _retargeted(points, onto, body, settings, page, said, written)
        drawn = draw_pose(points, palette=palette, hands=hands, face=face)
        written = {"pose video": write_clip(drawn, out, lossless=out.suffix == ".mkv"), **written}
        if track:
            written["track"] = save_pose(points, track)
        noted = {index: note for index, note in enumerate(points.notes) if note}
        done({**written, **_facts(points, report), **said, "notes": noted})


def _load(source: Path, fps: float, frames: int, start: float, size: str, fit: str, camera: str) -> PoseTrack:
    from ..pose.pose_file import load_pose

    shape = parse_size(size)
    canvas = (shape[1], shape[0]) if shape else None
    return load_pose(
        source, fps=fps, canvas=canvas, camera=camera, start=start, frames=frames or None, size=shape, fit=fit
    )


def _tidied(points: PoseTrack, settings: TidySettings, said: dict[str, Any]) -> PoseTrack:
    from ..pose.measure import jitter
    from ..pose.tidy import tidy

    made = tidy(points, settings)
    said["trembling"] = f"{jitter(points)} before, {jitter(made)} after"
    return made


def _retargeted(
    points: PoseTrack,
    onto: Path,
    body: RetargetSettings,
    settings: ExtractSettings,
    page: Path | None,
    said: dict[str, Any],
    written: dict[str, Any],
) -> PoseTrack:
    from ..pose.before_after import before_and_after
    from ..pose.extract import extract_pose
    from ..pose.people import select
    from ..pose.retarget import retarget
    from ..recipe import read_reference
    from ..video.clip import Clip
    from ..video.write import write_png

    picture = read_reference(onto)
    found = extract_pose(Clip(picture[None], points.fps), settings).track
    result = retarget(points, select(found, "largest"), body)
    said["retargeting"] = str(result)
    if page:
        written["page"] = write_png(before_and_after(None, points, result, picture), page)
    return result.track


def _pictures(clip: Clip | None, overlay: Path) -> Clip:
    from ..errors import SettingsError

    if clip is None:
        raise SettingsError(
            f"There are no pictures to draw {overlay} on.",
            expected="a video as the source",
            got="points from a file",
            remedy="Leave --overlay out, or give the video.",
        )
    return clip


def _facts(points: PoseTrack, report: ExtractReport | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"backend": points.backend, "frames": len(points), "found": int(points.found.sum())}
    if report is not None:
        facts |= {
            "provider": report.provider,
            "choice": report.choice,
            "frames per second": round(report.frames_per_second, 2),
            "from the cache": report.kept,
            "warning": report.warning,
        }
    return facts
