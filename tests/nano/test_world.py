from __future__ import annotations

import csv
import dataclasses
import json
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2v_core.aist.names import GENRE_DANCERS, GENRES, ClipName
from s2v_core.errors import Interrupted, SettingsError
from s2v_core.nano import body, motion, palette, world
from s2v_core.nano.paint import LABELS, horizon
from s2v_core.nano.write import write_world
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track_file import load_track
from s2v_core.prompts.template import DANCES
from s2v_core.video.read import read_clip

SUBSETS = [held for size in range(4) for held in combinations(world.HELD_OUT, size)]


def dance(genre: str, choreography: int = 1, piece: int = 2) -> ClipName:
    return ClipName(genre, "sBM", "c01", (GENRE_DANCERS[genre][0],), f"m{genre[1:]}{piece}", f"ch{choreography:02d}")


def take(number: int, **more: object) -> world.Take:
    made = world.scene(number)
    return world.render(made.character, made.motion, seed=made.seed, **more)  # type: ignore[arg-type]


def test_a_clip_has_the_promised_shapes() -> None:
    made = take(0)
    assert made.clip.frames.shape == (17, 96, 96, 3)
    assert made.labels.shape == (17, 96, 96)
    assert made.track.points.shape == (17, 1, 134, 2)
    assert made.clip.fps == made.track.fps == 16


@pytest.mark.parametrize("size", [(96, 96), (64, 112), (160, 96)])
def test_masks_partition_the_picture(size: tuple[int, int]) -> None:
    made = take(5, size=size, frames=5)
    covered = sum(made.mask(part).astype(int) for part in LABELS)
    assert np.array_equal(covered, np.ones((5, size[1], size[0])))
    for part in LABELS:
        assert made.mask(part).any(), part
    middle = horizon(size)
    assert not made.mask("wall")[:, middle:].any()
    assert not made.mask("floor")[:, : middle - 1].any()


@pytest.mark.parametrize("number", range(12))
def test_the_colour_under_a_mask_is_the_named_one(number: int) -> None:
    character = world.scene(number).character
    made = take(number, frames=5)
    for part in LABELS:
        seen = made.clip.frames[made.mask(part)].astype(float)
        # The median: edges are mixed with what is beside them, and limbs have an outline and a shaded side.
        near = np.abs(np.median(seen, axis=0) - character.colours[part]).max()
        assert near < (60 if part == "shoes" else 30), (part, near)
        if part in ("shirt", "trousers", "wall"):
            red, green, blue = np.median(seen, axis=0)
            assert palette.nearest(part, (red, green, blue)) == getattr(character, part)


def test_the_exact_colour_is_under_each_large_mask() -> None:
    """Not only near it: inside a garment stand pixels of the very colour."""
    for number in range(6):
        character, made = world.scene(number).character, take(number, frames=3)
        for part in ("shirt", "trousers", "skin", "shoes"):
            exact = (made.clip.frames == np.array(character.colours[part], np.uint8)).all(axis=-1)
            assert (exact & made.mask(part)).sum() > 10, (number, part)


def test_masks_and_picture_tell_the_same_shape() -> None:
    """A pixel whose neighbours all have its label has no colour of another part in it."""
    character = dataclasses.replace(world.scene(3).character, shirt="red", wall="green", shade=0)
    made = world.render(character, dance("gJB"))
    shirt = made.mask("shirt")
    inner = shirt.copy()
    for axis, step in product((1, 2), (1, -1)):
        inner &= np.roll(shirt, step, axis)
    red, green, blue = made.clip.frames[inner].astype(int).T
    assert (red > green + 60).all() and (red > blue + 60).all()


@pytest.mark.parametrize("genre", GENRES)
def test_joints_lie_on_the_body(genre: str) -> None:
    for number in (1, 2):
        made = world.render(world.scene(number).character, dance(genre, number), seed=number)
        person = made.mask("skin", "hair", "shirt", "trousers", "shoes")
        points = np.floor(made.track.points[:, 0, body.KNOWN]).astype(int)
        assert points.min() >= 0 and points.max() < 96
        for frame, places in enumerate(points):
            assert person[frame, places[:, 1], places[:, 0]].all(), (genre, frame)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 100_000))
