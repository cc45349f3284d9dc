"""comfyui_controlnet_aux itself takes what we write, and we take what it writes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from s2v_core.pose.draw import draw_pose
from s2v_core.pose.openpose import from_pose_keypoint, to_pose_keypoint
from s2v_core.pose.openpose_file import load_openpose
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND
from tests.pose.openpose_tracks import same, some_track


@pytest.fixture(scope="module")
def pack() -> Iterator[ModuleType]:
    """The pack's own ``dwpose`` module, out of a checkout that COMFY_AUX_ROOT names; its nets' code is left out."""
    root = os.environ.get("COMFY_AUX_ROOT")
    if not root:
        pytest.skip("NO COMFYUI_CONTROLNET_AUX: name a checkout of Fannovel16/comfyui_controlnet_aux in COMFY_AUX_ROOT")
    source = Path(root) / "src"
    if not (source / "custom_controlnet_aux" / "dwpose" / "__init__.py").is_file():
        pytest.fail(f"COMFY_AUX_ROOT names {root}, which holds no src/custom_controlnet_aux/dwpose")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KMP_DUPLICATE_LIB_OK", os.environ.get("KMP_DUPLICATE_LIB_OK", "TRUE"))  # it sets this itself
        patch.syspath_prepend(str(source))
        yield importlib.import_module("custom_controlnet_aux.dwpose")
        for name in [name for name in sys.modules if name.startswith("custom_controlnet_aux")]:
            del sys.modules[name]


def test_the_pack_decodes_draws_and_encodes_what_we_write(pack: ModuleType) -> None:
    track = some_track(3, 3)
    track.scores[1, 0, LEFT_HAND] = 0.1
    track.scores[2, 1, FACE] = 0
    for index, frame in enumerate(to_pose_keypoint(track)):
        poses, animals, height, width = pack.decode_json_as_poses(frame)
        assert (len(poses), animals, height, width) == (3, [], 240, 320)
        for who, pose in enumerate(poses):
            for part, points in (
                (BODY, pose.body.keypoints), (FACE, pose.face),
                (LEFT_HAND, pose.left_hand), (RIGHT_HAND, pose.right_hand),
            ):  # fmt: skip
                shown = track.scores[index, who, part] > 0.3
                assert [point is not None for point in (points or [None] * 200)[: len(shown)]] == shown.tolist()
                for point, place in zip(points or [], track.points[index, who, part], strict=False):
                    assert point is None or (point.x, point.y) == tuple(place.tolist())
        # Their own encoding of what they understood is what we wrote, but for the keys that they do not know.
        again = pack.encode_poses_as_dict(poses, height, width)
        ours = {**frame, "people": [{key: person[key] for key in again["people"][0]} for person in frame["people"]]}
        assert {key: ours[key] for key in again} == again
        assert same(track, from_pose_keypoint(to_pose_keypoint(track)))
        read = from_pose_keypoint([again], 16)
        shown = track.scores[index] > 0.3
        shown[:, FEET] = False
        assert np.array_equal(read.points[0][shown], track.points[index][shown])
        # They draw person by person, we layer by layer as DWPose does, and their faces have the eyes' joints too: what
        # is left must be the same.
        alone = replace(
            track, points=track.points[index : index + 1, :1], scores=track.scores[index : index + 1, :1], notes=("",)
        )
        own = draw_pose(alone, palette="openpose", hands=True, face=False, stick="fixed").frames[0]
        assert np.array_equal(own, pack.draw_poses(poses[:1], height, width, draw_face=False))


@pytest.fixture
def pack_nodes(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pack's nodes for keypoints. Of ComfyUI they need two functions, which are stood in for here."""
    host = ModuleType("folder_paths")
    host.get_output_directory = lambda: str(tmp_path)  # type: ignore[attr-defined]
    host.get_save_image_path = lambda prefix, folder, *_: (folder, prefix, 1, "", prefix)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", host)
    root = Path(os.environ["COMFY_AUX_ROOT"])
    for name, path in (("", ""), (".node_wrappers", "node_wrappers"), (".src", "src")):
        package = ModuleType(f"comfy_aux_for_tests{name}")
        package.__path__ = [str(root / path)]
        monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, "comfy_aux_for_tests.src.custom_controlnet_aux.dwpose", pack)
    return importlib.import_module("comfy_aux_for_tests.node_wrappers.pose_keypoint_postprocess")


def test_the_packs_nodes_take_what_we_write(pack_nodes: ModuleType, tmp_path: Path) -> None:
    track = some_track(2, 2)
    value = to_pose_keypoint(track)
    pack_nodes.SavePoseKpsAsJsonFile().save_pose_kps(value, "PoseKeypoint")
    assert same(track, load_openpose(tmp_path / "PoseKeypoint_00001.json"))
    (picture,) = pack_nodes.RenderPeopleKps().render(value, True, True, True)
    assert picture.shape == (1, 240, 320, 3)
    assert picture.max() == 1
    colors = {part: pack_nodes.LAPA_COLORS[part] for part in pack_nodes.FACIAL_PARTS}
    (faces,) = pack_nodes.FacialPartColoringFromPoseKps().colorize(value, "polygon", **colors)
    assert faces.shape == (2, 240, 320, 3)
    boxes = {f"{part}_width_height": "20, 20" for part in pack_nodes.UpperBodyTrackingFromPoseKps.PART_NAMES}
    tracked, _ = pack_nodes.UpperBodyTrackingFromPoseKps().convert(value, "", **boxes)
    assert set(tracked["Head"]) == {0, 1}
    assert same(track, from_pose_keypoint(value)), "that node sorts people in place; who is who does not depend on it"
