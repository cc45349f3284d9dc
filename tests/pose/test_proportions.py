from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.options import option
from s2v_core.pose import proportions
from s2v_core.pose.proportions import limb_lengths, longer_side, spread
from s2v_core.pose.settings import RetargetSettings
from s2v_core.pose.skeleton import HEAD, LIMBS, NAMES, ORDER, PARENTS, complete, grow, limb_index
from s2v_core.pose.track import POINTS
from tests.pose.toy_dancer import ADULT, OTHER, Body, dance, seen, still

# As RetargetSettings has them, the one place for defaults.
compare_bodies = partial(
    proportions.compare_bodies,
    **{name: option(RetargetSettings, name).default for name in ("sides", "head", "hands", "quantile", "plausible")},
)
Person = tuple[np.ndarray, np.ndarray]


def person(body: Body = ADULT, scale: float = 3.0) -> Person:
    track = seen(still(body), scale=scale)
    return track.points[:, 0].astype(float), track.scores[:, 0].copy()


@pytest.fixture(scope="module")
def dancer() -> Person:
    track = seen(dance(ADULT)[0])
    return track.points[:, 0].astype(float), track.scores[:, 0]


def test_every_point_hangs_on_the_neck() -> None:
    assert sorted(ORDER) == list(range(POINTS))
    assert [point for point in range(POINTS) if PARENTS[point] < 0] == [1]
    for place, point in enumerate(ORDER[1:], 1):
        assert PARENTS[point] in ORDER[:place]
    assert len(LIMBS) == 17
    assert {(limb.start, limb.end) for limb in LIMBS} == {
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
        (0, 14), (14, 16), (0, 15), (15, 17),
    }, "the lines that DWPose draws"  # fmt: skip
    assert str(LIMBS[limb_index("upper arm", "right")]) == "right upper arm"


def test_holes_are_filled_on_a_line() -> None:
    points, scores = person()
    points, known = np.repeat(points, 6, axis=0), np.repeat(scores > 0, 6, axis=0)
    points[:, 4] += np.arange(6)[:, None] * 10
    truth = points.copy()
    points[[2, 3], 4], known[[2, 3], 4] = np.nan, False
    points[5:, 7], known[5:, 7] = np.nan, False
    points[:, [9, 14]], known[:, [9, 14]] = np.nan, False
    filled, ever = complete(points, known)
    assert filled[:, 4] == pytest.approx(truth[:, 4])
    assert filled[5, 7] == pytest.approx(truth[4, 7])
    assert ever.sum() == POINTS - 2
    assert np.array_equal(filled[:, 9], filled[:, 8]), "what was never known lies on its parent"
    assert np.array_equal(filled[:, 14], filled[:, 0])


def test_limbs_grow_and_keep_their_directions(dancer: Person) -> None:
    points, _ = dancer
    ratios = np.random.default_rng(0).uniform(0.5, 2, POINTS)
    grown = grow(points, ratios)
    assert not grown[:, 1].any()
    for point in ORDER[1:]:
        old, new = (body[:, point] - body[:, PARENTS[point]] for body in (points, grown))
        assert new == pytest.approx(ratios[point] * old)


def test_lengths_are_a_quantile_over_time() -> None:
    points, scores = person()
    points, scores = np.repeat(points, 11, axis=0), np.repeat(scores, 11, axis=0)
    points[:, 4] = points[:, 3] + np.stack([np.arange(11.0), np.zeros(11)], axis=-1)
    at = limb_index("forearm", "right")
    assert limb_lengths(points, scores, 0.9)[at] == pytest.approx(9)
    assert limb_lengths(points, scores, 0.5)[at] == pytest.approx(5)
    scores[3:, 4] = 0.3
    assert limb_lengths(points, scores, 1.0)[at] == pytest.approx(2), "a score of 0.3 is not enough"
    scores[2:, 4] = 0
    assert np.isnan(limb_lengths(points, scores)[at]), "two frames are not"
    longer = longer_side(limb_lengths(points, scores))
    assert (
        longer[at]
        == longer[limb_index("forearm", "left")]
        == pytest.approx(np.linalg.norm(points[0, 7] - points[0, 6]))
    )


