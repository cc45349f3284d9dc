"""What several folders of tests share: real clips of dancers, and BlazePose's nets, taken from installed packages."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core of its own. Said before any library asks how many threads it may have.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Text states and latents of an earlier run would hide what changed since. Tests of them set this for themselves.
os.environ["S2V_KEPT_GB"] = "0"

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from s2v_core.get_blazepose import install_blazepose
from s2v_core.pose.blazepose import extract_blazepose
from s2v_core.pose.track import PoseTrack
from s2v_core.video.clip import Clip

ROOT = Path(__file__).resolve().parents[1]
# A busy machine must not decide whether a test passes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Groups of tests that start many processes or a host.
LONGEST = ("host", "test_cli.py")
MEDIA_PACKAGE = "comfyui_workflow_templates_media_assets_01"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For ``--dist loadgroup``: what shares a file runs in one worker, and so does all that needs the running host.

    The longest groups begin first: at the end, when only one worker has work left, it should be little.
    """
    groups = {}
    for item in items:
        place = item.path.relative_to(ROOT / "tests")
        groups[item] = "host" if place.parts[0] == "host" else place.as_posix()
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


def real_clip_path(name: str) -> Path:
    """This animated WebP in the package of ComfyUI's template media; skips the test when it is not there."""
    spec = importlib.util.find_spec(MEDIA_PACKAGE)
    path = Path(spec.origin).parent / "templates" / f"{name}.webp" if spec and spec.origin else None
    if path is None or not path.is_file():
        pytest.skip(
            f"NO REAL CLIP: {name} is missing. Run: "
            "python -m pip install --no-deps comfyui-workflow-templates-media-assets-01==0.1.48"
        )
    return path


def load_webp(path: Path) -> Clip:
    """All frames of an animated WebP, at 15 frames a second (the rate of these clips)."""
    from PIL import Image, ImageSequence

    with Image.open(path) as picture:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    return Clip(np.stack(frames), Fraction(15))


@pytest.fixture(scope="session")
def dancer_clip() -> Clip:
    """A man dancing in front of a still camera: 45 frames of 350 x 175 (height x width), the left half of a clip."""
    clip = load_webp(real_clip_path("video_wan_animate2_distilled-1"))
    return clip.with_frames(np.ascontiguousarray(clip.frames[:, :, :175]))


@pytest.fixture(scope="session")
def field_clip() -> Clip:
    """A woman dancing in a field, small and turning: 45 frames of 350 x 350."""
    return load_webp(real_clip_path("video_minimax_h3_fun_controlnet_union-2"))


@pytest.fixture(scope="session")
def presenter_clip() -> Clip:
    """A woman talking to the camera, from the hips up, one hand over the other: 45 frames of 350 x 350."""
    return load_webp(real_clip_path("api_heygen_avatar_video-1"))


@pytest.fixture(scope="session")
def gown_clip() -> Clip:
    """A dancer in a long gown that hides the legs; close to the edge, arms in flight: 45 frames of 350 x 350."""
    return load_webp(real_clip_path("video_wan_dancer-1"))


@pytest.fixture(scope="session")
def mediapipe_wheel() -> Path:
    """A wheel of mediapipe 0.10.14, only unpacked, never installed; skips the test when there is none."""
    if chosen := os.environ.get("S2V_MEDIAPIPE_WHEEL"):
        if not Path(chosen).is_file():
            pytest.fail(f"S2V_MEDIAPIPE_WHEEL names {chosen}, which does not exist")
        return Path(chosen)
    wheels = sorted((ROOT / ".cache" / "wheels").glob("mediapipe-0.10.14-*.whl"))
    if not wheels:
        pytest.skip(
            "NO BLAZEPOSE NETS: run: python -m pip download mediapipe==0.10.14 --no-deps --only-binary=:all: "
            "--python-version 3.11 --platform manylinux2014_x86_64 -d .cache/wheels "
            "(or name a mediapipe wheel in S2V_MEDIAPIPE_WHEEL)"
        )
    return wheels[0]


@pytest.fixture(scope="session")
def blazepose_models(mediapipe_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with BlazePose's nets, named by S2V_MODELS until the tests end."""
    folder = tmp_path_factory.mktemp("models")
    install_blazepose(mediapipe_wheel, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2V_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def dancer_track(dancer_clip: Clip, blazepose_models: Path) -> PoseTrack:
    """The dancer's points, found once."""
    return extract_blazepose(dancer_clip)


@pytest.fixture(scope="session")
def field_track(field_clip: Clip, blazepose_models: Path) -> PoseTrack:
    """The points of the woman in the field, found once."""
    return extract_blazepose(field_clip)


@pytest.fixture(scope="session")
def gown_track(gown_clip: Clip, blazepose_models: Path) -> PoseTrack:
    """The points of the dancer in the gown, found once."""
    return extract_blazepose(gown_clip)