@example(2503)  # a dance wider than the picture
def test_everybody_stays_in_the_picture_and_on_the_floor(number: int) -> None:
    made = take(number, frames=9)
    person = made.mask("skin", "hair", "shirt", "trousers", "shoes")
    assert not person[:, 0].any() and not person[:, -1].any()
    assert not person[:, :, 0].any() and not person[:, :, -1].any()
    lowest = 96 - 1 - person.any(axis=2)[:, ::-1].argmax(axis=1)
    assert (np.abs(lowest - body.FLOOR * 96) < 5).all()


def test_joints_lie_on_their_own_part() -> None:
    made = world.render(world.scene(4).character, dance("gJB", 2), seed=3)
    places = np.floor(made.track.points[:, 0]).astype(int)
    parts = {"shirt": (1, 2, 5), "shoes": (18, 21), "skin": (0, 14, 15)}
    for part, points in parts.items():
        for point in points:
            on = made.mask(part)[np.arange(17), places[:, point, 1], places[:, point, 0]]
            assert on.mean() > 0.8, (part, point)


def test_equal_input_gives_equal_bytes() -> None:
    made = world.scene(7)
    one, other = (world.render(made.character, made.motion, seed=9) for _ in range(2))
    assert one.clip.sha256() == other.clip.sha256()
    assert np.array_equal(one.labels, other.labels) and np.array_equal(one.track.points, other.track.points)
    assert world.render(made.character, made.motion, seed=10).clip.sha256() != one.clip.sha256()
    assert world.scene(7) == made and world.scene_from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_longer_clip_begins_like_a_short_one() -> None:
    assert np.array_equal(take(2, frames=33).clip.frames[:17], take(2).clip.frames)


def test_a_larger_picture_shows_the_same_pose() -> None:
    small, large = take(2).track, take(2, size=(192, 192)).track
    assert np.allclose(large.points, small.points * 2, atol=1e-3)


def test_the_reference_is_the_same_person_in_another_pose() -> None:
    for number in range(8):
        made = world.scene(number)
        picture = world.reference(made.character, made.motion, seed=made.seed)
        frames = world.render(made.character, made.motion, seed=made.seed).clip.frames
        assert picture.shape == (96, 96, 3)
        assert np.array_equal(picture[:8, :8], frames[0, :8, :8])  # the wall
        assert (np.abs(frames.astype(int) - picture).mean(axis=(1, 2, 3)) > 2).all()


def test_the_control_video_shows_the_pose() -> None:
    drawn = draw_pose(take(1).track)
    assert drawn.frames.shape == (17, 96, 96, 3) and (drawn.frames.max(axis=(1, 2, 3)) > 60).all()


def test_the_caption_names_the_true_colours() -> None:
    for number in range(20):
        made = world.scene(number)
        text = world.caption(made.character, made.motion).text
        for part in ("skin", "shirt", "trousers", "shoes", "wall", "floor"):
            assert f"{getattr(made.character, part)} {part}" in text
        assert f"{made.character.hair_style} {made.character.hair} hair" in text
        assert DANCES[made.motion.genre] in text and f"{made.motion.tempo_bpm} beats" in text
        silent = world.caption(made.character, made.motion, without=tuple(palette.PARTS)).text
        assert not any(f" {part}" in silent for part in ("shirt", "trousers", "wall", "hair", "skin"))


def test_a_shade_keeps_the_name() -> None:
    for number in range(200):
        character = world.scene(number).character
        for part, colour in character.colours.items():
            assert palette.nearest(part, colour) == getattr(character, part)
            assert np.abs(np.subtract(colour, palette.rgb(part, getattr(character, part)))).max() <= 8
    plain = dataclasses.replace(character, shade=0)
    assert plain.colours == {part: palette.rgb(part, getattr(plain, part)) for part in palette.PARTS}


