"""Frames are handed on as they come, with DiffSynth's bits, and the memory does not grow with the clip."""

import dataclasses

import numpy as np
import pytest
import torch

from s2v_core.errors import Interrupted
from s2v_core.wan.decoding import decode, decode_stream
from s2v_core.wan.vace import condition, encode
from tests.wan.made_up_device import MadeUpDevice


def latents_of(times):
    return torch.randn(1, 16, times, 6, 8, generator=torch.Generator().manual_seed(times))


@pytest.mark.parametrize("times", [1, 2, 5])
def test_the_parts_are_diffsynth_s_whole(engine, settings, times):
    (vae,) = engine.use("vae")
    latents = latents_of(times)
    parts = list(decode_stream(engine, latents, settings))
    assert [len(part) for part in parts] == [1, *[4] * (times - 1)]
    with torch.no_grad():
        whole = vae.decode(latents, device="cpu")[0]
    wanted = ((whole + 1) * (255 / 2)).clip(0, 255).to(torch.uint8).permute(1, 2, 3, 0).numpy()
    assert np.array_equal(np.concatenate(parts), wanted)
    assert all(part.flags.c_contiguous for part in parts)


@pytest.mark.parametrize("frames", [1, 5, 17])
def test_encoding_is_diffsynth_s(engine, frames):
    (vae,) = engine.use("vae")
    video = torch.rand(1, 3, frames, 48, 64, generator=torch.Generator().manual_seed(frames)) * 2 - 1
    with torch.no_grad():
        wanted = vae.encode(video, device="cpu")
    assert torch.equal(encode(engine, vae, video, False, True), wanted)


def test_tiles_come_at_once(engine, settings):
    (vae,) = engine.use("vae")
    tiled = dataclasses.replace(settings, tiling=True)
    (frames,) = decode_stream(engine, latents_of(3), tiled)
    assert frames.shape == (9, 48, 64, 3)
    assert all(one is None for one in vae.model._feat_map), "what the net remembers of a video is let go of"


def test_frames_come_before_the_last_is_computed(engine, settings):
    latents = latents_of(4)
    computed = []
    hook = engine.parts["vae"].model.decoder.register_forward_hook(lambda *_: computed.append(1))
    stream = decode_stream(engine, latents, settings)
    assert len(next(stream)) == 1
    assert len(computed) == 1
    # Whatever is done with the VAE in between does not touch the stream.
    list(decode_stream(engine, latents_of(2), settings))
    rest = np.concatenate(list(stream))
    hook.remove()
    assert np.array_equal(rest, np.concatenate(list(decode_stream(engine, latents, settings)))[1:])
    assert torch.is_grad_enabled()


def test_decoding_is_heard_and_stopped(engine, prompt, settings, control):
    conditioning = condition(engine, prompt, settings, control=control)
    latents, heard = latents_of(3), []
    clip = decode(engine, latents, conditioning, settings, on_frames=heard.append)
    assert [len(part) for part in heard] == [1, 4, 4]
    assert np.array_equal(np.concatenate(heard), clip.frames)
    heard.clear()
    with pytest.raises(Interrupted, match="after 2 of 3 latent frames"):
        decode(engine, latents, conditioning, settings, on_frames=heard.append, should_stop=lambda: len(heard) == 2)
    assert len(heard) == 2
    # Behind the last frame there is nothing to stop.
    assert len(decode(engine, latents, conditioning, settings, should_stop=lambda: len(heard) > 4)) == 9


def test_memory_does_not_grow_with_the_clip(engine, settings):
    (vae,) = engine.use("vae")

    def peak(work):
        device = MadeUpDevice()
        with device, torch.no_grad():
            work()
        return device.peak

    def stream(times):
        latents = latents_of(times)
        return peak(lambda: [None for _ in decode_stream(engine, latents, settings)])

    def whole(times):
        latents = latents_of(times)
        return peak(lambda: vae.decode(latents, device="cpu"))

    vae.model.clear_cache()
    grown = stream(6) - stream(3)
    pixels = 3 * 48 * 64 * 4  # bytes of a frame
    assert 0 <= grown < pixels
    assert whole(6) - whole(3) > 11 * pixels
    vae.model.clear_cache()
    device = MadeUpDevice()
    with device:
        list(decode_stream(engine, latents_of(3), settings))
        assert device.used == 0
        with torch.no_grad():
            vae.decode(latents_of(3), device="cpu")
        assert device.used > 10 * pixels, "which is why the net's own cache is not used"
    vae.model.clear_cache()
