"""The metrics that there are: names, units, directions and what they need. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, MissingPackageError, ModelFileError, SettingsError, VideoError
from .scorecard import NEEDS, Metric, Score, Scorecard, empty
from .toy import TOY_METRICS

if TYPE_CHECKING:
    from .subject import Subject

_ALL = (
    Metric(
        "identity_clothes",
        "Clothes",
        "lower",
        "ΔE",
        (0.0, None),
        ("clip", "reference", "pose"),
        "colours inside the skeleton's limbs in CIELAB (CIE 1976), compared by earth mover's distance",
        "How far the clothes' colours are from those in the reference picture.",
    ),
    Metric(
        "identity_face",
        "Face",
        "lower",
        "distance",
        (0.0, None),
        ("clip", "reference", "face"),
        "distance of dlib's face embeddings (King 2009), in the frames in which a face is found",
        "How far the face is from the one in the reference picture: below 0.6 it is the same person.",
    ),
    Metric(
        "background",
        "Background",
        "lower",
        "ΔE",
        (0.0, None),
        ("clip", "reference", "pose"),
        "CIELAB (CIE 1976) difference outside the dancer",
        "How far the place behind the dancer is from the one in the reference picture.",
    ),
    Metric(
        "leakage",
        "Leakage",
        "lower",
        "",
        (None, 1.0),
        ("clip", "reference", "training", "pose"),
        "1 - distance to the training set over the reference's distance to it, by colours in CIELAB",
        "How far background and clothes have gone from the reference (0) to the training set (1).",
    ),
    Metric(
        "pose_pck",
        "Pose (PCK)",
        "higher",
        "",
        (0.0, 1.0),
        ("clip", "control", "pose"),
        "percentage of correct keypoints within 0.1 of the torso (Yang and Ramanan 2013)",
        "Which share of the body's points is where the control video has them.",
    ),
    Metric(
        "pose_oks",
        "Pose (OKS)",
        "higher",
        "",
        (0.0, 1.0),
        ("clip", "control", "pose"),
        "object keypoint similarity with COCO's constants (Lin et al. 2014)",
        "How close the body's points are to the control's, forgiving more where points are hard to place.",
    ),
    Metric(
        "pose_mpjpe",
        "Pose error",
        "lower",
        "% of body height",
        (0.0, None),
        ("clip", "control", "pose"),
        "mean per joint position error in the picture's plane (Ionescu et al. 2014)",
        "How far the body's points are from the control's on average.",
    ),
    Metric(
        "motion",
        "Motion",
        "neutral",
        "x driving",
        (0.0, None),
        ("clip", "control", "pose"),
        "mean length of the dancer's optical flow (DIS, Kroeger et al. 2016) over that in the driving clip",
        "How much the dancer moves, as a multiple of the driving clip: 1 is as much.",
        ideal=1.0,
    ),
    Metric(
        "flicker",
        "Steadiness",
        "higher",
        "",
        (0.0, 1.0),
        ("clip",),
        "temporal flickering of VBench (Huang et al. 2024): (255 - mean difference of frames) / 255",
        "How little the picture changes from frame to frame.",
    ),
    Metric(
        "warp",
        "Warp error",
        "lower",
        "levels",
        (0.0, 255.0),
        ("clip",),
        "warping error (Lai et al. 2018): what is left after each frame is moved along the optical flow to the next",
        "How much changes from frame to frame that no movement explains.",
    ),
    Metric(
        "sharpness",
        "Sharpness",
        "higher",
        "",
        (0.0, None),
        ("clip",),
        "variance of the Laplacian (Pech-Pacheco et al. 2000)",
        "How much fine detail the frames have; noise counts as detail.",
    ),
    Metric(
        "blockiness",
        "Blockiness",
        "lower",
        "",
        (0.0, None),
        ("clip",),
        "steps across an 8 pixel grid over steps between (Wang, Sheikh and Bovik 2002)",
        "How much the blocks of a codec or of latents show as a grid.",
    ),
    Metric(
        "seconds",
        "Time",
        "lower",
        "s",
        (0.0, None),
        ("provenance",),
        "noted while the clip was rendered",
        "How long the rendering took.",
    ),
    Metric(
        "peak_memory",
        "Peak memory",
        "lower",
        "GiB",
        (0.0, None),
        ("provenance",),
        "noted while the clip was rendered",
        "How much memory the rendering needed at most.",
    ),
    Metric(
        "face_found",
        "Face found",
        "higher",
        "",
        (0.0, 1.0),
        ("clip", "face"),
        "dlib's detector of faces (King 2009)",
        "In which share of the frames a face is found.",
        default=False,
    ),
    Metric(
        "clip_text",
        "Prompt (CLIP)",
        "higher",
        "",
        (-1.0, 1.0),
        ("clip", "text", "clip weights"),
        "cosine of CLIP's vectors (CLIPScore without its factor, Hessel et al. 2021)",
        "How well the frames fit the prompt.",
        default=False,
    ),
    Metric(
        "dino_reference",
        "Reference (DINOv2)",
        "higher",
        "",
        (-1.0, 1.0),
        ("clip", "reference", "dino weights"),
        "cosine of DINOv2's vectors (Oquab et al. 2023), as in VBench's subject consistency",
        "How much the frames show what the reference picture shows.",
        default=False,
    ),
    Metric(
        "dino_leakage",
        "Leakage (DINOv2)",
        "lower",
        "",
        (-2.0, 2.0),
        ("clip", "reference", "training", "dino weights"),
        "cosine of DINOv2's vectors to the training set less that to the reference",
        "How much more the frames are like the training set than like the reference picture.",
        default=False,
    ),
)
# Where a metric is measured, when that is not the function ``measure`` of the file of its name.
_MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "face_found": "identity_face:measure_found",
        "dino_reference": "dino:measure_reference",
        "dino_leakage": "dino:measure_leakage",
        "pose_pck": "pose:measure_pck",
        "pose_oks": "pose:measure_oks",
        "pose_mpjpe": "pose:measure_mpjpe",
        "seconds": "cost:measure_seconds",
        "peak_memory": "cost:measure_peak_memory",
    }
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL} | dict(TOY_METRICS))


def default_metrics() -> tuple[str, ...]:
    """The metrics that are measured when nobody chose: those that need no model of their own, and those whose is there.

    None of them downloads anything.
    """
    from .weights import needs_that_are_there

    there = needs_that_are_there()
    return tuple(metric.name for metric in METRICS.values() if metric.default or there & set(metric.needs))


def chosen_metrics(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """The metrics of these names in their order, the default ones for None. Raises SettingsError for unknown names."""
    wanted = tuple(dict.fromkeys(default_metrics() if names is None else names))
    if unknown := [name for name in wanted if name not in METRICS]:
        raise SettingsError(
            f"There is no metric called {unknown[0]!r}.",
            expected=f"some of {', '.join(METRICS)}",
            got=", ".join(unknown),
        )
    return tuple(METRICS[name] for name in wanted)


def score_clip(
    frames: Any,
    *,
    control: Any = None,
    reference: Any = None,
    training: Any = None,
    driving: Any = None,
    provenance: Mapping[str, Any] | None = None,
    metrics: Iterable[str] | None = None,
    detector: Any = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Scorecard:
    """Measure a clip. What cannot be measured is empty and says why.

    ``frames``: a ``Clip`` or uint8 [T, H, W, 3]. ``control``: the pose video (``Clip`` or frames) or its ``PoseTrack``.
    ``reference``: uint8 [H, W, 3], or several, of which the first one counts. ``training``: the folder of a training
    set, or clips and pictures. ``driving``: the clip that the pose was taken from. ``provenance``: what ``cell.json``
    says. ``metrics``: names, None for ``default_metrics()``. ``detector``: a function Clip -> PoseTrack, or "toy",
    "blazepose" or "dwpose"; None takes the toy world's for clips of up to 128 pixels and else the project's own pose
    backend. ``on_progress(metrics done, metrics in all)``; ``should_stop`` is asked before each.

    What clips share (points of the reference, look of the training set) is remembered in this process. Raises
    SettingsError for unknown names and for inputs of another kind, and Interrupted.
    """
    from .inputs import as_clip, gather
    from .subject import Subject

    inputs = gather(
        control=control,
        reference=reference,
        training=training,
        driving=driving,
        provenance=provenance,
        detector=detector,
        should_stop=should_stop,
    )
    subject = Subject(as_clip(frames), inputs)
    chosen = chosen_metrics(metrics)
    scores: dict[str, Score] = {}
    for metric in chosen:
        if should_stop and should_stop():
            raise Interrupted(f"Stopped after {len(scores)} of {len(chosen)} metrics.")
        scores[metric.name] = _measure(metric, subject)
        if on_progress:
            on_progress(len(scores), len(chosen))
    return Scorecard(scores)


def _measure(metric: Metric, subject: Subject) -> Score:
    from .missing import Missing, reason

    if metric.name in TOY_METRICS:
        return replace(empty(f"{NEEDS['truth']} is not given"), version=metric.version)
    module, _, function = _MEASURES.get(metric.name, metric.name).partition(":")
    measure = getattr(import_module(f"{__package__}.{module}"), function or "measure")
    try:
        score: Score = measure(subject)
    except Missing as missing:
        score = empty(str(missing))
    except (ModelFileError, MissingPackageError, VideoError) as error:
        score = empty(reason(error))
    return replace(score, version=metric.version)
