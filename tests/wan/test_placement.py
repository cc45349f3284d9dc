"""Weights between main memory and a device. The device here is main memory too, but each copy is a tensor of its own:
which tensors compute, and what was copied when, is then the same as on a card.
"""

import dataclasses

import pytest
import torch

from s2v_core.wan.engine import NETS, load_engine
from s2v_core.wan.fp8 import is_quantised
from s2v_core.wan.placement import Placement
from s2v_core.wan.render import Renderer
from s2v_core.wan.room import tokens, working_memory
from s2v_core.wan.settings import LoraUse, SampleSettings
from tests.wan import test_fp8
from tests.wan.lora_runs import nets, run

LARGE = 4000  # bytes: most of the tiny net's layers are larger


class Card:
    """Copies tensors as a device would, and counts them."""

    def __init__(self):
        self.copied = 0

    def copy(self, tensor):
        self.copied += tensor.nbytes
        return tensor.clone()

    def place(self, net):
        return Placement(net, "cpu", large=LARGE, copy=self.copy)


@pytest.fixture
def own_engine(tiny):
    return load_engine(tiny, device="cpu", dtype="float32")


def pointers(net):
    return {name: value.data_ptr() for name, value in net.named_parameters()}


def test_what_fits_comes_and_goes_home_untouched(own_engine):
    dit, card = own_engine.parts["dit"], Card()
    home = pointers(dit)
    placed = card.place(dit)
    assert placed.size == sum(value.nbytes for value in dit.parameters())
    assert (placed.bring(placed.size), placed.loaded, card.copied) == (placed.size, placed.size, placed.size)
    assert not home.items() & pointers(dit).items()
    assert placed.bring(float("inf")) == 0
    assert (placed.send_home(), placed.loaded) == (placed.size, 0)
    assert pointers(dit) == home


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_numbers_do_not_depend_on_the_room(own_engine, inputs, tiny_lora, share):
    both = nets(own_engine)
    uses = [(own_engine.lora(tiny_lora), LoraUse(tiny_lora, 0.7))]
    plain, changed = run(both, inputs), with_lora(both, inputs, uses)
    card = Card()
    placed = [card.place(net) for net in both]
    for one in placed:
        one.bring(share * one.size)
        assert one.loaded <= max(share * one.size, one._small.size)
    assert torch.equal(run(both, inputs), plain)
    assert torch.equal(with_lora(both, inputs, uses), changed)
    assert (sum(one.loaded for one in placed) < card.copied) == (share < 1), "layers without room come by turns"
    # More room later: what came by turns stays.
    assert sum(one.bring(float("inf")) for one in placed) >= 0
    before = card.copied
    assert torch.equal(run(both, inputs), plain)
    assert card.copied == before


def with_lora(both, inputs, uses):
    from s2v_core.wan.lora import applied

    with applied(both, uses):
        return run(both, inputs)


def test_it_leaves_in_part(own_engine, inputs):
    both = nets(own_engine)
    plain = run(both, inputs)
    card = Card()
    placed = card.place(both[0])
    placed.bring(placed.size)
    wanted = placed.size // 3
    with torch.inference_mode():  # the host's other nodes run in it
        freed = placed.send_home(wanted)
    assert wanted <= freed < placed.size
    assert placed.loaded == placed.size - freed
    assert torch.equal(run(both, inputs), plain)
    with torch.inference_mode():
        assert placed.bring(freed) == freed
    assert torch.equal(run(both, inputs), plain)
    assert not any(value.is_inference() for value in both[0].parameters())


def test_a_layer_that_fails_goes_home(own_engine, inputs):
    dit = own_engine.parts["dit"]
    home = pointers(dit)
    placed = Card().place(dit)
    placed.bring(0)
    small = {name for name, at in pointers(dit).items() if home[name] != at}
    with pytest.raises(RuntimeError, match="shapes"):
        dit.blocks[0].ffn[0](torch.zeros(1, 5))
    assert {name for name, at in pointers(dit).items() if home[name] != at} == small


def test_8_bit_weights_come_by_turns_too(tiny, tmp_path, inputs):
    files = dataclasses.replace(tiny, transformer=test_fp8.write(tiny, tmp_path / "fp8.safetensors"))
    engine = load_engine(files, device="cpu", dtype="float32")
    both = nets(engine)
    assert is_quantised(both[0].blocks[0].ffn[0])
    plain = run(both, inputs)
    card = Card()
    placed = [card.place(net) for net in both]
    for one in placed:
        one.bring(0)
    before = card.copied
    assert torch.equal(run(both, inputs), plain)
    assert card.copied > before


def test_nothing_of_a_placed_net_outlives_it(own_engine):
    import weakref

    placed = Card().place(own_engine.parts["dit"])
    placed.bring(0)
    gone = weakref.ref(own_engine.parts.pop("dit"))
    del placed
    assert gone() is None, "a circle of references keeps the net until somebody collects"


def test_a_released_engine_reads_its_files_again(own_engine, tiny_lora, prompt, settings, control, reference):
    renderer = Renderer(own_engine, control, reference)
    settings = dataclasses.replace(settings, loras=(LoraUse(tiny_lora, 0.5),))
    first = renderer.render(prompt, settings)
    kept = [own_engine.parts[name] for name in ("dit", "text_encoder")]
    told = []
    with torch.inference_mode():
        own_engine.release("dit", "vace")
        assert set(own_engine.parts) == {"text_encoder", "vae"}
        assert not own_engine._texts and not own_engine._loras
        own_engine.release()
        assert not own_engine.parts
        assert all(value.is_meta for net in kept for value in net.parameters())
        own_engine.read_again("vae", on_progress=lambda done, total, what: told.append((done, total, what)))
    assert set(own_engine.parts) == {"vae"}
    assert told[-1][0] == told[-1][1] > 0
    again = Renderer(own_engine, control, reference).render(prompt, settings)
    assert (again.frames == first.frames).all()
    assert set(own_engine.parts) == {part for parts in NETS.values() for part in parts}
    own_engine.release()
    assert own_engine.preview_colours().shape == (17, 3)


def test_texts_are_not_kept_for_ever(own_engine, monkeypatch):
    from s2v_core.wan import engine as module

    monkeypatch.setattr(module, "_TEXTS", 2)
    first = own_engine.text_states("a man")
    own_engine.text_states("a woman")
    assert own_engine.text_states("a man") is first
    own_engine.text_states("a stage")
    assert list(own_engine._texts) == ["a man", "a stage"]


def test_room_grows_with_what_is_computed(own_engine):
    def need(*names, **changes):
        kind = torch.bfloat16
        return working_memory(own_engine.parts, names, dataclasses.replace(SampleSettings(), **changes), kind)

    assert tokens(SampleSettings()) == 22 * 30 * 52
    assert tokens(SampleSettings(frames=161, window_frames=81)) == tokens(SampleSettings())
    assert need("dit", "vace") == 2 * need("dit", "vace", width=416) > 0
    assert need("vae") == 832 * 480 * 4 * 75 * 2
    assert need("vae", tiling=True) == 416 * 240 * 4 * 75 * 2
    assert need("vae", "text_encoder") == 256 << 20
    assert working_memory(own_engine.parts, ("vae",), None, torch.bfloat16) == need("vae")


def test_a_mover_takes_the_engine_s_place(own_engine):
    asked = []
    own_engine.mover = lambda engine, names: asked.append((engine is own_engine, names))
    assert own_engine.use("vae") == (own_engine.parts["vae"],)
    own_engine.use()
    assert asked == [(True, ("vae",)), (True, ())]
