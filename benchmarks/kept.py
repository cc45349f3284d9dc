"""What a second run saves by what the first one kept on disk: text states, and latents of the pictures.

    python benchmarks/kept.py [--json] [--rounds 5] [--steps 4]

Each round loads a model and renders one clip of 17 frames at 96 x 96 with a control video and a reference: with an
empty folder, with a full one, and with none. Nothing is shared between rounds but that folder. The seconds are the
processor's, from loading to the last frame, medians of the rounds. The clips must be equal. The mid model has random
weights (see ``engine.py``); a real text encoder has 20,000 times the weights of the nano one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine_models import MID, PROMPT, mid_model, pictures

from s2v_core.wan.embedded import nano_files
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.kept import Kept
from s2v_core.wan.render import Renderer


def run(files: ModelFiles, steps: int, kept: Kept | None) -> tuple[dict[str, float], str]:
    """Processor seconds of one run, and the sha256 of its clip."""
    control, reference = pictures(MID)
    begin = time.process_time()
    engine = load_engine(files, device="cpu", dtype="float32", kept=kept)
    loaded = time.process_time()
    clip = Renderer(engine, control, reference).render(PROMPT, replace(MID, steps=steps))
    end = time.process_time()
    return {"loading": loaded - begin, "rendering": end - loaded, "all": end - begin}, clip.sha256()


def compare(files: ModelFiles, name: str, rounds: int, steps: int, folder: Path) -> dict[str, Any]:
    """The medians of one model."""
    taken: dict[str, list[dict[str, float]]] = {"nothing kept": [], "first run": [], "second run": []}
    clips = set()
    run(files, steps, None)  # not counted: the first call gets everything ready
    for _ in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        for kind in taken:
            seconds, sha256 = run(files, steps, None if kind == "nothing kept" else Kept(folder))
            taken[kind].append(seconds)
            clips.add(sha256)
    if len(clips) > 1:
        sys.exit("The clips differ.")
    medians = {
        kind: {what: round(statistics.median(one[what] for one in rows), 3) for what in rows[0]}
        for kind, rows in taken.items()
    }
    size = sum(file.stat().st_size for file in folder.iterdir())
    saved = 1 - medians["second run"]["all"] / medians["nothing kept"]["all"]
    return {"model": name, "steps": steps, **medians, "saved": round(saved, 3), "bytes kept": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        models = {"nano": nano_files(), "mid": mid_model(Path(place) / "mid")}
        rows = [compare(files, name, given.rounds, given.steps, Path(place) / "kept") for name, files in models.items()]
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
