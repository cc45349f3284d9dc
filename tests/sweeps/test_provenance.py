"""What a stored cell says of where it comes from: LoRAs by content, latents on request, the round of a draft."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.files import sha256_file
from s2v_core.sweeps.axes import make_axis
from s2v_core.sweeps.halving import Round, run_drafts, run_halving
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.upkeep import prunable, stored_drafts
from s2v_core.wan.settings import LoraUse


def test_loras_are_told_by_content(sweep, renderer, store, lora_file):
    with_lora = replace(sweep.settings, loras=(LoraUse(str(lora_file)),))
    swept = replace(sweep, settings=with_lora, axes=(make_axis("lora_strength", [0, 1]),))
    base, full = run_sweep(swept, renderer, store).cells
    assert store.meta(full.id)["lora sha256"] == {str(lora_file): sha256_file(lora_file)}
    # At strength 0 it is the base model, and no LoRA has a part in it.
    assert "lora sha256" not in store.meta(base.id)


def latents_of(settings):
    return torch.full((1, 16, 2, 2, 4), float(settings.seed))


@pytest.fixture
def giving(pictures):
    """The pictures' renderer, which also hands out latents when it is asked."""

    @dataclass
    class Giving(pictures.PictureRenderer):
        gives_latents = True

        def render(self, prompt, settings, *, on_latents=None, **how):
            if on_latents:
                on_latents(latents_of(settings))
            return super().render(prompt, settings, **how)

    return Giving()


def test_latents_are_kept_on_request(sweep, giving, store):
    few = replace(sweep, axes=(make_axis("seed", [0, 1]),))
    run_sweep(few, giving, store)
    assert all(store.latents(id) is None for id in store.ids())
    more = replace(sweep, axes=(make_axis("seed", [0, 1, 2, 3]),))
    result = run_sweep(more, giving, store, keep_latents=True)
    assert len(result.computed) == 2
    for cell in result.cells:
        kept = store.latents(cell.id)
        if cell.id in result.reused:
            assert kept is None, "a finished cell is not computed again for its latents"
        else:
            assert torch.equal(kept, latents_of(cell.settings))


def test_a_renderer_without_latents_is_refused_at_once(sweep, renderer, store):
    with pytest.raises(SettingsError, match="latents"):
        run_sweep(sweep, renderer, store, keep_latents=True)
    assert renderer.rendered == [] and store.ids() == ()


def test_drafts_of_a_kept_sweep_are_kept(sweep, renderer, store):
    full = replace(sweep, settings=replace(sweep.settings, steps=20, width=64, height=64))
    other = replace(full, axes=(make_axis("guidance", [7, 8]), full.axes[1]))
    rounds = [Round(steps=0.1, size=0.5), Round(steps=0.5)]
    halved = run_halving(full, renderer, store, rounds, lambda cell, clip: cell.settings.guidance)
    mine = {cell.id for one in halved.rounds for cell in one.result.cells if store.has(cell.id)}
    strange, _ = run_drafts(other, renderer, store, rounds[0])
    assert store.meta(strange.cells[0].id)["draft"] == {"steps": 0.1, "size": 0.5}
    assert stored_drafts(full, store, str) == mine
    assert stored_drafts(other, store, str) == {cell.id for cell in strange.cells}
    gone = prunable(store, named_by=[full], lora_sha256=str)
    assert {removal.path.name for removal in gone} == {cell.id for cell in strange.cells}
    assert prunable(store, named_by=[full, other], lora_sha256=str) == ()


def test_older_drafts_say_that_nothing_is_known_of_them(sweep, renderer, store):
    named = replace(sweep, name="three by two (drafts, approximate)")
    run_sweep(named, renderer, store)
    other = replace(sweep, axes=(make_axis("guidance", [9]),))
    assert all("does not tell its round" in one.why for one in prunable(store, named_by=[other], lora_sha256=str))
