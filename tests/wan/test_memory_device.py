"""Rendering on a device with too little memory: the same pixels under every plan, and what happens when it runs out.

The device is made up (``made_up_device``), for there is no other here; the nets, the engine and the plans are real.
"""

import dataclasses
import gc
import logging

import numpy as np
import pytest
import torch

from s2v_core.errors import DeviceMemoryError, Interrupted
from s2v_core.wan import memory_plan, transformer
from s2v_core.wan.engine import Engine, load_engine
from s2v_core.wan.memory_plan import PLANS
from s2v_core.wan.render import Renderer
from s2v_core.wan.settings import LoraUse
from tests.wan.made_up_device import LARGE, NAME, Ahead, MadeUpDevice, engine_on


@pytest.fixture(scope="module")
def given(settings, tiny_lora):
    return dataclasses.replace(settings, precision="float32", loras=(LoraUse(tiny_lora, 0.5, from_step=1),))


@pytest.fixture(scope="module")
def wanted(tiny, prompt, given, control, reference):
    engine = load_engine(tiny, device="cpu", dtype="float32")
    return Renderer(engine, control, reference).render(prompt, given).frames


@pytest.fixture
def render(prompt, given, control, reference):
    def rendered(engine, **how):
        renderer = Renderer(engine, control, reference)
        how.setdefault("settings", given)
        return renderer.render(prompt, **how).frames, renderer.notes

    return rendered


def loaded(engine):
    return {net: placed.loaded for net, placed in engine.residence._placed.items() if placed.loaded}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("ahead", [False, True])
def test_pixels_do_not_depend_on_the_plan(tiny, render, wanted, plan, ahead):
    device, coming = MadeUpDevice(), Ahead()
    engine = engine_on(device, tiny, plan, coming if ahead else None)
    with device:
        assert np.array_equal(render(engine)[0], wanted)
    assert engine.memory_plan().name == plan
    there = loaded(engine)
    placed = engine.residence._placed
    if plan == "resident":
        assert there == {net: one.size for net, one in placed.items()}
    elif plan == "text_offload":
        assert set(there) == {"transformer", "vae"}
    else:
        assert set(there) == {"vae"}
    assert not engine.residence.falls
    if plan == "sequential" and ahead:
        # All but the first layer of each pass come while the one before them computes.
        assert coming.taken > 0.9 * coming.begun > 200
        assert len({id(home) for home in coming.prepared}) == len(coming.prepared)
    else:
        assert coming.begun == 0


@pytest.fixture
def small_numbers(monkeypatch, tiny, prompt):
    """Estimates for nets of these sizes: a layer is large from 4 kB on, and texts are encoded elsewhere."""
    monkeypatch.setattr(memory_plan, "LARGE", LARGE)
    monkeypatch.setattr(memory_plan, "TEXT", 0)
    elsewhere = load_engine(tiny, device="cpu", dtype="float32")
    states = {text: elsewhere.text_states(text) for text in (prompt.text, prompt.negative)}
    monkeypatch.setattr(Engine, "text_states", lambda self, text, *_: states[text])


def test_less_memory_is_taken_by_each_plan(tiny, render, given, monkeypatch):
    """Between the first step and the second: elsewhere this VAE and this text encoder take more than all weights."""
    small = dataclasses.replace(given, width=32, height=32, frames=5)
    peaks = []
    for plan in PLANS:
        device, told = MadeUpDevice(), []
        engine = engine_on(device, tiny, plan)

        def on_step(step, device=device, told=told):
            told.append(device.peak)
            device.peak = device.used

        with device:
            render(engine)  # whatever stays is there
            if plan == "streaming":
                monkeypatch.setattr(engine.residence, "_free", lambda: 500_000)
            render(engine, settings=small, on_step=on_step)
        assert not engine.residence.falls
        peaks.append(told[1])
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == len(peaks)
    assert peaks[-1] < 0.5 * peaks[0]


@pytest.mark.usefixtures("small_numbers")
def test_auto_sees_what_is_free(tiny, render, wanted, given):
    engine = engine_on(MadeUpDevice(), tiny)
    engine.expected = given
    needs = engine.memory_plan().needs
    for plan in ("resident", "text_offload", "offload"):
        device = MadeUpDevice(needs[plan] + 1000)
        engine = engine_on(device, tiny)
        with device:
            frames, notes = render(engine)
        assert engine.memory_plan().name == plan
        assert np.array_equal(frames, wanted)
        assert not any("ran out" in note for note in notes), "the estimate is too small"


