"""Run by test_kept in processes of its own: renders a clip of the tiny model and prints what was done for it as JSON.

``python kept_process.py MODEL KEPT [LARGEST]``: KEPT is the folder of what is kept. LARGEST: no file can grow beyond so
many bytes, as on a full disk.
"""

import json
import logging
import os
import sys
from fractions import Fraction

os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

import numpy as np

from s2v_core.prompts.prompt import Prompt
from s2v_core.video.clip import Clip
from s2v_core.wan import text_states, vace
from s2v_core.wan.engine import load_engine
from s2v_core.wan.kept import Kept
from s2v_core.wan.render import Renderer
from s2v_core.wan.settings import SampleSettings
from s2v_core.wan.tiny import tiny_files

PROMPT = Prompt("A man is dancing on a stage, full body.", "blurry, low quality, static")
SETTINGS = SampleSettings(steps=2, guidance=5.0, seed=7, width=64, height=48, frames=9)
CONTROL = Clip(np.arange(9 * 48 * 64 * 3, dtype=np.uint8).reshape(9, 48, 64, 3), Fraction(16))


def main(model, folder, largest=None):
    warnings, calls = [], []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("s2v_core.wan.kept").addHandler(handler)
    if largest:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    for place, name in ((text_states, "encode_text"), (vace, "encode")):
        made = getattr(place, name)
        setattr(place, name, lambda *a, _made=made, _name=name: calls.append(_name) or _made(*a))
    engine = load_engine(tiny_files(model), device="cpu", dtype="float32", kept=Kept(folder))
    clip = Renderer(engine, CONTROL, CONTROL.frames[0]).render(PROMPT, SETTINGS)
    found = {"sha256": clip.sha256(), "texts": calls.count("encode_text"), "pictures": calls.count("encode")}
    print(json.dumps({**found, "encoder": "text_encoder" in engine.stamps, "warnings": warnings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
