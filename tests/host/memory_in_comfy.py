"""Run by test_memory in a process of its own: the pack's engine under ComfyUI's own memory management.

``python memory_in_comfy.py ROOT PACK FOLDER``: FOLDER holds the tiny model's files. Where there is no card one is made
up: ``Card`` says how much of it is free, and its copies of weights lie in main memory. Everything that decides what is
where is the host's own. Prints one JSON line: what each scenario found.
"""

import asyncio
import gc
import importlib.util
import json
import logging
import sys
import time
from pathlib import Path

root, pack, folder = sys.argv[1:4]
sys.path.insert(0, root)
sys.argv = ["main.py", "--cpu", "--base-directory", folder]

import comfy.options

comfy.options.enable_args_parsing()

import comfy.model_management as management
import comfy.model_patcher
import torch

spec = importlib.util.spec_from_file_location("pack", pack + "/__init__.py", submodule_search_locations=[pack])
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
asyncio.run(module.comfy_entrypoint())

from pack.nodes import host, memory, patcher
from pack.s2v_core.prompts.prompt import Prompt
from pack.s2v_core.wan.engine import load_engine
from pack.s2v_core.wan.placement import Placement
from pack.s2v_core.wan.render import Renderer
from pack.s2v_core.wan.settings import SampleSettings
from pack.s2v_core.wan.tiny import tiny_files

SETTINGS = SampleSettings(steps=1, guidance=3.0, width=32, height=32, frames=1)
PROMPT = Prompt("A man is dancing.", "blurry")
FILES = tiny_files(Path(folder) / "tiny")
MIB = 1 << 20
warnings: list[str] = []


class Catch(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())


logging.getLogger().addHandler(Catch(logging.WARNING))


class Card:
    """A made-up graphics card of so many bytes beside what the host keeps for computing."""

    device = torch.device("cuda", 0)

    def __init__(self, size):
        self.size, self.copied = size, 0
        self.reserve = management.minimum_inference_memory()

    def copy(self, tensor):
        self.copied += tensor.nbytes
        return tensor.clone()

    def free(self, dev=None, torch_free_too=False):
        used = sum(loaded.model.loaded_size() for loaded in management.current_loaded_models)
        found = self.size + self.reserve - used
        return (found, 0) if torch_free_too else found


def plug_in(card, state=management.VRAMState.NORMAL_VRAM, smart=True):
    """Let the host see this card, as after a start with other flags; without a card it is what ``--cpu`` makes it."""
    on = card is not None
    management.vram_state = state if on else management.VRAMState.DISABLED
    management.DISABLE_SMART_MEMORY = not smart
    management.get_torch_device = (lambda: card.device) if on else (lambda: torch.device("cpu"))
    management.get_free_memory = card.free if on else own_free_memory
    memory.device_of = (lambda engine: card.device) if on else own_device_of
    patcher.Placement = (lambda net, device: Placement(net, device, large=4000, copy=card.copy)) if on else Placement


own_free_memory, own_device_of = management.get_free_memory, memory.device_of


def engine_of_its_own():
    return memory.adopt(load_engine(FILES, device="cpu", dtype="float32"))


def render(engine):
    with torch.inference_mode(), host.rendering(engine):  # the host runs nodes in inference mode
        return Renderer(engine).render(PROMPT, SETTINGS).sha256()


def loaded(engine=None):
    """Bytes on the card by the name of the net."""
    ours = set(memory._KNOWN[engine].values()) if engine else None
    models = [model for model in management.loaded_models() if ours is None or model in ours]
    return {type(model.model).__name__: model.loaded_size() for model in models}


def sizes(engine):
    return {type(net.model).__name__: net.model_size() for net in memory._KNOWN[engine].values()}