@pytest.mark.usefixtures("small_numbers")
def test_a_larger_video_has_a_plan_of_its_own(tiny, given):
    device = MadeUpDevice()
    engine = engine_on(device, tiny)
    engine.expected = given
    device.limit = engine.memory_plan().needs["resident"] + 1000
    with device:
        engine.use("dit", "vace")
        assert (engine.memory_plan().name, engine.settled) == ("resident", True)
        engine.expected = dataclasses.replace(given, width=96, height=96)
        engine.use("dit", "vace")
        assert engine.memory_plan().name == "sequential"
        assert not engine.settled
        engine.expected = given
        engine.use("dit", "vace")
        assert engine.memory_plan().name == "resident", "what is loaded counts as free"


@pytest.fixture
def predictions(monkeypatch):
    """Predictions that were begun and finished."""
    counts = {"begun": 0, "finished": 0}
    predict = transformer.predict

    def counted(*args):
        counts["begun"] += 1
        made = predict(*args)
        counts["finished"] += 1
        return made

    monkeypatch.setattr(transformer, "predict", counted)
    return counts


def shrink(device, module, call, cut):
    """From the n-th call of a module on, the device has so many bytes less than are taken then."""
    calls = []

    def before(*_):
        calls.append(1)
        if len(calls) == call:
            device.limit = device.used - cut

    return module.register_forward_pre_hook(before)


@pytest.mark.parametrize(("cut", "plan"), [(0, "text_offload"), (1_000_000, "streaming")])
@pytest.mark.parametrize("ahead", [False, True])
def test_memory_that_runs_out_in_a_step_costs_that_prediction_alone(
    tiny, render, wanted, predictions, caplog, cut, plan, ahead
):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, "resident", Ahead() if ahead else None)
    with device:
        render(engine)  # all nets are there
    predictions.update(begun=0, finished=0)
    # The negative prompt of the second step, in the middle of the forward.
    hook = shrink(device, engine.parts["dit"].blocks[2].ffn[0], 4, cut)
    steps = []

    def on_step(step):
        steps.append(step.index)
        device.limit = float("inf")

    caplog.set_level(logging.WARNING, "s2v_core")
    with device:
        frames, notes = render(engine, on_step=on_step)
    hook.remove()
    assert np.array_equal(frames, wanted)
    assert steps == [0, 1, 2]
    assert device.refused
    falls = list(PLANS).index(plan)
    assert engine.memory_plan().name == plan
    said = [note for note in notes if "ran out in the transformer" in note]
    assert len(said) == falls == len([record for record in caplog.records if "ran out" in record.message])
    assert said[0].startswith(
        f"The memory of {NAME} ran out in the transformer: from the plan resident to text_offload"
    )
    assert predictions["finished"] == 3 * 2
    assert 0 < predictions["begun"] - predictions["finished"] <= falls
    with device:
        again, notes = render(engine)
    assert np.array_equal(again, wanted)
    assert engine.memory_plan().name == plan, "what ran out is not tried again"
    assert not any("ran out" in note for note in notes), "it is said once"


@pytest.mark.parametrize(("net", "count"), [("encoder", 7), ("decoder", 3), ("text_encoder", 2)])
def test_memory_that_runs_out_elsewhere_costs_one_latent_frame_or_one_text(tiny, render, wanted, net, count):
    """Nine frames are three latent ones; encoded are a grey and a pose video and a reference."""
    device, peaks, parts = MadeUpDevice(), [], []
    engine = engine_on(device, tiny, "resident")
    module = engine.parts[net] if net in engine.parts else getattr(engine.parts["vae"].model, net)

    def before(*_):
        device.peak = device.used

    hooks = [
        module.register_forward_pre_hook(before),
        module.register_forward_hook(lambda *_: peaks.append(device.peak)),
    ]
    with device:
        render(engine)
        peaks.clear()
        engine.grey.clear()
        engine._texts.clear()
        render(engine)
    engine.grey.clear()
    engine._texts.clear()

    def shorten(*_):
        parts.append("begun")
        device.limit = max(peaks) - 5000

    def finish(*_):
        parts.append("finished")
        device.limit = float("inf")

    hooks += [
        module.register_forward_pre_hook(shorten),
        module.register_forward_hook(finish),
    ]
    with device:
        frames, notes = render(engine)
    for hook in hooks:
        hook.remove()
    assert np.array_equal(frames, wanted)
    assert device.refused == len(engine.residence.falls) > 0
    assert f"ran out in the {'text encoder' if net == 'text_encoder' else 'vae'}:" in notes[-1]
    assert parts.count("finished") == count
    assert 0 < parts.count("begun") - count <= device.refused


