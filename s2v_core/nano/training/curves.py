"""The curves of a training, drawn from its logs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...files import atomic_path

# The parts of a training -> title, the figure that is drawn, and its name.
PARTS = {
    "vae": ("VAE", "psnr", "PSNR, dB"),
    "text": ("Text encoder", "right", "share of the colours read rightly"),
    "transformer": ("DiT and VACE", "loss", "mean square error of the velocity"),
}


def draw_curves(folder: str | os.PathLike[str]) -> Path:
    """Write curves.png: what the logs of the parts hold, over their steps. Gives the picture's path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    logs = {part: _rows(Path(folder) / f"{part}.jsonl") for part in PARTS}
    found = [(part, rows) for part, rows in logs.items() if rows]
    wide = max(1, len(found))
    figure, axes = pyplot.subplots(1, wide, figsize=(6.4 * wide, 4), squeeze=False)
    for axis, (part, rows) in zip(axes[0], found, strict=False):
        title, what, unit = PARTS[part]
        keys = sorted({key for row in rows for key in row if what in key})
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            style: dict[str, Any] = (
                {"linewidth": 2.2, "zorder": 3} if "checked" in key else {"linewidth": 1, "alpha": 0.7}
            )
            label = key.replace("checked", "held-out scenes, averaged weights:")
            axis.plot([x for x, _ in points], [y for _, y in points], label=label, **style)
        axis.set_title(title)
        axis.set_xlabel("steps")
        axis.set_ylabel(unit)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
        if what == "loss":
            axis.set_yscale("log")
    figure.tight_layout()
    target = Path(folder) / "curves.png"
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)
    return target


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
