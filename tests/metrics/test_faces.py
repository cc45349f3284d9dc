"""Faces of real people: dlib's nets are taken from the packages that a user would install."""

from __future__ import annotations

import importlib.util
from typing import Any

import cv2
import numpy as np
import pytest

from s2v_core.metrics import faces, weights
from s2v_core.metrics.registry import default_metrics, score_clip
from s2v_core.metrics.scorecard import Score
from s2v_core.video.clip import Clip
from tests.metrics import changes

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def portrait() -> Array:
    """Eileen Collins; comes with scikit-image."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:300, 80:380])


@pytest.fixture
def nets() -> None:
    if importlib.util.find_spec("dlib") is None or importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("NO NETS FOR FACES: run: python -m pip install dlib-bin face-recognition-models")


def face(frames: Array, reference: Array, metric: str = "identity_face") -> Score:
    def nobody(clip: Clip) -> Any:
        from s2v_core.pose.track import POINTS, PoseTrack

        shape = (len(clip), 1, POINTS)
        empty = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
        return PoseTrack(*empty, (clip.height, clip.width), clip.fps, "nobody", ("",) * len(clip))

    return score_clip(frames, reference=reference, metrics=[metric], detector=nobody)[metric]


def test_one_person_is_near_and_another_far(nets: None, portrait: Array, presenter_clip: Clip) -> None:
    smaller = cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA)
    turned = changes.noised(np.stack([smaller, smaller[:, ::-1]]), 6)
    same, other = face(turned, portrait), face(presenter_clip.frames[:2], portrait)
    assert same.value < 0.35  # type: ignore[operator]
    assert other.value > faces.SAME_PERSON  # type: ignore[operator]
    assert same.how == "a face in 2 of 2 frames"


def test_a_face_that_fades_is_farther_and_then_gone(nets: None, portrait: Array) -> None:
    away = [face(changes.blurred(portrait[None], blur), portrait) for blur in (1, 2, 3)]
    values = [score.value for score in away]
    assert values == sorted(values), values  # type: ignore[type-var]
    gone = face(changes.blurred(portrait[None], 40), portrait)
    assert gone.value is None
    assert "No face was found in 1 frames of the clip" in gone.reason


def test_only_frames_with_a_face_count(nets: None, portrait: Array) -> None:
    frames = np.stack([portrait, np.zeros_like(portrait), portrait])
    assert face(frames, portrait).how == "a face in 2 of 3 frames"
    assert face(frames, portrait).value == pytest.approx(0, abs=1e-6)
    assert face(frames, portrait, "face_found").value == pytest.approx(2 / 3)


def test_a_reference_without_a_face_is_a_reason(nets: None, portrait: Array) -> None:
    assert face(portrait[None], np.zeros_like(portrait)).reason == "No face was found in the reference."


def test_without_nets_it_is_said_how_to_get_them(portrait: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_FACE_PACKAGE", "there_is_no_such_package")
    score = face(portrait[None], portrait)
    assert score.value is None
    assert "pip install" in score.reason
    assert "face_found" not in default_metrics()
    assert "identity_face" in default_metrics()
