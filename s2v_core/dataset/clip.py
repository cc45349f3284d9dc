"""One clip of a dataset: from a video to its four files and its row in the manifest."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..aist.catalog import Entry
from ..errors import Interrupted, MissingPackageError, ModelFileError, S2VError, SettingsError
from ..files import sha256_file
from ..pose.aistpp import LACKS
from ..pose.track import PoseTrack
from ..prompts.facts import SubjectCard
from ..video.clip import Clip
from ..video.read import VideoInfo, probe_clip, read_clip
from .settings import AISTPP, PrepareSettings
from .trim import choose_start

CLIPS, CONTROLS, REFERENCES, POSES = "clips", "controls", "references", "poses"
AISTPP_ATTRIBUTION = "AIST++ annotations (R. Li, S. Yang, D. A. Ross, A. Kanazawa, ICCV 2021), CC BY 4.0"
UNEXPECTED = "in an unexpected way"
_log = logging.getLogger(__name__)
_PACKAGE = __name__.rpartition(".dataset.")[0]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_ENLARGED, _CUT = 1.05, 0.1


@dataclass(frozen=True)
class ClipJob:
    """What one clip is made of. Paths are text, so that any process can read it.

    ``key``: names everything that decides the result. ``root``: the dataset's folder; ``work``: a folder beside the
    finished files for what is not finished yet. ``keypoints``, ``cameras``: AIST++'s folders, "" for none. ``threads``:
    of the CPU for the pose's nets.
    """

    entry: Entry
    source: str
    split: str
    key: str
    settings: PrepareSettings
    card: SubjectCard
    root: str
    work: str
    keypoints: str = ""
    cameras: str = ""
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """A finished clip's ``row``, or the ``problem`` in its place. ``fatal``: every other clip would fail like this."""

    row: dict[str, Any] | None
    problem: dict[str, str] | None = None
    fatal: bool = False


def try_clip(job: ClipJob, should_stop: Callable[[], bool]) -> Outcome:
    """``make_clip``, with errors that a person can understand as a problem of this clip. Raises ``Interrupted``."""
    try:
        return Outcome(make_clip(job, should_stop))
    except S2VError as error:
        fatal = isinstance(error, (MissingPackageError, ModelFileError)) or _is_full(error.__cause__)
        return Outcome(None, error.to_dict(), fatal)
    except (OSError, MemoryError) as error:
        problem = S2VError(f"{job.entry.file} could not be prepared.", got=str(error) or type(error).__name__)
        return Outcome(None, problem.to_dict(), _is_full(error))
    except Interrupted:
        raise
    except Exception as error:  # whatever a damaged file sets off, the other clips go on
        _log.warning("%s failed unexpectedly", job.entry.file, exc_info=True)
        problem = S2VError(
            f"{job.entry.file} failed {UNEXPECTED}.",
            got=f"{type(error).__name__}: {error}",
            remedy="Leave the file out, and tell the makers of this project.",
        )
        return Outcome(None, problem.to_dict())


