"""The curves of a training as a picture and as a page."""

from __future__ import annotations

import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_path, write_text_atomic

PICTURE, PAGE = "curves.png", "curves.html"
_WINDOW = 50  # steps that the smooth line averages
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>LoRA training</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .15rem 1rem .15rem 0; text-align: left; vertical-align: top; font-weight: normal; }}
th {{ color: #666; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
</style>
<h1>LoRA training: {title}</h1>
<p>{summary}</p>
{svg}
{scores}
<h2>Settings</h2>
<table>{settings}</table>
</html>
"""


def write_curves(lines: Sequence[Mapping[str, Any]], config: Mapping[str, Any], folder: str | os.PathLike[str]) -> None:
    """Write ``curves.png`` and ``curves.html`` from the lines of a training's log and its config."""
    steps = [line for line in lines if "loss" in line]
    scored = [line for line in lines if "scores" in line]
    if not steps:
        return
    figure = _draw(steps, scored)
    with atomic_path(Path(folder) / PICTURE) as temporary:
        figure.savefig(temporary, dpi=110)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    settings = config["settings"]
    seconds = sum(line["seconds"] for line in steps)
    page = _PAGE.format(
        title=html.escape(f"{settings['preset']}, rank {settings['rank']}"),
        summary=html.escape(
            f"{config['parameters']:,} parameters, {config['dataset']['clips']} clips, {steps[-1]['step']:,} steps in "
            f"{seconds / 60:.1f} minutes; loss {smooth([line['loss'] for line in steps])[-1]:.4f} at the end."
        ),
        svg=svg[svg.index("<svg") :],
        scores=_score_table(scored),
        settings="".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(json.dumps(value, ensure_ascii=False))}</td></tr>"
            for name, value in settings.items()
        ),
    )
    write_text_atomic(Path(folder) / PAGE, page)


def smooth(values: Sequence[float], window: int = _WINDOW) -> list[float]:
    """The mean of each value and the ``window`` - 1 before it, or as many as there are."""
    found, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        found.append(total / min(index + 1, window))
    return found


def _draw(steps: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for line in scored for name in line["scores"]))
    rows = 2 + len(names)
    # Without pyplot: nothing global, and no window system is looked for.
    figure = Figure(figsize=(8, 2.2 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[1.8, *[1] * (rows - 1)])
    numbers = [line["step"] for line in steps]
    losses = [line["loss"] for line in steps]
    axes[0].plot(numbers, losses, color="#9db8d6", linewidth=0.6, label="each step")
    axes[0].plot(numbers, smooth(losses), color="#1f4e79", linewidth=1.8, label=f"mean of {_WINDOW}")
    axes[0].set_ylabel("loss")
    axes[0].legend(frameon=False, loc="upper right")
    axes[1].plot(numbers, [line["norm"] for line in steps], color="#a06a2c", linewidth=0.8)
    axes[1].set_ylabel("gradient norm")
    for axis, name in zip(axes[2:], names, strict=True):
        points = [(line["step"], line["scores"][name]) for line in scored if name in line["scores"]]
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, color="#2f7d4f")
        axis.set_ylabel(name)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axis.margins(x=0.01)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _score_table(scored: Sequence[Mapping[str, Any]]) -> str:
    if not scored:
        return ""
    names = list(dict.fromkeys(name for line in scored for name in line["scores"]))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("step", *names))
    body = "".join(
        f"<tr><td>{line['step']:,}</td>"
        + "".join(f"<td>{line['scores'][name]:.4g}</td>" if name in line["scores"] else "<td></td>" for name in names)
        + "</tr>"
        for line in scored
    )
    return f"<h2>Scores</h2><table><tr>{head}</tr>{body}</table>"
