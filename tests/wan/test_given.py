"""Text states and starting noise that come from elsewhere."""

import dataclasses

import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.wan.decoding import decode
from s2v_core.wan.render import Renderer


@pytest.fixture(scope="module")
def quick(settings):
    return dataclasses.replace(settings, steps=1, frames=5, width=32, height=32)


def test_the_same_states_and_noise_give_the_same_clip(engine, prompt, quick, reference):
    renderer = Renderer(engine, None, reference)
    wanted = renderer.render(prompt, quick)
    states = (engine.text_states(prompt.text).clone(), engine.text_states(prompt.negative).clone())
    asked = []

    def noise(shape):
        asked.append(shape)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(quick.seed))
        return torch.cat([drawn[:, :, -1:], drawn[:, :, :-1]], dim=2)  # the last frame is the reference's

    empty = dataclasses.replace(prompt, text="", negative="")
    other_seed = dataclasses.replace(quick, seed=quick.seed + 1)
    latents, conditioning = renderer.sample(empty, other_seed, states=states, noise=noise)
    assert asked == [(1, 16, 3, 4, 4)]
    assert latents.shape == (1, 16, 2, 4, 4)
    assert (decode(engine, latents, conditioning, quick).frames == wanted.frames).all()
    plain, _ = renderer.sample(empty, other_seed)
    assert not torch.equal(plain, latents)


def test_noise_of_another_shape_is_refused(engine, prompt, quick):
    with pytest.raises(SettingsError, match="another shape") as error:
        Renderer(engine).sample(prompt, quick, noise=lambda shape: torch.zeros(1, 16, 2, 4, 5))
    assert "[1, 16, 2, 4, 4]" in str(error.value)
