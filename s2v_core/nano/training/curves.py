"""The curves of a training, drawn from its logs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...files import atomic_path

PARTS = ("vae", "transformer")


def draw_curves(folder: str | os.PathLike[str]) -> Path:
    """Write curves.png: what the logs of both parts hold, over their steps. Gives the picture's path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    logs = {part: _rows(Path(folder) / f"{part}.jsonl") for part in PARTS}
    found = [(part, rows) for part, rows in logs.items() if rows]
    plots = [(part, rows, what) for part, rows in found for what in (("psnr",) if part == "vae" else ("loss",))]
    figure, axes = pyplot.subplots(1, max(1, len(plots)), figsize=(6.4 * max(1, len(plots)), 4), squeeze=False)
    for axis, (part, rows, what) in zip(axes[0], plots, strict=False):
        keys = sorted({key for row in rows for key in row if what in key})
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            style: dict[str, Any] = (
                {"linewidth": 2.2, "zorder": 3} if "checked" in key else {"linewidth": 1, "alpha": 0.7}
            )
            label = key.replace("checked", "held-out scenes, averaged weights:")
            axis.plot([x for x, _ in points], [y for _, y in points], label=label, **style)
        axis.set_title({"vae": "VAE", "transformer": "DiT, VACE and text encoder"}[part])
        axis.set_xlabel("steps")
        axis.set_ylabel({"psnr": "PSNR, dB", "loss": "mean square error of the velocity"}[what])
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
