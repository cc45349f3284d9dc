"""How long a newcomer's way takes: clone, install, start, open Quick Look, press Run; every step for real."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .browser import opened
from .hosts import PACK, running
from .schemas import ROOT

NAME = "quick_look"


@dataclass
class Clock:
    """Seconds of each step, in the order of the steps; and how much of them the machine computed for us."""

    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        began = time.monotonic()
        yield
        self.steps[name] = time.monotonic() - began

    @property
    def total(self) -> float:
        """All steps together."""
        return sum(self.steps.values())


def walk(root: Path, folder: Path, packages: Path | None = None) -> tuple[Clock, float]:
    """Go the whole way in a new ``folder`` with the ComfyUI of ``root``; the steps, and the CPU seconds of all of them.

    Before the clock starts, an environment with ComfyUI's own packages is made, as a user has it. ``packages``: a
    folder with wheels, so that no download is measured; without it pip takes what it has kept.
    """
    environment = folder / "environment"
    python = str(environment / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    source = ["--no-index", "--find-links", str(packages)] if packages else []
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *source]
    own = ["torch", "torchvision", "-c", str(ROOT / "constraints.txt"), "-r", str(root / "requirements.txt")]
    subprocess.run([*pip, *own], check=True)

    base = folder / "ComfyUI"
    (base / "custom_nodes").mkdir(parents=True)
    for name in ("input", "output", "temp", "user", "models"):
        (base / name).mkdir()
    clock = Clock()
    before = _computed()
    with clock.step("clone"):
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(base / "custom_nodes" / PACK)], check=True)
    with clock.step("install"):
        subprocess.run([*pip, "-r", str(base / "custom_nodes" / PACK / "requirements.txt")], check=True)
    start = time.monotonic()
    with running(root, base, python=python) as host:
        clock.steps["start"] = time.monotonic() - start
        start = time.monotonic()
        with opened(host.url) as page:
            page.template(pack=PACK, name=NAME)
            page.card(name=NAME)
            clock.steps["open"] = time.monotonic() - start
            with clock.step("run"):
                done = page.run(timeout=3600)
    if done["status"] != "success":
        raise RuntimeError(f"The workflow did not run to its end: {done}")
    return clock, _computed() - before


def said(clock: Clock, computed: float) -> str:
    """The README's sentence."""
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.steps.items())
    minutes = clock.total / 60
    return (
        f"Measured from the clone to the finished grid, with the packages downloaded before: {minutes:.1f} minutes on "
        f"two cores of a CPU ({steps}; {computed:.0f} s of computing).\n"
    )


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