@pytest.mark.parametrize("held", SUBSETS, ids=lambda held: "+".join(held) or "training")
def test_a_scene_holds_out_exactly_what_was_asked(held: tuple[str, ...]) -> None:
    for number in range(250):
        made = world.scene(number, held=held)
        assert world.held_out(made.character, made.motion) == held


def test_training_never_meets_what_is_held_out() -> None:
    training = [world.scene(number) for number in range(1500)]
    new = [world.scene(number, held=world.HELD_OUT) for number in range(600)]
    looks = (
        lambda made: (made.character.skin, made.character.hair, made.character.hair_style),
        lambda made: (made.character.shirt, made.character.trousers),
        lambda made: (made.motion.genre, made.motion.dancers, made.motion.situation, made.motion.choreography),
    )
    for look in looks:
        seen, held = {look(made) for made in training}, {look(made) for made in new}
        assert seen and held and not seen & held
    # Each single colour is in training, although pairs of them are not.
    assert {made.character.shirt for made in training} == set(palette.names("shirt"))
    assert {made.character.trousers for made in training} == set(palette.names("trousers"))
    assert len({look for made in new for look in [looks[0](made)]}) == 10
    pairs = {pair for pair in product(palette.names("shirt"), palette.names("trousers")) if world._held_pair(*pair)}
    assert len(pairs) == 24


def test_motions_of_both_kinds_are_all_of_aist() -> None:
    known, new = world.motions(), world.motions(True)
    assert len(known) + len(new) == len(set(known) | set(new)) == 10 * 3 * 6 * (10 + 21)
    assert len(new) / (len(known) + len(new)) == pytest.approx(6 / 31)
    assert not [warning for name in known[::37] for warning in name.warnings]
    names = [world.scene(number).motion for number in range(2400)]
    assert len(set(names)) == 2400
    assert len({name.genre for name in names[:100]}) == 10


def test_the_biased_set_is_like_aist_and_of_training() -> None:
    for number in range(200):
        made = world.scene(number, fixed=world.AIST_LIKE)
        given = {part: getattr(made.character, part) for part in world.AIST_LIKE}
        assert given == {"wall": "white", "floor": "grey", "trousers": "black"}
        assert world.held_out(made.character, made.motion) == ()


def test_what_cannot_be_is_said() -> None:
    character, name = world.scene(0).character, dance("gBR")
    with pytest.raises(SettingsError, match="red, orange"):
        dataclasses.replace(character, shirt="ultraviolet")
    with pytest.raises(SettingsError, match="short, long, tied"):
        dataclasses.replace(character, hair_style="curly")
    with pytest.raises(SettingsError, match="multiples of 16"):
        world.render(character, name, size=(100, 96))
    with pytest.raises(SettingsError, match="not a motion"):
        world.render(character, ClipName.parse("sBT_c01_v0"))
    with pytest.raises(SettingsError, match="held out"):
        world.scene(0, held=("faces",))
    with pytest.raises(SettingsError, match="no such part"):
        world.scene(0, fixed={"hat": "red"})
    with pytest.raises(SettingsError, match="no such character"):
        world.scene(0, fixed={"shirt": "red", "trousers": "red"})  # a held-out pair
    with pytest.raises(SettingsError, match="no such mask"):
        world.part_mask(np.zeros((1, 2, 2), np.uint8), "hat")


@pytest.mark.parametrize("piece", range(6))
def test_a_dance_returns_after_three_beats(piece: int) -> None:
    name = dance("gHO", 3, piece)
    bpm = name.tempo_bpm
    assert bpm
    period = 3 * 60 / bpm  # seconds
    assert motion.cycles(name, period) == pytest.approx(1)
    times = np.linspace(0, 1, 50)
    here, later = (body.joints(motion.poses(name, times + turns)) for turns in (0, 1))
    assert np.allclose(here, later)
    assert 0.4 <= motion.cycles(name, 16 / 16) <= 0.85
    # It is the shortest such time: a third or half of it does not bring the pose back.
    for part in (1 / 3, 1 / 2, 2 / 3):
        assert np.abs(here - body.joints(motion.poses(name, times + part))).max() > 0.1


