"""Verdicts on tables whose answer is known, and what a claims file is refused for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.analysis.claimsfile import load_claims
from s2v_core.analysis.judge import judge
from s2v_core.analysis.statistics import Mean
from s2v_core.analysis.table import Row
from s2v_core.analysis.verdict import decide, markdown
from s2v_core.errors import SettingsError

CLAIMS = {claim.name: claim for claim in load_claims()}
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
WORDS = st.floats(-5, 5).map(lambda value: round(value, 3))


def rows(places, scores, seeds=(0, 1, 2), **fixed):
    """``scores(seed=..., **place)`` for every combination of ``places``: name -> values."""
    found = []
    for combination in itertools.product(*places.values()):
        at = dict(zip(places, combination, strict=True)) | fixed
        for seed in seeds:
            given = scores(seed=seed, **dict(zip(places, combination, strict=True)))
            known = {name: None if isinstance(value, str) else value for name, value in given.items()}
            reasons = {name: value for name, value in given.items() if isinstance(value, str)}
            found.append(Row(f"{sorted(at.items())} {seed}", at, seed, known, reasons))
    return found


def verdict(name, cells):
    (found,) = judge([CLAIMS[name]], cells)
    return found


def leaking(strength, seed):
    return {"toy_leakage": 0.06 + 0.2 * strength + 0.01 * (seed - 1) * strength + 0.03 * seed}


def strengths(leak, **fixed):
    """A LoRA's cells over its strength, with the base model at 0 as a store has it."""
    base = rows({"lora_strength": (0.0,)}, lambda lora_strength, seed: leak(0.0, seed), lora="none", **fixed)
    lora = rows({"lora_strength": STRENGTHS[1:]}, lambda lora_strength, seed: leak(lora_strength, seed),
                lora="dance", lora_scope="", **fixed)  # fmt: skip
    return base + lora


def test_a_rising_leakage_is_supported_with_its_numbers():
    found = verdict("LoRA strength and leakage", strengths(leaking))
    assert (found.word, found.seeds, found.series, found.cells) == ("supported", 3, 1, 12)
    (part,) = found.parts
    # The slope is 0.2, a little more or less with the seed; the range is 1.5. Seeds differ in level, not in effect.
    assert part.effect.value == pytest.approx(0.3)
    assert 0.2 < part.effect.low < 0.3 < part.effect.high < 0.4
    assert part.numbers["Spearman"] == 1.0
    assert part.numbers["chance of such a trend by shuffling"] < 0.01
    assert found.toy and "bootstrap" in found.method
    assert "supported" in markdown([found]) and "+0.3 [" in markdown([found])


def test_without_the_effect_it_is_not_supported():
    nothing = verdict("LoRA strength and leakage", strengths(lambda strength, seed: {"toy_leakage": 0.06 + 0.1 * seed}))
    assert nothing.word == "not supported" and nothing.parts[0].effect == Mean(0.0, 0.0, 0.0, 3)
    small = verdict("LoRA strength and leakage", strengths(lambda s, seed: {"toy_leakage": 0.02 * s}))
    assert small.word == "not supported" and 0 < small.parts[0].effect.high < small.parts[0].margin
    other = verdict("LoRA strength and leakage", strengths(lambda s, seed: {"toy_leakage": -0.2 * s}))
    assert other.word == "not supported"


def test_an_interval_that_holds_zero_is_undecided():
    noise = {0: 0.3, 1: -0.25, 2: 0.15}
    found = verdict("LoRA strength and leakage", strengths(lambda s, seed: {"toy_leakage": noise[seed] * s}))
    assert found.word == "undecided" and "holds 0" in found.reason
    alone = verdict("LoRA strength and leakage", [row for row in strengths(leaking) if row.seed == 0])
    assert alone.word == "undecided" and "one seed" in alone.reason and alone.parts[0].effect.low is None


def test_missing_scores_leave_a_claim_untested_and_never_count_as_zero():
    found = verdict(
        "LoRA strength and leakage", strengths(lambda s, seed: {"toy_leakage": "no toy", "leakage": "no set"})
    )
    assert found.word == "not tested" and "no toy" in found.reason
    assert verdict("LoRA strength and leakage", []).reason == "there are no cells"

    def with_gap(strength, seed):
        return {"toy_leakage": "gone"} if (strength, seed) == (1.0, 2) else leaking(strength, seed)

    gap = verdict("LoRA strength and leakage", strengths(with_gap))
    whole = verdict("LoRA strength and leakage", [row for row in strengths(leaking) if row.seed != 2])
    assert gap.seeds == 2 and gap.parts[0].effect == whole.parts[0].effect
    # The general metric stands in where the first has no scores.
    general = strengths(lambda s, seed: {"toy_leakage": "no toy", "leakage": 0.4 * s})
    assert verdict("LoRA strength and leakage", general).parts[0].metric.name == "leakage"


