from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.draft_scores import find_score
from s2v_core.sweeps.halving import Round, draft_settings, run_drafts, run_halving
from s2v_core.wan.settings import LoraUse, SampleSettings

FULL = SampleSettings(steps=20, width=64, height=48, frames=5)


@pytest.fixture
def eight(tiny):
    axes = (make_axis("guidance", [2, 3, 4, 5]), make_axis("seed", [0, 1]))
    return Sweep(Prompt("a dancer"), replace(tiny, steps=20, width=64, height=64), axes, name="eight")


def test_a_draft_has_fewer_steps_and_what_is_counted_in_steps_moves_along():
    settings = replace(
        FULL,
        loras=(LoraUse("a", 0.5, from_step=10, to_step=15, ramp_in=5), LoraUse("b", from_step=19)),
        control_to=10,
        guidance_schedule="6x10, 3x6, 1",
        zero_init_steps=2,
    )
    draft = draft_settings(settings, Round(steps=0.5, size=0.5))
    assert (draft.steps, draft.width, draft.height, draft.frames, draft.seed) == (10, 32, 32, 5, 0)
    assert draft.loras[0] == LoraUse("a", 0.5, from_step=5, to_step=8, ramp_in=3)
    assert (draft.loras[1].from_step, draft.loras[1].to_step) == (10, 200)
    assert (draft.control_from, draft.control_to, draft.reference_to) == (0, 5, 200)
    assert draft.guidance_schedule == "6x5, 3x3, 1"
    assert draft.zero_init_steps == 1
    assert draft_settings(FULL, Round(steps=0.001)).steps == 1
    assert draft_settings(FULL, Round(steps=1.0)) == FULL


@given(
    st.integers(1, 200),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
    st.integers(0, 198),
    st.integers(1, 200),
    st.booleans(),
)
def test_every_draft_can_be_rendered(steps, share, size, first, length, listed):
    settings = replace(
        FULL,
        steps=steps,
        loras=(LoraUse("a", from_step=first, to_step=min(200, first + length)),),
        guidance_from=first,
        guidance_to=min(200, first + length),
        zero_init_steps=min(2, steps - 1),
        guidance_schedule="5, 4" if listed and steps > 1 else "",
    )
    draft = draft_settings(settings, Round(share, size))
    assert 1 <= draft.steps <= steps
    assert draft.width <= 64
    assert draft.guidance_from <= draft.guidance_to


def test_the_best_go_on_and_only_they_are_rendered_in_full(eight, renderer, store):
    result = run_halving(eight, renderer, store, [Round(0.1, keep=0.5), Round(0.5, keep=2)], score_guidance)
    assert [settings.steps for _, settings in renderer.rendered] == [2] * 8 + [10] * 4 + [20] * 2
    assert [len(one.kept) for one in result.rounds] == [4, 2]
    chosen = [cell for cell in result.final.cells if cell.id in result.final.computed]
    assert [(cell.settings.guidance, cell.settings.seed) for cell in chosen] == [(5, 0), (5, 1)]
    assert [(cell.settings.steps, cell.settings.width) for cell in chosen] == [(20, 64)] * 2
    assert list(result.rounds[0].scores.values()) == [5, 5, 4, 4, 3, 3, 2, 2]
    assert len(result.final.cells) == 8
    assert result.rounds[0].result.sweep.name == "eight (drafts, approximate)"
    # The same seed's noise gives one first prediction for every guidance, so sharing counts in both sums.
    shared = 2 * 2 * (4 - 1)
    assert result.forwards_full == 8 * 40 - shared
    assert result.forwards_spent == (8 * 4 - shared) + (4 * 20 - 4) + 2 * 40
    assert result.saved == 1 - result.forwards_spent / result.forwards_full > 0.3
    assert "Approximate: 2 of 8 cells" in result.note()
    # Everything is in the store: nothing is rendered a second time, drafts are not either.
    again = run_halving(eight, renderer, store, [Round(0.1, keep=0.5), Round(0.5, keep=2)], score_guidance)
    assert len(renderer.rendered) == 14
    assert again.rounds[1].kept == result.rounds[1].kept


def score_guidance(cell, clip):
    return cell.settings.guidance


def test_cells_are_picked_by_hand(eight, renderer, store):
    drafts, _ = run_drafts(eight, renderer, store, Round(0.1, size=0.5))
    assert len(drafts.cells) == len(drafts.computed) == 8
    assert drafts.clip(drafts.cells[0]).width == 32
    result = run_halving(eight, renderer, store, [Round(0.1, size=0.5)], [6, 1, 6])
    assert result.rounds[0].kept == (result.final.cells[6].id, result.final.cells[1].id)
    assert len(renderer.rendered) == 10
    for wrong in ([], [8], [-1]):
        with pytest.raises(SettingsError, match="cannot be picked"):
            run_halving(eight, renderer, store, [Round(0.1, size=0.5)], wrong)


def test_failed_drafts_are_left_out_and_bad_scores_are_refused(eight, renderer, store):
    def fails(prompt, settings):
        if settings.guidance == 5:
            raise ValueError("too strong")

    renderer.fails = fails
    result = run_halving(eight, renderer, store, [Round(0.1, keep=1)], score_guidance)
    assert [cell.settings.guidance for cell in result.final.cells if cell.id in result.rounds[0].kept] == [4]
    assert len(result.rounds[0].result.failed) == 2
    with pytest.raises(SettingsError, match="no number"):
        run_halving(eight, renderer, store, [Round(0.1)], lambda cell, clip: float("nan"))
    with pytest.raises(SettingsError, match="no round"):
        run_halving(eight, renderer, store, [], score_guidance)
    for wrong in ({"steps": 0}, {"size": 1.5}, {"keep": 0}):
        with pytest.raises(SettingsError, match="makes no sense"):
            Round(**wrong)
    with pytest.raises(Interrupted):
        run_halving(eight, renderer, store, [Round(0.3)], score_guidance, should_stop=lambda: True)


def test_scores_rank_what_they_name(pictures, eight):
    from s2v_core.video.clip import Clip

    clip = pictures.picture(eight.prompt, eight.settings)
    still = Clip(clip.frames[:1].repeat(5, axis=0), clip.fps)
    flat = Clip(clip.frames * 0 + 90, clip.fps)
    sharpness, motion, calm = map(find_score, ("sharpness", "motion", "calm"))
    assert sharpness(None, clip) > sharpness(None, flat) == 0
    assert motion(None, clip) > motion(None, still) == 0
    assert calm(None, still) == 1 > calm(None, clip)
    assert find_score("s2v_core.sweeps.draft_scores:motion") is motion
    for wrong in ("beauty", "nowhere:x", "s2v_core.sweeps.draft_scores:nothing"):
        with pytest.raises(SettingsError, match="score"):
            find_score(wrong)