def roomy():
    card = Card(8 * MIB)
    plug_in(card)
    engine = engine_of_its_own()
    found = {"before": loaded(), "first": render(engine), "after": loaded(), "sizes": sizes(engine)}
    copied = card.copied
    found |= {"second": render(engine), "copied again": card.copied - copied}
    # A captioner needs more than is free.
    total = sum(found["sizes"].values())
    with host.guest(card.free() - card.reserve + total // 4) as device:
        found |= {"after a guest": loaded(), "wanted": total // 4, "guest on": device}
    with torch.inference_mode():
        management.unload_all_models()
    found |= {"unloaded": loaded(), "on the card": sum(n.loaded_size() for n in memory._KNOWN[engine].values())}
    found["third"] = render(engine)
    with host.rendering(engine):
        engine.use()
        found["left"] = loaded()
        engine.use("vae")
    del engine
    found["gone"] = loaded()
    return found


def tight():
    """A card for one transformer: that of a second engine drives the first one's off."""
    one, two = engine_of_its_own(), engine_of_its_own()
    plug_in(Card(transformer_size(one) * 6 // 5))
    with host.rendering(one):
        one.use("dit", "vace")
        found = {"alone": loaded(one)}
    with host.rendering(two):
        two.use("dit", "vace")
        found |= {"ours": loaded(two), "driven off": loaded(one)}
    return {**found, "again": render(one)}


def transformer_size(engine):
    return sum(part.nbytes for name in ("dit", "vace") for part in engine.parts[name].parameters())


def small(state, share):
    """Room for a share of the transformer only."""
    engine = engine_of_its_own()
    card = Card(int(transformer_size(engine) * share))
    plug_in(card, state)
    with host.rendering(engine):
        engine.use("dit", "vace")
        found = {"loaded": loaded(engine), "sizes": sizes(engine)}
    before = card.copied
    found["sha256"] = render(engine)
    return {**found, "copied": card.copied - before}


def not_smart():
    card = Card(8 * MIB)
    plug_in(card, smart=False)
    engine = engine_of_its_own()
    return {"first": render(engine), "after": loaded()}


def on_the_cpu():
    """Beside one of the host's own models."""
    plug_in(None)
    engine = engine_of_its_own()
    found = {"adopted": loaded()}
    native = comfy.model_patcher.ModelPatcher(torch.nn.Linear(4, 4), torch.device("cpu"), torch.device("cpu"))
    management.load_models_gpu([native])
    found |= {"first": render(engine), "both": loaded(), "sizes": sizes(engine)}
    old = list(engine.parts.values())
    with torch.inference_mode():
        management.unload_all_models()
    found |= {"freed": loaded(), "parts": list(engine.parts)}
    found["kept"] = sum(part.nbytes for net in old for part in net.parameters() if not part.is_meta)
    with host.guest(1 << 60) as device:
        found["guest on"] = device
    # Without smart memory nothing would be gained by leaving the CPU.
    plug_in(None, smart=False)
    found |= {"second": render(engine), "again": loaded()}
    del engine
    found["gone"] = loaded()
    return found


def released():
    """The text encoder, let go of after the texts: on a card, and on the CPU."""
    found = {}
    for name, card in (("card", Card(8 * MIB)), ("cpu", None)):
        plug_in(card)
        management.current_loaded_models.clear()
        engine = engine_of_its_own()
        engine.text_encoder = "release"
        placed, sha256, known = [], [], []
        for _ in range(2):
            with torch.inference_mode(), host.rendering(engine):
                engine.mover = lambda one, names, placed=placed: (memory.move(one, names), placed.append(loaded(one)))
                sha256.append(Renderer(engine).render(PROMPT, SETTINGS).sha256())
            known.append(sorted(memory._KNOWN[engine]))
            engine._texts.clear()
        most = max(one.get("WanVaceTextEncoder", 0) for one in placed)
        found[name] = {"sha256": sha256, "known": known, "most": most, "after": loaded(), "parts": sorted(engine.parts)}
    return found


def model_axis():
    """A second model in one sweep: known to the host as the first is."""
    from pack.s2v_core.studio import Studio
    from pack.s2v_core.wan.engine import ModelFiles

    card = Card(8 * MIB)
    plug_in(card)
    engine = engine_of_its_own()
    studio = Studio("cpu", "float32", own=Renderer(engine))
    nano = Path(pack) / "s2v_core" / "nano" / "weights"
    other = tiny_files(nano)
    with torch.inference_mode(), host.rendering(engine):
        own = studio.engine(FILES) is engine
        engine.use("dit", "vace")
        before = sorted(loaded())
        second = studio.engine(ModelFiles(other.transformer, other.vae, other.text_encoder, other.tokenizer))
        alone = loaded(engine)
        second.use("vae")
        after = sorted(loaded(second))
    return {"own": own, "before": before, "own later": alone, "second": after}


scenarios = {
    "roomy": roomy,
    "tight": tight,
    "low": lambda: small(management.VRAMState.LOW_VRAM, 0.5),
    "no": lambda: small(management.VRAMState.NO_VRAM, 4),
    "not smart": not_smart,
    "cpu": on_the_cpu,
    "released": released,
    "model axis": model_axis,
}
found = {}
for name, scenario in scenarios.items():
    management.current_loaded_models.clear()
    warnings.clear()
    begin = time.process_time()
    found[name] = {**scenario(), "warnings": [line for line in warnings if "leak" in line.lower()]}
    gc.collect()
    print(name, time.process_time() - begin, file=sys.stderr)
print(json.dumps(found))
