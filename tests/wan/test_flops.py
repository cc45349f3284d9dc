"""The FLOP model beside torch's own count on nets without memory (the meta device), and at the true sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffsynth.models.wan_video_dit import WanModel
from diffsynth.models.wan_video_text_encoder import WanTextEncoder
from diffsynth.models.wan_video_vace import VaceWanModel
from diffsynth.models.wan_video_vae import VideoVAE_
from torch.utils.flop_counter import FlopCounterMode

from s2v_core.wan import flops, transformer
from s2v_core.wan.flops import NetSizes, Parts
from s2v_core.wan.settings import SampleSettings
from tests.wan.net_sizes import REAL, SMALL


def count(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def transformers(sizes):
    with torch.device("meta"):
        dit, vace = WanModel(**sizes.dit), VaceWanModel(**sizes.vace)
    dit.freqs = tuple(part.to("meta") for part in dit.freqs)
    return dit, vace


def vae_of(sizes):
    with torch.device("meta"):
        vae = VideoVAE_(sizes.vae["encoder_dim"], 16, num_res_blocks=sizes.vae["encoder_blocks"])
    return vae, [torch.zeros(16, device="meta"), torch.ones(16, device="meta")]


def empty(*shape):
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize(
    ("sizes", "exact", "steered"),
    [(SMALL, True, True), (SMALL, False, True), (SMALL, True, False), (REAL, False, True)],
    ids=["small", "small in its fast form", "small without control", "real"],
)
def test_the_transformer(sizes, exact, steered):
    dit, vace = transformers(sizes)
    made = {}
    # A text whose states have no memory cannot be searched for padding.
    contexts = {"positive": empty(1, 33, sizes.dit["text_dim"]), "negative": empty(1, 33, sizes.dit["text_dim"])}
    control = empty(1, 96, 3, 8, 10) if steered else None
    tokens = 3 * 4 * 5

    def prepare():
        made["constants"] = transformer.prepare(dit, vace, contexts, control, (1, 16, 3, 8, 10), 1, exact=True)

    assert count(prepare) == flops.prepare(sizes, tokens, 2, text_tokens=33, steered=steered)
    constants = made["constants"]
    if not exact:
        constants = replace(constants, exact=False, freqs=constants.freqs.to(torch.complex64))
    predicted = count(lambda: transformer.predict(dit, vace, constants, "positive", empty(1, 16, 3, 8, 10), empty(1)))
    assert predicted == flops.forward(sizes, tokens, text_tokens=33, steered=steered)


@pytest.mark.parametrize(("sizes", "expected"), [(SMALL, None), (REAL, 4.8e12)], ids=["small", "real"])
def test_the_text_encoder(sizes, expected):
    with torch.device("meta"):
        net = WanTextEncoder(**sizes.text_encoder)
        ids = torch.zeros(1, 512, dtype=torch.long)
    assert count(lambda: net(ids, torch.ones_like(ids))) == flops.text(sizes)
    assert expected is None or flops.text(sizes) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("sizes", "frames", "height", "width"),
    [(SMALL, 1, 16, 32), (SMALL, 13, 16, 16), (REAL, 5, 48, 80)],
    ids=["small", "small and long", "real"],
)
def test_the_vae(sizes, frames, height, width):
    vae, scale = vae_of(sizes)
    latents = empty(1, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    assert count(lambda: vae.encode(empty(1, 3, frames, height, width), scale)) == flops.encode(
        sizes, frames, height, width
    )
    assert count(lambda: vae.decode(latents, scale)) == flops.decode(sizes, frames, height, width)


@pytest.mark.parametrize(("height", "width"), [(480, 832), (240, 416), (256, 448), (720, 1280), (96, 64)])
def test_the_tiles_are_diffsynth_s(height, width):
    """``WanVideoVAE.tiled_encode`` with a model that only says what it was given."""
    from diffsynth.models.wan_video_vae import WanVideoVAE

    seen = []

    class Ruler:
        def encode(self, video, scale):
            seen.append((video.shape[3] // 8, video.shape[4] // 8))
            return torch.zeros(1, 16, 1, *seen[-1])

    vae = WanVideoVAE.__new__(WanVideoVAE)
    torch.nn.Module.__init__(vae)
    vae.model, vae.scale, vae.z_dim, vae.upsampling_factor = Ruler(), None, 16, 8
    vae.encode(torch.zeros(1, 3, 1, height, width), "cpu", tiled=True, **flops.TILE)
    assert seen == flops.tiles(height, width)


def test_the_real_model_at_its_real_size():
    """480 x 832 x 81 with a reference: what torch counted for DiffSynth's own ``model_fn`` and VAE, in TFLOP."""
    settings = SampleSettings(steps=50, width=832, height=480, frames=81)
    tokens = 22 * 30 * 52
    one = flops.forward(REAL, tokens) + flops.prepare(REAL, tokens, 1)
    bare = flops.forward(REAL, tokens, steered=False)
    size = (81, 480, 832)
    assert tokens == 34320
    assert one / 1e12 == pytest.approx(462, rel=0.002)
    assert 1 - bare / one == pytest.approx(0.34, abs=0.01)
    assert flops.encode(REAL, *size) / 1e12 == pytest.approx(164, rel=0.005)
    assert flops.decode(REAL, *size) / 1e12 == pytest.approx(275, rel=0.005)
    assert len(flops.tiles(480, 832)) == 9
    # Attention grows with the square of a tile: a little less than the 2.25 times of the pixels.
    assert 2.1 < flops.decode(REAL, *size, tiling=True) / flops.decode(REAL, *size) < 2.25
    cost = flops.rendering(REAL, settings)
    assert cost.transformer / cost.total > 0.98
    assert cost.text == 2 * flops.text(REAL)
    assert cost.encode == 2 * flops.encode(REAL, *size) + flops.encode(REAL, 1, 480, 832)


