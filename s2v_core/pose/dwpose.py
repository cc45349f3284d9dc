"""DWPose: whole-body points of everybody in a clip, by its two ONNX files on onnxruntime.

The detector is five times as dear as the pose net, so it looks at every 16th frame only. The frames between are filled
from coarse to fine: the middle of two known frames is looked at where the people should be by then, then the middles
of the halves, and so on, each round in batches over the whole clip. What cannot be trusted (people that come, go or
cross, a low score, points that are not where the crop was) is detected anew in that frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..errors import Interrupted
from ..models import DWPOSE_DETECTOR, DWPOSE_POSE, require_model
from ..onnxnet import OnnxNet, onnxruntime_version
from ..video.clip import Clip
from . import between, notes, yolox
from .between import Seen
from .people import link
from .rtmpose import find_points
from .settings import DwposeSettings
from .track import POINTS, PoseTrack

_DETECTION_COST = 6  # in looks of the pose net (77.6 against 10 GMAC, and no batches)
_EMPTY_STRIDE = 4  # frames: where nobody is found, the detector looks this often


@dataclass(frozen=True)
class DwposeReport:
    """What the nets did: the ``provider`` that computed, how often each net ran, and a ``warning`` or ""."""

    provider: str
    detections: int
    looks: int
    warning: str


@dataclass(frozen=True)
class Nets:
    """The two nets, loaded. ``detector``: [1, 3, 640, 640] BGR; ``pose``: [N, 3, 384, 288] RGB."""

    detector: OnnxNet
    pose: OnnxNet

    @property
    def provider(self) -> str:
        """What computes, in words: runtime, version and provider (both, when they differ)."""
        names = dict.fromkeys([self.detector.provider, self.pose.provider])
        return f"onnxruntime {onnxruntime_version()}, {' and '.join(names)}"

    @property
    def warning(self) -> str:
        """Why the nets are slower than this machine could be, or ""."""
        return self.detector.warning or self.pose.warning


def load_nets(provider: str = "auto", *, threads: int = 0) -> Nets:
    """The nets out of the model folders. Raises ModelFileError, MissingPackageError and SettingsError."""
    detector, pose = require_model(DWPOSE_DETECTOR.name), require_model(DWPOSE_POSE.name)
    return Nets(OnnxNet(detector, provider, threads=threads), OnnxNet(pose, provider, threads=threads))


def extract_dwpose(
    clip: Clip,
    settings: DwposeSettings | None = None,
    *,
    nets: Nets | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[PoseTrack, DwposeReport]:
    """Find the points of everybody in every frame; one slot of the track is one person throughout.

    A frame in which nobody was found stays empty and is noted, never filled by a guess on the whole picture.
    ``on_progress(done, frames in all)`` counts work in frames; ``should_stop`` is asked before every run of a net.
    Raises what ``load_nets`` raises, and Interrupted.
    """
    settings = settings or DwposeSettings()
    nets = nets or load_nets(settings.provider)
    search = _Search(clip, settings, nets, on_progress, should_stop)
    search.run()
    track = _second_look(search, link(search.track()), settings.detect_every)
    if on_progress:
        on_progress(len(clip), len(clip))
    return track, DwposeReport(nets.provider, search.detections, search.looks, nets.warning)


class _Search:
    """One walk over a clip: what is known of each frame, and the nets that find out more."""

    def __init__(
        self,
        clip: Clip,
        settings: DwposeSettings,
        nets: Nets,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._clip, self._settings, self._nets = clip, settings, nets
        self._on_progress, self._should_stop = on_progress, should_stop
        self.seen: dict[int, list[Seen]] = {}
        self._low: dict[int, float] = {}  # the score of the best person that was dropped in a frame
        self.detections = self.looks = 0
        self._done, self._planned = 0, 0

    def run(self) -> None:
        """Fill ``seen`` for every frame."""
        last = len(self._clip) - 1
        keys = sorted({*range(0, last + 1, self._settings.detect_every), last})
        self._planned = len(self._clip) + _DETECTION_COST * len(keys)
        self.detect(keys)
        intervals = list(pairwise(keys))
        while intervals := [(a, b) for a, b in intervals if b - a > 1]:
            intervals = self._halve(intervals)

    def _halve(self, intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Settle the middle frame of each interval; the halves that are left."""
        guesses: list[tuple[int, list[between.Guess]]] = []
        unclear: list[int] = []
        halves: list[tuple[int, int]] = []
        for a, b in intervals:
            middle = (a + b) // 2
            pairs = between.match(self.seen[a], self.seen[b], float((b - a) / self._clip.fps))
            if pairs is None:
                unclear.append(middle)
            elif pairs:
                guesses.append((middle, [between.guess(one, two, (middle - a) / (b - a)) for one, two in pairs]))
            elif b - a > _EMPTY_STRIDE:
                unclear.append(middle)
            else:
                self.seen.update({index: [] for index in range(a + 1, b)})
                continue
            halves += [(a, middle), (middle, b)]
        unclear += self._follow(guesses)
        self.detect(sorted(unclear))
        return halves

    def _follow(self, guesses: list[tuple[int, list[between.Guess]]]) -> list[int]:
        """Look where people should be. Returns the frames in which that did not work."""
        found = iter(self.look_for([(frame, guess) for frame, people in guesses for guess in people]))
        failed = []
        for frame, expected in guesses:
            people = [next(found) for _ in expected]
            trusted = all(guess.trusts(person) for guess, person in zip(expected, people, strict=True))
            if trusted and not between.doubles(people):
                self.seen[frame] = people
            else:
                failed.append(frame)
        return failed

    def look_for(self, guesses: list[tuple[int, between.Guess]]) -> list[Seen]:
        """The people at these (frame, guess); where points lie elsewhere than the crop, a second look is around them.

        A crop that would have to move twice follows nobody: no points then.
        """
        found = self.look([(frame, guess.box) for frame, guess in guesses])
        moved = [i for i, (_, guess) in enumerate(guesses) if guess.moved(found[i])]
        again = self.look([(guesses[i][0], guesses[i][1].around(found[i])) for i in moved])
        for i, person in zip(moved, again, strict=True):
            found[i] = person.without_points() if guesses[i][1].moved(person, of=found[i]) else person
        return found

    def detect(self, frames: Iterable[int]) -> None:
        """Find people in these frames by the detector, and their points."""
        boxes = []
        for frame in frames:
            self._ask()
            found = yolox.detect(self._nets.detector, self._clip.frames[frame])[: self._settings.max_people]
            self.detections += 1
            self._tell(_DETECTION_COST)
            self.seen[frame] = []
            self._low.pop(frame, None)
            boxes += [(frame, box[:4]) for box in found]
        for (frame, _), person in zip(boxes, self.look(boxes), strict=True):
            if person.quality >= between.LOWEST_QUALITY:
                self.seen[frame].append(person)
            else:
                self._low[frame] = max(self._low.get(frame, 0.0), person.quality)
        for frame in {frame for frame, _ in boxes}:
            self.seen[frame] = between.without_doubles(self.seen[frame])

    def look(self, places: list[tuple[int, np.ndarray]]) -> list[Seen]:
        """The points of the people in these (frame, box)."""
        size = self._settings.batch if self._nets.pose.any_batch else 1
        people: list[Seen] = []
        for start in range(0, len(places), size):
            self._ask()
            part = places[start : start + size]
            boxes = np.stack([box for _, box in part])
            frames = [self._clip.frames[frame] for frame, _ in part]
            points, scores = find_points(self._nets.pose, frames, boxes)
            people += [Seen(*person) for person in zip(points, scores, boxes, strict=True)]
            self.looks += len(part)
            self._tell(len(part))
        return people

    def track(self) -> PoseTrack:
        """What was found, people in no particular order."""
        count = len(self._clip)
        slots = max(1, *(len(people) for people in self.seen.values()))
        points = np.zeros((count, slots, POINTS, 2), np.float32)
        scores = np.zeros((count, slots, POINTS), np.float32)
        said = []
        for frame in range(count):
            for slot, person in enumerate(self.seen[frame]):
                points[frame, slot], scores[frame, slot] = person.points, person.scores
            said.append(self._note(frame))
        backend = f"dwpose ({self._nets.provider})"
        return PoseTrack(points, scores, (self._clip.height, self._clip.width), self._clip.fps, backend, tuple(said))

    def _note(self, frame: int) -> str:
        if self.seen[frame]:
            return ""
        return f"low score {self._low[frame]:.2f}" if frame in self._low else notes.NO_PERSON

    def _ask(self) -> None:
        if self._should_stop and self._should_stop():
            raise Interrupted(f"stopped after {self._frames_done()} of {len(self._clip)} frames")

    def _tell(self, work: int) -> None:
        self._done += work
        self._planned = max(self._planned, self._done)
        if self._on_progress:
            self._on_progress(self._frames_done(), len(self._clip))

    def _frames_done(self) -> int:
        return len(self._clip) * self._done // max(1, self._planned)