def test_only_cells_that_differ_in_nothing_else_are_compared():
    # Strength and guidance change together in half of the cells: those say nothing of strength alone.
    mixed = rows(
        {"lora_strength": STRENGTHS}, lambda lora_strength, seed: {"toy_leakage": 9 * lora_strength}, lora="dance"
    )
    apart = [Row(row.cell, {**row.at, "guidance": row.at["lora_strength"]}, row.seed, row.scores) for row in mixed]
    assert verdict("LoRA strength and leakage", apart).word == "not tested"
    # Two people are two series; a third with one strength alone is none.
    people = strengths(leaking, reference="a") + strengths(leaking, reference="b")
    people += strengths(leaking, reference="c")[:3]
    found = verdict("LoRA strength and leakage", people)
    assert (found.series, found.cells) == (2, 24)
    # Two LoRAs share the base model's cells.
    other = [Row(row.cell + "'", {**row.at, "lora": "second"}, row.seed, row.scores)
             for row in strengths(leaking) if row.at["lora"] != "none"]  # fmt: skip
    assert (both := verdict("LoRA strength and leakage", strengths(leaking) + other)).series == 2
    assert both.cells == 12 + 9


def test_sweeps_over_the_axis_count_and_not_what_others_have_of_it():
    wide = rows({"guidance": (1.0, 3.0, 5.0)}, lambda guidance, seed: {"toy_identity": 0.1 * guidance}, lora="none")
    narrow = rows({"guidance": (1.0, 3.0)}, lambda guidance, seed: {"toy_identity": -guidance}, lora="dance")
    found = verdict("guidance and likeness", wide + narrow)
    assert found.series == 1 and found.parts[0].effect.value == pytest.approx(0.4)


def test_better_is_read_from_the_metric():
    def near(guidance, seed):
        return {"identity_clothes": 20 - 3 * guidance}

    places = {"guidance": (1.0, 3.0, 5.0)}
    assert verdict("guidance and likeness", rows(places, near)).word == "supported"
    assert verdict(
        "guidance and likeness", rows(places, lambda guidance, seed: {"identity_clothes": guidance * 3})
    ).word == ("not supported")


def test_a_comparison_of_two_prompts():
    def scores(prompt, seed):
        return {"toy_identity": {"detailed": 0.5, "light": 9.0, "identity": 0.6}[prompt] + 0.2 * seed}

    cells = rows({"prompt": ("detailed", "light", "identity")}, scores, negative="x")
    found = verdict("prompts and likeness", cells)
    assert found.word == "supported" and found.parts[0].effect.value == pytest.approx(0.1)
    assert found.cells == 6 and "Spearman" not in found.parts[0].numbers


def test_steps_stop_paying_beyond_a_point():
    def error(steps, seed):
        return {"toy_error": 10 + 32 / steps + seed}

    found = verdict("steps and gain", rows({"steps": (2, 4, 8, 16, 32)}, error))
    assert found.word == "supported"
    gain, slowing = found.parts
    assert gain.effect.value == pytest.approx(12.0)  # 26 to 14 levels, from 2 to 8 steps
    assert slowing.effect.value == pytest.approx(12 / 6 - 3 / 24)
    assert verdict("steps and gain", rows({"steps": (2, 4, 8)}, lambda steps, seed: {"toy_error": -steps})).word == (
        "not supported"  # every step gains as much as the one before
    )
    worse = verdict("steps and gain", rows({"steps": (2, 4, 8)}, lambda steps, seed: {"toy_error": steps}))
    assert worse.word == "not supported" and worse.parts[0].verdict == "not supported"
    assert "below it and above" in verdict("steps and gain", rows({"steps": (2, 4)}, error)).reason


def square(pose_score, identity_score, seeds=(0, 1, 2)):
    """Two pose videos by two references; ``pose_score(pose, reference, against, seed)``."""
    found = []
    for pose, reference, seed in itertools.product("ab", "ab", seeds):
        against = {
            "toy_pose": {other: pose_score(pose, reference, other, seed) for other in "ab"},
            "toy_identity": {other: identity_score(pose, reference, other, seed) for other in "ab"},
        }
        at = {"pose": pose, "reference": reference, "prompt": f"the person {reference}"}
        found.append(Row(f"{pose}{reference}{seed}", at, seed, against=against))
    return found