def test_settings_decide_how_often():
    def work(references=1, control=True, **changes):
        settings = SampleSettings(**{"steps": 4, "guidance": 3.0, "width": 64, "height": 48, "frames": 9, **changes})
        return flops.rendering(SMALL, settings, references=references, control=control)

    tokens = 4 * 3 * 4
    both, alone = (flops.forward(SMALL, tokens, steered=steered) for steered in (True, False))
    start = flops.prepare(SMALL, tokens, 2)
    assert work().transformer == start + 8 * both
    assert work(guidance=1.0).transformer == flops.prepare(SMALL, tokens, 1) + 4 * both
    assert work(guidance=1.0).text == work().text / 2
    assert work(guidance_to=1).transformer == start + 5 * both
    assert work(zero_init_steps=1).transformer == start + 6 * both
    assert work(control_to=1, reference_to=1).transformer == start + 2 * both + 6 * alone
    assert work(control_strength=0.0).transformer == work().transformer  # the reference still steers
    assert work(references=0, control=False).encode == 0
    assert work(denoise=0.5).encode > work().encode
    # 3 latent frames in windows of 2 that share one: two windows, each with the reference.
    small, whole = (flops.forward(SMALL, count * 3 * 4) for count in (3, 4))
    assert work(window_frames=5, window_overlap=4).transformer == start + 8 * 2 * small
    assert small < whole


def test_the_files_say_their_sizes(tiny, engine):
    sizes = NetSizes.of(tiny)
    dit, vace = engine.parts["dit"], engine.parts["vace"]
    assert (sizes.dit["dim"], sizes.dit["num_layers"]) == (dit.dim, len(dit.blocks))
    assert tuple(sizes.vace["vace_layers"]) == tuple(vace.vace_layers)
    assert sizes.text_encoder["num_layers"] == len(engine.use("text_encoder")[0].blocks)


def test_rates_and_seconds_are_each_other_s_inverse():
    work, seconds = Parts(8, 0, 6, 10), Parts(2, 0, 3, 5)
    rates = work.over(seconds)
    assert rates == Parts(4, 0, 2, 2)
    assert work.over(rates) == seconds
    assert seconds.total == 10