def make_clip(job: ClipJob, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Write the clip, its pose video, its first frame and its pose track; return the row of the manifest.

    The files appear in the dataset when all of them are whole. Raises what reading, pose and writing raise.
    """
    from ..pose.draw import draw_pose
    from ..pose.track_file import save_track
    from ..video.write import write_clip, write_png

    settings, entry, path = job.settings, job.entry, Path(job.source)
    with _heard() as heard:
        clip, info, start = read_dance(path, settings, entry.tempo, should_stop=should_stop)
        found = _pose(job, clip, info, start, should_stop)
        track = _tidied(found, settings)
        with _heard():  # that some pictures are black is among the notes already
            drawn = draw_pose(track, palette=settings.palette, hands=settings.hands, face=settings.face)
        prompt = _prompt(job)
        names = {
            "video": f"{CLIPS}/{entry.id}.{settings.container}",
            # Lossless: H.264 smears thin lines on black by up to 188 of 255 levels.
            "vace_video": f"{CONTROLS}/{entry.id}.mkv",
            "vace_reference_image": f"{REFERENCES}/{entry.id}.png",
            "pose": f"{POSES}/{entry.id}.npz",
        }
        work = Path(job.work) / entry.id
        write_clip(clip, work / names["video"], quality=settings.quality, should_stop=should_stop)
        write_clip(drawn, work / names["vace_video"], should_stop=should_stop)
        write_png(clip.frames[0], work / names["vace_reference_image"])
        save_track(track, work / names["pose"])
    files = {
        name: {"bytes": (work / name).stat().st_size, "sha256": sha256_file(work / name)} for name in names.values()
    }
    for name in names.values():
        target = Path(job.root) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(target)
    shutil.rmtree(work, ignore_errors=True)
    assert clip.source is not None
    stat = path.stat()
    return {
        "id": entry.id,
        **names,
        "prompt": prompt["text"],
        "negative": prompt["negative"],
        "split": job.split,
        "frames": len(clip),
        "fps": str(clip.fps),
        "width": clip.width,
        "height": clip.height,
        "facts": {**entry.facts(), **_view(job)},
        "source": {
            "file": entry.file,
            "bytes": stat.st_size,
            "changed": stat.st_mtime_ns,
            "sha256": clip.source.sha256,
            "width": info.width,
            "height": info.height,
            "fps": str(info.fps),
            "seconds": float(info.duration) if info.duration is not None else None,
            "start": str(start),
        },
        "pose_found": {
            "lacks": LACKS if settings.pose == AISTPP else "",
            "backend": found.backend,
            "frames": int(track.found.sum()),
            "people": found.points.shape[1],
        },
        "prompt_sources": prompt["origins"],
        "attribution": [
            text
            for text in (entry.attribution, AISTPP_ATTRIBUTION if settings.pose == AISTPP or job.cameras else "")
            if text
        ],
        "notes": [*_notes(settings, info, start, track, found), *entry.warnings, *dict.fromkeys(heard)],
        "files": files,
        "key": job.key,
    }


def read_dance(
    path: Path,
    settings: PrepareSettings,
    tempo: float | None = None,
    *,
    on_progress: Callable[[int, int | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Clip, VideoInfo, Fraction]:
    """The piece of a video that the settings choose, what is known of the file, and the second at which it begins.

    ``tempo``: beats a minute, for ``trim="beat"``. Raises what ``read_clip`` and ``choose_start`` raise.
    """
    info = probe_clip(path)
    start = choose_start(path, info, settings, tempo)
    clip = read_clip(
        path,
        fps=settings.rate,
        frames=settings.frames,
        size=settings.pixels,
        fit=settings.fit,
        start=start,
        short=settings.short,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    return clip, info, start


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


def _pose(job: ClipJob, clip: Clip, info: VideoInfo, start: Fraction, should_stop: Callable[[], bool]) -> PoseTrack:
    if job.settings.pose == AISTPP:
        return keypoints_of(job, info, start)
    from ..pose.extract import choose_backend, extract_pose
    from ..pose.settings import ExtractSettings

    backend, _ = choose_backend(job.settings.backend)
    if backend == "dwpose":
        from ..pose.dwpose import extract_dwpose

        return extract_dwpose(clip, nets=_dwpose_nets(job.threads), should_stop=should_stop)[0]
    extract = ExtractSettings(backend, keep=False, hands=job.settings.hands, face=job.settings.face)
    return extract_pose(clip, extract, should_stop=should_stop, threads=job.threads).track


@lru_cache(maxsize=1)
def _dwpose_nets(threads: int) -> Any:
    """Loaded once in each process: they take seconds."""
    from ..pose.dwpose import load_nets

    return load_nets(threads=threads)


def keypoints_of(job: ClipJob, info: VideoInfo, start: Fraction) -> PoseTrack:
    """The pose of a job's clip, which begins at ``start`` seconds, out of AIST++. Raises ``SettingsError``."""
    from ..aist.keypoints import FPS, load_keypoints2d
    from ..pose.aistpp import aistpp_track

    name, settings = job.entry.name, job.settings
    if name is None:
        raise SettingsError(
            f"AIST++ has no keypoints of {job.entry.file}.",
            expected="a clip with an AIST name",
            remedy="Let the pose be found in the video.",
        )
    keypoints = load_keypoints2d(Path(job.keypoints) / f"{name.sequence}.pkl")
    if 0 < abs(info.fps / FPS - 1) < Fraction(1, 100):
        # Its frames are the video's, one by one: at 59.94 a second they fall behind the nominal 60.
        keypoints = replace(keypoints, times=tuple(time * FPS / info.fps for time in keypoints.times))
    if settings.short != "error":
        raise SettingsError(
            "AIST++'s keypoints cannot be held or looped.", expected="short error", got=f"short {settings.short}"
        )
    return aistpp_track(
        keypoints, name, start=start, frames=settings.frames, fps=settings.rate, size=settings.pixels, fit=settings.fit
    )


def _tidied(track: PoseTrack, settings: PrepareSettings) -> PoseTrack:
    if not settings.tidy:
        return track
    from ..pose.settings import TidySettings
    from ..pose.tidy import tidy

    return tidy(track, TidySettings(person=settings.person))


def _prompt(job: ClipJob) -> dict[str, Any]:
    from ..prompts.caption_text import clean_caption
    from ..prompts.template import build_prompt, variant_negative

    entry, variant = job.entry, job.settings.variant
    if entry.prompt:
        return {"text": entry.prompt, "negative": variant_negative(variant), "origins": [[entry.prompt, "table"]]}
    made = build_prompt(entry.name, card=job.card, caption=clean_caption(entry.caption).text, variant=variant)
    return {"text": made.text, "negative": made.negative, "origins": [list(pair) for pair in made.origins]}


def _view(job: ClipJob) -> dict[str, Any]:
    """The camera's true direction, where AIST++ knows it."""
    if not job.cameras or job.entry.name is None:
        return {}
    from ..aist.views import load_views

    view = load_views(job.cameras, job.entry.name.sequence).get(job.entry.camera)
    return {} if view is None else {"azimuth": view.azimuth, "elevation": view.elevation}


def _notes(
    settings: PrepareSettings, info: VideoInfo, start: Fraction, track: PoseTrack, found: PoseTrack
) -> list[str]:
    """What a person should know of this clip before training on it, one sentence each."""
    notes = []
    if missing := len(track) - int(track.found.sum()):
        notes.append(f"No pose in {missing} of {len(track)} frames.")
    if (people := found.points.shape[1]) > 1:
        kept = f"; the pose is that of the {settings.person} one" if settings.tidy and settings.person != "all" else ""
        notes.append(f"Up to {people} people are seen{kept}.")
    if settings.short != "error" and info.duration is not None and (over := start + settings.span - info.duration) >= 0:
        held = "its last frame is held" if settings.short == "hold" else "it begins again"
        notes.append(f"The video is {float(over) + 1 / settings.fps:.2f} s too short: {held}.")
    if 0 < info.fps < settings.rate:
        notes.append(f"The video has {float(info.fps):.3g} frames a second, so that some are repeated.")
    width, height = settings.pixels
    ratios = width / info.width, height / info.height
    scale = max(ratios) if settings.fit == "crop" else min(ratios)
    if scale > _ENLARGED:
        notes.append(f"The video is small ({info.width} x {info.height}): it is enlarged {scale:.2g} times.")
    if settings.fit == "crop" and (cut := 1 - min(ratios) / max(ratios)) > _CUT:
        notes.append(f"{cut:.0%} of the picture is cut off: the video has another shape.")
    return notes


@contextmanager
def _heard() -> Iterator[list[str]]:
    """The warnings that the project's own loggers give meanwhile, as texts; they reach nobody else."""
    said: list[str] = []
    logger = logging.getLogger(_PACKAGE)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    before, handed_on = logger.handlers[:], logger.propagate
    logger.handlers[:], logger.propagate = [handler], False
    try:
        yield said
    finally:
        logger.handlers[:], logger.propagate = before, handed_on