def test_pose_follows_the_pose_video_and_identity_the_reference():
    def pose(pose, reference, against, seed):
        return (0.7 if pose == against else 0.3) + 0.02 * seed * (pose == against)

    def identity(pose, reference, against, seed):
        return 0.9 if reference == against else 0.8 + 0.01 * (pose == against)

    found = verdict("pose is not identity", square(pose, identity))
    assert (found.word, found.seeds, found.series, found.cells) == ("supported", 3, 1, 12)
    first, second = found.parts
    assert first.effect.value == pytest.approx(0.42) and first.numbers["follows the reference"] == pytest.approx(0.0)
    assert first.numbers["follows the pose video"] == pytest.approx(0.42)
    # 0.1 less what the pose video does to it.
    assert second.numbers == pytest.approx({"follows the reference": 0.095, "follows the pose video": 0.005})
    assert second.effect.value == pytest.approx(0.09)


@pytest.mark.parametrize("where", ["before", "behind"])
def test_cells_of_other_sweeps_in_the_swaps_places_change_nothing(where):
    def pose(pose, reference, against, seed):
        return 0.7 if pose == against else 0.3

    def identity(pose, reference, against, seed):
        return 0.9 if reference == against else 0.8

    mine = square(pose, identity)
    others = [Row(f"x{row.cell}", {**row.at, "prompt": "another"}, row.seed) for row in mine]
    found = verdict("pose is not identity", [*others, *mine] if where == "before" else [*mine, *others])
    assert (found.word, found.seeds, found.series, found.cells) == ("supported", 3, 1, 12)


def test_the_swap_is_not_supported_the_other_way_round():
    def follows_pose(pose, reference, against, seed):
        return 0.9 if pose == against else 0.5

    found = verdict("pose is not identity", square(follows_pose, follows_pose))
    assert [part.verdict for part in found.parts] == ["supported", "not supported"]
    assert found.word == "not supported"
    assert verdict("pose is not identity", square(follows_pose, follows_pose)[:9]).word == "not tested"


def rescue(identity, pose=lambda strength, guidance, seed: 0.7):
    cells = []
    for strength, guidance, seed in itertools.product((0.0, 2.0), (1.0, 3.0, 6.0), (0, 1, 2)):
        lora = {"lora": "dance", "lora_scope": ""} if strength else {"lora": "none"}
        scores = {"toy_identity": identity(strength, guidance, seed), "toy_pose": pose(strength, guidance, seed)}
        cells.append(
            Row(
                f"{strength} {guidance} {seed}", {"lora_strength": strength, "guidance": guidance, **lora}, seed, scores
            )
        )
    return cells


def test_guidance_rescues_what_the_lora_took():
    def identity(strength, guidance, seed):
        return 0.9 - strength * (0.1 - 0.01 * guidance) + 0.001 * seed * strength

    found = verdict("rescue by inference", rescue(identity))
    assert found.word == "supported" and len(found.parts) == 3
    harm, back, kept = found.parts
    assert harm.effect.value == pytest.approx(-2 * (0.1 - 0.1 / 3) + 0.002)
    assert back.effect.value == pytest.approx(0.1)
    assert back.numbers["share brought back"] == pytest.approx(0.1 / 0.131333, rel=1e-3)
    assert kept.verdict == "supported" and kept.margin == -0.05
    # It brings identity back, but the pose is gone.
    lost = verdict("rescue by inference", rescue(identity, lambda strength, guidance, seed: 0.9 - 0.1 * guidance))
    assert lost.word == "not supported" and lost.parts[2].verdict == "not supported"
    # Nothing was harmed, so nothing can be rescued.
    whole = verdict("rescue by inference", rescue(lambda strength, guidance, seed: 0.8 + 0.02 * guidance))
    assert whole.word == "not supported" and whole.parts[0].verdict == "not supported"