def _second_look(search: _Search, track: PoseTrack, longest: int) -> PoseTrack:
    """Look for people where the detector found nobody, though they were there before and after.

    A dancer upside down is what detectors miss; the pose net still finds one when it is shown the place. Gaps of up to
    ``longest`` frames are looked at; what is found there is noted.
    """
    there = np.asarray((track.scores > 0).any(axis=2))
    wanted, slots = [], []
    for slot in range(there.shape[1]):
        for before, after in pairwise(np.flatnonzero(there[:, slot]).tolist()):
            if not 1 < after - before <= longest:
                continue
            first, second = (
                Seen.of_points(track.points[frame, slot], track.scores[frame, slot]) for frame in (before, after)
            )
            for frame in range(before + 1, after):
                wanted.append((frame, between.guess(first, second, (frame - before) / (after - before))))
                slots.append(slot)
    if not wanted:
        return track
    points, scores, said = track.points.copy(), track.scores.copy(), list(track.notes)
    for (frame, guess), slot, person in zip(wanted, slots, search.look_for(wanted), strict=True):
        others = [Seen.of_points(points[frame, i], scores[frame, i]) for i in np.flatnonzero(scores[frame].any(axis=1))]
        if guess.trusts(person) and not between.doubles([*others, person]):
            points[frame, slot], scores[frame, slot] = person.points, person.scores
            kept = (part for part in notes.parts(said[frame]) if part != notes.NO_PERSON)
            said[frame] = notes.SEPARATOR.join((*kept, notes.SECOND_LOOK))
    return replace(track, points=points, scores=scores, notes=tuple(said))
