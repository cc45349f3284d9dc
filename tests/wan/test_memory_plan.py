"""The plans for little memory: what they need, which is taken, and what they say."""

import dataclasses

import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.wan import memory_plan
from s2v_core.wan.engine import NETS, engine_identity, load_engine, pick_dtype
from s2v_core.wan.fp8 import dequantise, is_quantised, quantise
from s2v_core.wan.memory_plan import CHOICES, PLANS, NetNeed, check_memory, net_needs, plan_memory
from s2v_core.wan.placement import Placement
from s2v_core.wan.settings import SampleSettings
from tests.wan import test_fp8

GB = 10**9
# Near those of the 1.3B in bfloat16.
REAL = {
    "transformer": NetNeed(4 * GB, GB // 10, GB // 20, 2 * GB),
    "vae": NetNeed(GB // 4, GB // 4, 0, 5 * GB),
    "text_encoder": NetNeed(11 * GB, GB // 100, 2 * GB, GB // 4),
}


@pytest.mark.parametrize(
    ("free", "plan"),
    [(21, "resident"), (20, "text_offload"), (9.3, "text_offload"), (9, "offload"), (6, "offload"), (5.9, "streaming"),
     (5.25, "streaming"), (5.2, "sequential")],
)  # fmt: skip
def test_auto_takes_the_quickest_that_fits(free, plan):
    found = plan_memory("auto", "cuda", REAL, int(free * GB))
    assert found.name == plan
    assert found.fits == (found.need <= free * GB) == (free != 5.2)


def test_needs_are_made_of_the_nets():
    needs = memory_plan.plan_needs(REAL)
    assert needs == {
        "resident": 15.25 * GB + 5 * GB,
        "text_offload": 4.25 * GB + 5 * GB,
        "offload": 6 * GB,
        "streaming": 5.25 * GB,
        "sequential": 5.25 * GB,
    }
    assert list(needs) == list(PLANS)


def test_the_order_is_that_of_need():
    needs = list(memory_plan.plan_needs(REAL).values())
    assert needs == sorted(needs, reverse=True)


def test_the_last_plan_is_taken_where_nothing_fits_and_says_so():
    found = plan_memory("auto", "cuda", REAL, GB)
    assert (found.name, found.fits) == ("sequential", False)
    assert "this may not be enough" in str(found)


def test_a_named_plan_is_taken_and_a_fall_is_never_undone():
    assert plan_memory("resident", "cuda", REAL, GB).name == "resident"
    assert plan_memory("resident", "cuda", REAL, GB, "offload").name == "offload"
    assert plan_memory("streaming", "cuda", REAL, 99 * GB, "offload").name == "streaming"
    assert plan_memory("auto", "cuda", REAL, 99 * GB, "streaming").name == "streaming"
    assert plan_memory("fp8", "cuda", REAL, 99 * GB).name == "resident"
    assert plan_memory("auto", "xpu", REAL, None).name == "offload"
    assert plan_memory("auto", "cpu", REAL, GB).name == "resident"


def test_8_bits_are_only_taken_when_asked_for(tiny):
    """Else a cell would have other pixels than its id says."""
    needs = net_needs(tiny, None, torch.float32)
    for free in (0, 1, 10**5, 10**7, 10**12):
        assert plan_memory("auto", "cuda", needs, free).name in PLANS
    kind = pick_dtype("auto", "cpu", tiny.transformer)
    plain = engine_identity(tiny, "cpu", kind)
    assert all(engine_identity(tiny, "cpu", kind, memory=name) == plain for name in CHOICES if name != "fp8")
    eight = engine_identity(tiny, "cpu", kind, memory="fp8")
    assert set(eight.items()) - set(plain.items()) == {("blocks stored as", "float8_e4m3fn, one scale a row")}


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", ["as it is", "fp8 file", "fp8 on request"])
def test_headers_say_what_the_loaded_nets_take(tiny, tmp_path, monkeypatch, kind, how):
    monkeypatch.setattr(memory_plan, "LARGE", 4000)
    files = tiny
    if how == "fp8 file":
        files = dataclasses.replace(tiny, transformer=test_fp8.write(tiny, tmp_path / "fp8.safetensors"))
    memory = "fp8" if how == "fp8 on request" else "auto"
    engine = load_engine(files, device="cpu", dtype=kind, memory=memory)
    engine.read_again()
    assert engine.identity() == engine_identity(files, "cpu", engine.dtype, memory=memory)
    needs = net_needs(files, None, engine.dtype, eight_bit=memory == "fp8")
    for net, parts in NETS.items():
        holder = torch.nn.ModuleDict({name: engine.parts[name] for name in parts})
        placed = Placement(holder, "cpu", large=4000)
        assert needs[net].weights == placed.size
        assert needs[net].largest <= placed.largest <= needs[net].largest + 4 * 512
        assert 0 < needs[net].least <= needs[net].whole
    assert engine.memory_plan().name == "resident"
    assert dict(engine.memory_plan().nets) == needs


def test_working_memory_is_in_it(tiny, engine):
    from s2v_core.wan.room import working_memory

    settings = SampleSettings(width=64, height=48, frames=9)
    needs = net_needs(tiny, settings, torch.float32)
    for net, parts in NETS.items():
        assert needs[net].working == working_memory(engine.parts, parts, settings, torch.float32)
    wide = net_needs(tiny, dataclasses.replace(settings, width=128), torch.float32)
    assert wide["vae"].working == 2 * needs["vae"].working
    # Each 8-bit matrix is turned into numbers while it is used, in float32 and then in the type of the others.
    eight = net_needs(tiny, settings, torch.float32, eight_bit=True)["transformer"]
    assert eight.working == needs["transformer"].working + 48 * 96 * 8


def test_it_is_said_in_words_and_numbers():
    found = plan_memory("auto", "cuda", REAL, 8 * GB)
    assert str(found) == (
        "offload (one net at a time is on the device): about 6.0 GB of 8.0 GB on cuda. "
        "Weights + work: transformer 4.0 GB + 2.0 GB, vae 250.0 MB + 5.0 GB, text encoder 11.0 GB + 250.0 MB"
    ).replace("250.0 MB", "0.2 GB")
    said = found.to_dict()
    assert (said["plan"], said["need"], said["free"], said["fits"]) == ("offload", 6 * GB, 8 * GB, True)
    assert said["weights"] == {"transformer": 4 * GB, "vae": GB // 4, "text_encoder": 11 * GB}
    assert "in 8 bits" in str(plan_memory("fp8", "cuda", REAL, 8 * GB))
    assert "an unknown amount" in str(plan_memory("auto", "xpu", REAL, None))


@pytest.mark.parametrize(
    ("asked", "device", "says"),
    [("little", "cuda", "no memory plan 'little'"), ("streaming", "cpu", "memory of its own"), ("fp8", "mps", "8-bit")],
)
def test_what_cannot_be_is_refused(asked, device, says):
    with pytest.raises(SettingsError, match=says):
        check_memory(asked, device)


def test_a_wrong_name_is_refused_before_anything_is_read(tiny):
    with pytest.raises(SettingsError, match="no memory plan"):
        load_engine(dataclasses.replace(tiny, vae="missing"), device="cpu", memory="tight")


def test_main_memory_is_known():
    assert 10**6 < memory_plan.free_memory("cpu") < 10**14


def test_8_bits_keep_what_they_can():
    weight = torch.randn(40, 70, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 3, 40)[:, None]
    weight[3] = 0
    kept, scale = quantise(weight)
    again = dequantise(kept, scale, torch.float32)
    assert kept.dtype == torch.float8_e4m3fn
    assert torch.equal(again[3], weight[3])
    # Three bits of mantissa: half a unit of the last one, or of the smallest number.
    assert ((again - weight).abs() <= torch.maximum(weight.abs() / 16, scale * 2**-10)).all()
    assert torch.allclose(again.abs().amax(1), weight.abs().amax(1))


def test_an_engine_in_8_bits_renders_near_the_plain_one(tiny, engine, prompt, settings, control, reference):
    from s2v_core.wan.render import Renderer

    settings = dataclasses.replace(settings, precision="float32")
    eight = load_engine(tiny, device="cpu", dtype="float32", memory="fp8")
    layers = [layer for name in ("dit", "vace") for layer in eight.parts[name].modules() if is_quantised(layer)]
    assert len(layers) == 4 * 10 + 2 * 10 + 3
    plain = Renderer(engine, control, reference).render(prompt, settings).frames.astype(int)
    other = Renderer(eight, control, reference).render(prompt, settings).frames.astype(int)
    assert 0 < abs(plain - other).mean() < 12
    eight.release()
    again = Renderer(eight, control, reference).render(prompt, settings).frames
    assert (again == other).all(), "what was released is read and stored in the same way"