@given(WORDS, st.floats(0.001, 4), st.sampled_from([1, -1]), st.floats(0, 2))
def test_decisions_follow_the_interval(value, width, sign, margin):
    found = decide(Mean(value, value - width, value + width, 3), sign, margin)
    low, high = sorted((sign * (value - width), sign * (value + width)))
    assert (found == "supported") == (low > 1e-12 and not high < margin)
    if low < 0 < high and high >= margin and high > 1e-12:
        assert found == "undecided"
    assert decide(Mean(value, None, None, 1), sign, margin) == "undecided"
    mirrored = decide(Mean(-value, -value - width, -value + width, 3), -sign, margin)
    assert mirrored == found


@settings(max_examples=20)
@given(st.permutations(range(12)), st.floats(0.5, 3), st.floats(-2, 2))
def test_order_scale_and_level_of_the_scores_do_not_change_a_verdict(order, scale, level):
    cells = strengths(leaking)
    moved = [
        Row(row.cell, row.at, row.seed, {"toy_leakage": row.scores["toy_leakage"] * scale + level}) for row in cells
    ]
    one, other = (verdict("LoRA strength and leakage", some) for some in (cells, [moved[at] for at in order]))
    assert one.word == other.word
    assert other.parts[0].effect.value == pytest.approx(scale * one.parts[0].effect.value)


def test_true_effects_are_found_and_none_is_not_invented():
    random = np.random.default_rng(0)

    def share(slope):
        words = []
        for _ in range(60):
            tilt = dict(enumerate(random.normal(slope, 0.03, 3)))
            words.append(verdict("LoRA strength and leakage", strengths(
                lambda s, seed, tilt=tilt: {"toy_leakage": tilt[seed] * s + random.normal(0, 0.01)})).word)  # fmt: skip
        return {word: words.count(word) / 60 for word in ("supported", "not supported", "undecided")}

    assert share(0.3)["supported"] > 0.9
    # 95% intervals of no effect lie above 0 in 2.5% of cases.
    assert share(0.0)["supported"] <= 0.1


def write(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


GOOD = """\
claims:
  - name: mine
    says: More steps, less flicker.
    kind: trend
    axis: steps
    expect: better
    metrics: {flicker: 0.01}
    where: {lora_strength: 0, solver: euler}
"""


def test_a_file_of_ones_own_is_read(tmp_path):
    (claim,) = load_claims(write(tmp_path, GOOD))
    assert (claim.name, claim.axis, claim.metrics, claim.where) == (
        *("mine", "steps", {"flicker": 0.01}),
        {"lora_strength": 0, "solver": "euler"},
    )
    cells = rows(
        {"steps": (5, 10, 20)}, lambda steps, seed: {"flicker": steps / 100}, lora_strength=0.0, solver="euler"
    )
    assert judge([claim], cells)[0].word == "supported"
    other = rows({"steps": (5, 10)}, lambda steps, seed: {"flicker": 0.0}, lora_strength=1.0, solver="euler")
    assert judge([claim], other)[0].reason == "there is no cell with lora_strength 0, solver euler"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("axis: steps", "axes: steps"), ("line 5", "there is no key 'axes'", "Did you mean axis?")),
        (("axis: steps", "axis: step"), ("line 5", "did you mean steps?")),
        (("flicker: 0.01", "flikcer: 0.01"), ("line 7", "did you mean flicker?")),
        (("kind: trend", "kind: tend"), ("line 4", "Did you mean trend?")),
        (("    kind: trend\n", ""), ("the key 'kind' is missing",)),
        (("    says: More steps, less flicker.\n", ""), ("the key 'says' is missing",)),
        (("claims:", "claim:"), ("line 1", "Did you mean claims?")),
        (("expect: better", "expect: good"), ("line 6", "'better'")),
        (("0.01", "-1"), ("line 7", "greater than or equal to 0")),
        (("lora_strength: 0", "lora_strenght: 0"), ("line 8", "did you mean lora_strength?")),
        ((GOOD, "- a list\n"), ("holds no keys",)),
        ((GOOD, "claims: []\n"), ("at least 1",)),
        ((GOOD, GOOD + GOOD.removeprefix("claims:\n")), ("line 9", "'mine' is there twice")),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line_and_the_nearest_right_name(tmp_path, change, said):
    with pytest.raises(SettingsError) as error:
        load_claims(write(tmp_path, GOOD.replace(*change)))
    for text in ("mine.yaml", *said):
        assert text in str(error.value)


def test_the_projects_own_claims_are_the_articles():
    assert [claim.name for claim in load_claims()] == [
        "guidance and likeness",
        "guidance and motion",
        "steps and gain",
        "prompts and likeness",
        "LoRA strength and leakage",
        "pose is not identity",
        "rescue by inference",
    ]