@pytest.mark.parametrize(("net", "says"), [("dit", "window_frames"), ("vae", "Set tiling")])
def test_behind_the_last_plan_it_is_an_error_that_says_what_to_do(tiny, render, wanted, net, says):
    device = MadeUpDevice()
    engine = engine_on(device, tiny)
    module = engine.parts["dit"].blocks[1].ffn[0] if net == "dit" else engine.parts["vae"].model.decoder
    hook = shrink(device, module, 2, 10**9)
    said = None
    with device:
        try:
            render(engine)
        except DeviceMemoryError as error:
            said = error.to_dict()
    hook.remove()
    assert said is not None
    assert "is not enough for the" in said["problem"]
    assert says in said["remedy"]
    assert "CUDA out of memory" in said["got"]
    assert [fall.split(" to ")[1].split(" ")[0] for fall in engine.residence.falls] == list(PLANS)[1:]
    device.limit = float("inf")
    with device:
        engine.release()
        assert not loaded(engine)
        assert np.array_equal(render(engine)[0], wanted), "with memory again, it goes on"


def test_weights_that_find_no_room_come_by_turns(tiny, render, wanted, given):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, "offload")
    engine.expected = given
    nets = engine.memory_plan().nets
    device.limit = nets["transformer"].weights // 2
    with device:
        engine.use("dit", "vace")
    assert engine.memory_plan().name == "streaming"
    assert 0 < loaded(engine)["transformer"] < nets["transformer"].weights
    device.limit = float("inf")
    with device:
        assert np.array_equal(render(engine)[0], wanted)


def test_a_prefetch_without_room_is_given_up(tiny, render, wanted):
    class Full(Ahead):
        def start(self, homes):
            self.begun += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")

    device, coming = MadeUpDevice(), Full()
    engine = engine_on(device, tiny, "sequential", coming)
    with device:
        assert np.array_equal(render(engine)[0], wanted)
    assert coming.begun == 1
    assert not engine.residence.falls


def test_other_errors_are_not_taken_for_it(tiny, render):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, "resident")

    def fail(*_):
        raise RuntimeError("shapes do not fit")

    engine.parts["dit"].blocks[0].ffn[0].register_forward_pre_hook(fail)
    with device, pytest.raises(RuntimeError, match="shapes"):
        render(engine)
    assert not engine.residence.falls


def test_a_host_that_shares_out_the_device_gets_torch_s_own_error(tiny, render):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, "resident")
    engine.mover = lambda engine, names: None
    hook = shrink(device, engine.parts["dit"].blocks[0].ffn[0], 1, 1000)
    with device, pytest.raises(torch.OutOfMemoryError):
        render(engine)
    hook.remove()
    assert not engine.residence.falls


@pytest.mark.parametrize("plan", ["resident", "streaming", "sequential"])
@pytest.mark.parametrize("tiling", [False, True])
def test_nothing_stays_after_release(tiny, render, given, plan, tiling):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, plan, Ahead())
    shown = []
    with device:
        frames, _ = render(
            engine,
            settings=dataclasses.replace(given, tiling=tiling),
            on_step=lambda step: shown.append(step.preview()),
        )
        del shown[:]
        gc.collect()
        assert device.used > 0
        engine.release()
        gc.collect()
        # The 17 x 3 numbers of the preview's colours are in main memory, and all that is left.
        assert device.used == engine._colours.untyped_storage().nbytes()
    assert frames.any()


@pytest.mark.parametrize("where", ["encoding", "sampling", "decoding"])
def test_a_run_that_ends_on_the_way_frees_what_it_took(tiny, render, wanted, where):
    device = MadeUpDevice()
    engine = engine_on(device, tiny, "resident")
    with device:
        render(engine)
        gc.collect()
        before, calls = device.used, []
        engine.grey.clear()

        def should_stop():
            calls.append(1)
            return len(calls) > (2 if where == "sampling" else 4)

        def fail(*_):
            calls.append(1)
            if len(calls) == 2:
                raise ZeroDivisionError

        hook = None
        if where == "encoding":
            hook = engine.parts["vae"].model.encoder.middle[0].register_forward_pre_hook(fail)
        stopped = ZeroDivisionError if where == "encoding" else Interrupted
        with pytest.raises(stopped) as caught:
            render(engine, **({} if where == "encoding" else {"should_stop": should_stop}))
        assert where != "decoding" or "latent frames" in str(caught.value)
        del caught
        if hook:
            hook.remove()
        gc.collect()
        assert device.used <= before
        assert np.array_equal(render(engine)[0], wanted)
