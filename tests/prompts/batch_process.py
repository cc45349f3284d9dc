"""A batch in a process of its own, for a test to kill, that notes each row it begins: manifest, output, notes."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

from s2v_core.prompts.batch import load_manifest, run_batch


class Noting:
    """A writer that gives nothing, so that the template stands in, and notes which clip it was asked for."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def write(self, messages: list[dict[str, str]], **_: Any) -> str:
        if len(messages) == 2:
            with self.notes.open("a", encoding="utf-8") as stream:
                stream.write(re.findall(r"hall number (\d+)", messages[-1]["content"])[0] + "\n")
        time.sleep(0.001)
        return ""


if __name__ == "__main__":
    manifest, out, notes = map(Path, sys.argv[1:])
    report = run_batch(load_manifest(manifest), out, variants=("detailed",), writer=Noting(notes))
    print(report.made, report.kept)
