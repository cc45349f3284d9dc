"""The way in: a clip to a pose track by the chosen backend, with a report of who did it and how fast."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

from ..models import BLAZEPOSE, BLAZEPOSE_FACE, BLAZEPOSE_HANDS, DWPOSE, ModelFile, find_model, model_sha256
from ..video.clip import Clip
from . import cache
from .settings import ExtractSettings
from .track import PoseTrack

Made = tuple[PoseTrack, str, str]  # a track, the provider, a warning or ""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExtractReport:
    """A track and how it was made.

    ``seconds`` that it took, loading the nets included, and ``frames_per_second`` so reached, at the time it was made.
    ``provider``: the runtime, its version and what computed. ``choice``: why this backend was taken. ``found``: frames
    with points. ``warning``: what makes it slower than this machine could be, or "". ``kept``: it was in the cache.
    """

    track: PoseTrack
    seconds: float
    frames_per_second: float
    provider: str
    choice: str
    found: int
    warning: str = ""
    kept: bool = False

    def __str__(self) -> str:
        speed = f"{self.seconds:.1f} s ({self.frames_per_second:.1f} frames a second) on {self.provider}"
        if self.kept:
            speed = f"out of the cache (made in {speed})"
        lines = [f"{self.track.backend}: {self.found} of {len(self.track)} frames found, {speed}; {self.choice}"]
        return "\n".join([*lines, *([f"WARNING: {self.warning}"] if self.warning else [])])


def extract_pose(
    clip: Clip,
    settings: ExtractSettings | str = "auto",
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> ExtractReport:
    """Find the points in every frame of ``clip``. ``settings`` may be the name of a backend.

    ``on_progress(frames done, frames in all)``; ``should_stop`` is asked before every run of a net. ``threads`` of the
    CPU, for nets that run there. Raises SettingsError for what does not exist or is not available, ModelFileError,
    MissingPackageError, and Interrupted.
    """
    if isinstance(settings, str):
        settings = ExtractSettings(settings)
    backend, why = choose_backend(settings.backend)
    # What mmpose loads is not ours to know, so its results are not kept.
    keep = settings.keep and backend != "controlnet-aux"
    key = cache.cache_key(_facts(clip, backend, settings)) if keep else ""
    if key and (found := cache.load(key)):
        track, about = found
        report = ExtractReport(track, choice=why, found=int(track.found.sum()), kept=True, **about)
        if on_progress:
            on_progress(len(clip), len(clip))
    else:
        start = time.perf_counter()
        track, provider, warning = _RUN[backend](clip, settings, on_progress, should_stop, threads)
        seconds = time.perf_counter() - start
        report = ExtractReport(track, seconds, len(clip) / seconds, provider, why, int(track.found.sum()), warning)
        if key:
            about = {name: getattr(report, name) for name in ("seconds", "frames_per_second", "provider", "warning")}
            cache.save(key, track, about)
    _log.info("%s", report)
    return report


def choose_backend(backend: str) -> tuple[str, str]:
    """The backend that is meant by one of ``BACKENDS``, and why."""
    if backend != "auto":
        return backend, f"{backend}, as asked"
    missing = [entry.file for entry in DWPOSE if find_model(entry.name) is None]
    if not missing:
        return "dwpose", "auto: dwpose, whose files are there"
    return "blazepose", (
        f"auto: blazepose, because {' and '.join(missing)} of dwpose {'is' if len(missing) == 1 else 'are'} not there "
        "(s2v models get dwpose)"
    )


def _facts(clip: Clip, backend: str, settings: ExtractSettings) -> dict[str, Any]:
    """What decides the points. A missing net is not noticed here, but where it is loaded."""
    facts: dict[str, Any] = {"clip": clip.sha256(), "backend": backend}
    if backend == "dwpose":
        from ..onnxnet import onnxruntime_version, provider_order

        chosen = {entry.name: getattr(settings.dwpose, entry.name) for entry in dataclass_fields(settings.dwpose)}
        facts |= {"runtime": onnxruntime_version(), "providers": provider_order(settings.dwpose.provider), **chosen}
        facts |= {"nets": _hashes(DWPOSE)}
    elif backend == "blazepose":
        from ..litert import litert_version

        # Which of the extra nets are there decides what is found.
        nets = (*BLAZEPOSE, *(BLAZEPOSE_HANDS if settings.hands else ()), *(BLAZEPOSE_FACE if settings.face else ()))
        facts |= {"runtime": litert_version(), "nets": _hashes(nets)}
    return facts


def _hashes(entries: tuple[ModelFile, ...]) -> list[str]:
    return [model_sha256(entry.name) if find_model(entry.name) else "" for entry in entries]


def _run_dwpose(clip: Clip, settings: ExtractSettings, on_progress: Any, should_stop: Any, threads: int | None) -> Made:
    from .dwpose import extract_dwpose, load_nets

    nets = load_nets(settings.dwpose.provider, threads=threads or 0)
    track, report = extract_dwpose(clip, settings.dwpose, nets=nets, on_progress=on_progress, should_stop=should_stop)
    provider = f"{report.provider}, {report.detections} detections and {report.looks} looks of the pose net"
    return track, provider, report.warning


def _run_blazepose(
    clip: Clip, settings: ExtractSettings, on_progress: Any, should_stop: Any, threads: int | None
) -> Made:
    from ..litert import litert_version
    from .blazepose import default_threads, extract_blazepose

    count = threads or default_threads()
    # None: if their nets are there. The track's backend says what was looked for.
    hands, face = (None if wanted else False for wanted in (settings.hands, settings.face))
    track = extract_blazepose(
        clip, hands=hands, face=face, on_progress=on_progress, should_stop=should_stop, threads=count
    )
    return track, f"LiteRT {litert_version()}, CPU, {count} thread{'s' if count > 1 else ''}", ""


def _run_aux(clip: Clip, settings: ExtractSettings, on_progress: Any, should_stop: Any, threads: int | None) -> Made:
    from .mmpose import extract_controlnet_aux

    track = extract_controlnet_aux(clip, on_progress=on_progress, should_stop=should_stop)
    return track, track.backend, ""


_RUN = {"dwpose": _run_dwpose, "blazepose": _run_blazepose, "controlnet-aux": _run_aux}