def test_a_turning_head_keeps_its_size() -> None:
    face = np.array([[0, 0, 0], [-3.2, 3.5, -2.5], [3.2, 3.5, -2.5], [-7.5, 1.5, -11], [7.5, 1.5, -11]])
    points = np.zeros((37, POINTS, 2))
    for frame, angle in enumerate(np.radians(np.linspace(-90, 90, 37))):
        points[frame, list(HEAD), 0] = face[:, 0] * np.cos(angle) + face[:, 2] * np.sin(angle)
        points[frame, list(HEAD), 1] = -face[:, 1]
    scores = np.ones((37, POINTS))
    sizes = [spread(points[[i]], scores[[i]], HEAD) for i in range(37)]
    assert max(sizes) / min(sizes) < 1.2
    lines = np.array([limb_lengths(points[[i]], scores[[i]])[13:] for i in range(37)])
    assert (lines.max(axis=0) / lines.min(axis=0)).max() > 2, "unlike the lines that it is drawn with"
    assert spread(points, scores, HEAD) == pytest.approx(np.quantile(sizes, 0.9))


@pytest.mark.parametrize("scale", [0.5, 3.0, 10.0])
def test_the_same_body_at_another_size(scale: float) -> None:
    found = compare_bodies(person(OTHER), person(OTHER, scale))
    assert found.limbs == pytest.approx(np.full(17, scale / 3), rel=1e-5)
    assert found.points == pytest.approx(np.concatenate([[scale / 3], [1], np.full(132, scale / 3)]), rel=1e-5)
    assert found.typical == pytest.approx(scale / 3, rel=1e-5)
    assert found.notes == ()


def test_ratios_are_the_bones(dancer: Person) -> None:
    still_dancer, reference = person(ADULT), person(OTHER)
    found = compare_bodies(still_dancer, reference)
    for index, limb in enumerate(LIMBS[:13]):
        name = limb.name.replace(" ", "_")
        assert found.limbs[index] == pytest.approx(getattr(OTHER, name) / getattr(ADULT, name), rel=1e-5)
        assert found.points[limb.end] == found.limbs[index]
    assert found.points[[18, 23]] == pytest.approx(found.limbs[limb_index("shin", "left")])
    assert found.points[50] == pytest.approx(1.25, rel=1e-5)
    assert [entry.limb for entry in found.table] == [*(str(limb) for limb in LIMBS[:13]), "head"]


def test_only_a_head_has_a_typical_ratio(dancer: Person) -> None:
    points, scores = person(OTHER)
    scores[0, [*range(2, 14), *range(18, 134)]] = 0
    found = compare_bodies(dancer, (points, scores))
    neck, head = found.limbs[0], found.points[14]
    assert found.typical == pytest.approx((neck + head) / 2)
    assert found.limbs[3] == found.typical
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Shoulder (both), upper arm (both), forearm (both), torso (both)")


def test_what_the_clip_never_shows_at_length_is_not_believed(dancer: Person) -> None:
    points, scores = dancer
    side_view = points.copy()
    for arm in ([2, 3, 4, *range(113, 134)], [5, 6, 7, *range(92, 113)]):
        side_view[:, arm] -= 0.9 * (points[:, arm[:1]] - points[:, [1]])
    found = compare_bodies((side_view, scores), person(ADULT))
    assert any("Shoulder (both): much too short in the whole clip" in note for note in found.notes)
    assert found.limbs[1] == found.typical


def test_a_limb_of_no_length_is_a_limb_not_seen(dancer: Person) -> None:
    points, scores = person(OTHER)
    points[0, [4, 7]] = points[0, [3, 6]]
    found = compare_bodies(dancer, (points, scores))
    assert any(note.startswith("Forearm (both)") for note in found.notes)
    assert found.limbs[limb_index("forearm", "left")] == found.typical


def test_nothing_in_common(dancer: Person) -> None:
    points, scores = person(OTHER)
    scores[0, ::2] = 0
    scores[0, [1, 5, 13]] = 0
    with pytest.raises(SettingsError, match="no limb in common") as caught:
        compare_bodies(dancer, (points, scores))
    assert caught.value.remedy
    assert set(NAMES) >= {limb.name for limb in LIMBS}
