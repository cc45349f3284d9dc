"""A batch in a process of its own, for a test to kill: manifest, output, notes.

It notes each picture that it begins to describe ("picture 7") and each prompt that it begins to rewrite ("row 7").
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2v_core.prompts.batch import Describer, load_manifest, run_batch
from s2v_core.recipe import read_reference


class Noting:
    """A captioner that reads the number in a picture's first pixel, and a writer that gives nothing."""

    identity = "noting"

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def describe(self, images: Sequence[np.ndarray], **_: Any) -> list[str]:
        numbers = [int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]) for image in images]
        self.note(f"picture {number}" for number in numbers)
        return [f"A man stands in room {number}." for number in numbers]

    def write(self, messages: list[dict[str, str]], **_: Any) -> str:
        if len(messages) == 2:
            self.note(f"row {number}" for number in re.findall(r"hall number (\d+)", messages[-1]["content"])[:1])
        return ""

    def note(self, lines: Any) -> None:
        with self.notes.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        time.sleep(0.001)


if __name__ == "__main__":
    manifest, out, notes = map(Path, sys.argv[1:])
    noting = Noting(notes)
    describer = Describer(noting, read_reference)
    report = run_batch(load_manifest(manifest), out, variants=("detailed",), writer=noting, describer=describer)
    print(report.made, report.kept)
