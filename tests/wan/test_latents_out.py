from __future__ import annotations

import numpy as np

from s2v_core.wan.decoding import decode
from s2v_core.wan.render import Renderer
from s2v_core.wan.vace import join


def test_the_latents_are_those_of_the_clip(engine, prompt, settings, control, reference):
    renderer = Renderer(engine, control, reference)
    assert renderer.gives_latents
    kept = []
    clip = renderer.render(prompt, settings, on_latents=kept.append)
    (latents,) = kept
    # 9 frames are 3 latent frames; those of the reference are not among them.
    assert latents.shape == (1, 16, 3, 6, 8)
    states = engine.text_states(prompt.text), engine.text_states(prompt.negative)
    conditioning = join(*states, renderer._encode(settings), settings)
    assert np.array_equal(decode(engine, latents, conditioning, settings).frames, clip.frames)
    assert np.array_equal(renderer.render(prompt, settings).frames, clip.frames)