@pytest.mark.parametrize("genre", GENRES)
def test_limbs_keep_their_length_and_move_slowly(genre: str) -> None:
    for name in [name for name in world.motions() if name.genre == genre][::29]:
        points = body.joints(motion.poses(name, np.linspace(0, 1, 200)))
        for one, other, length in (
            (5, 6, body.UPPER_ARM),
            (3, 4, body.FOREARM),
            (8, 9, body.THIGH),
            (12, 13, body.SHIN),
        ):
            assert np.allclose(np.linalg.norm(points[:, one] - points[:, other], axis=1), length)
        step = motion.cycles(name, 1 / 16)
        frames = body.joints(motion.poses(name, np.arange(40) * step))[:, :18, :2]
        fastest = np.linalg.norm(np.diff(frames, axis=0), axis=-1).max()
        assert fastest < 0.16, (str(name), fastest)  # of the dancer's height a frame
        assert np.ptp(frames, axis=0).max() > 0.10


def test_genres_differ_more_than_choreographies_of_one() -> None:
    """Which genre a pose sequence belongs to is seen from the nearest genre's mean, for most unseen choreographies."""

    def signature(name: ClipName) -> np.ndarray:
        points = body.joints(motion.poses(name, np.arange(24) / 24))[:, :14, :2]
        # The mirrored dance is the same one.
        mirrored = body.joints(motion.mirror(motion.poses(name, np.arange(24) / 24)))[:, :14, :2]
        both = np.concatenate([points, mirrored])
        return np.concatenate([both.mean(axis=0).ravel(), both.std(axis=0).ravel()])

    names = [name for name in world.motions() if name.music.endswith("2")]
    means = {genre: np.mean([signature(name) for name in names if name.genre == genre], axis=0) for genre in GENRES}
    unseen = [name for name in world.motions(True) if name.music.endswith("2")]
    right = [
        min(means, key=lambda genre: np.linalg.norm(means[genre] - mine)) == name.genre
        for name in unseen
        for mine in [signature(name)]
    ]
    assert np.mean(right) > 0.95


def test_a_mirrored_pose_is_its_mirror_image() -> None:
    poses = motion.poses(dance("gMH"), np.arange(8) / 8)
    points, mirrored = body.joints(poses), body.joints(motion.mirror(poses))
    swapped = mirrored[:, [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]] * (-1, 1, 1)
    assert np.allclose(points[:, :18], swapped)


def test_written_clips_are_read_by_the_projects_own_readers(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    index = write_world(tmp_path, 2, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    rows = json.loads(index.read_text())["clips"]
    table = list(csv.DictReader((tmp_path / "metadata.csv").open()))
    for number, (row, line) in enumerate(zip(rows, table, strict=True)):
        made = world.scene_from_dict(row)
        assert made == world.scene(number)
        assert ClipName.parse(row["video"]) == made.motion
        expected = world.render(made.character, made.motion, seed=made.seed)
        clip = read_clip(tmp_path / row["video"], frames=17)
        assert np.array_equal(clip.frames, expected.clip.frames)
        assert np.array_equal(load_track(tmp_path / row["pose"]).points, expected.track.points)
        control = read_clip(tmp_path / row["vace_video"], frames=17)
        assert np.array_equal(control.frames, draw_pose(expected.track).frames)
        with np.load(tmp_path / row["labels"]) as labels:
            assert np.array_equal(labels["labels"], expected.labels)
        assert line["prompt"] == row["prompt"] == world.caption(made.character, made.motion).text
        assert (tmp_path / line["vace_reference_image"]).is_file()


def test_an_interrupted_writing_keeps_what_was_finished(tmp_path: Path) -> None:
    asked = iter((False, True))
    with pytest.raises(Interrupted):
        write_world(tmp_path, 3, frames=5, suffix=".mp4", should_stop=lambda: next(asked))
    (row,) = json.loads((tmp_path / "world.json").read_text())["clips"]
    assert len(read_clip(tmp_path / row["video"], frames=5)) == 5
    with pytest.raises(SettingsError, match="a name of its own"):
        write_world(tmp_path, 100_000)
