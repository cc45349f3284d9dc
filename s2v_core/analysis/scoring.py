"""Scoring the cells of a store: each is measured once for each version of a metric, and its scores are kept with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, S2VError
from ..files import sha256_json
from ..metrics.registry import METRICS, chosen_metrics, default_metrics, score_clip
from ..metrics.scorecard import Metric, Score, empty
from ..metrics.toy import FOLLOWS, TOY_METRICS, score_toy
from ..sweeps.store import CellStore
from .collect import short_hash
from .sources import KINDS, Sources

if TYPE_CHECKING:
    from ..video.clip import Clip

_NO_TRUTH = "the toy world's truth is known of its own pose videos and pictures only"
_NO_SOURCES = "What the cell was made from is not known: score its sweep file, or connect pose video and reference."
# What a metric uses when it is there, beside what it needs.
_USES = {"motion": ("driving",)}


@dataclass(frozen=True)
class Scored:
    """What scoring did. ``scored``, ``settled``: ids of cells that were measured, and that needed nothing.

    ``missing``: (metric, reason) -> in how many cells there is no value. ``failed``: id -> why nothing was kept.
    """

    scored: tuple[str, ...]
    settled: tuple[str, ...]
    missing: Mapping[tuple[str, str], int]
    failed: Mapping[str, str]


def score_cells(
    store: CellStore,
    ids: Iterable[str],
    sources: Callable[[str], Sources],
    *,
    metrics: Sequence[str] | None = None,
    training: Any = None,
    again: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Scored:
    """Measure what is not measured yet of these cells, and keep it in the store cell by cell.

    ``sources(id)``: what a cell was made from. ``metrics``: names; for None those that the project measures by default,
    and the toy world's truth where it is known. ``training``: as for ``score_clip``; a folder is told
    from another one by its files' names and sizes. ``again``: also measure anew what had no value.

    A score is settled when it has the metric's version and was made with the inputs that are known now, or more.
    Raises ``SettingsError`` for unknown metrics, ``StoreError`` when nothing can be kept, and ``Interrupted``; what was
    scored until then is kept.
    """
    names = None if metrics is None else tuple(metric.name for metric in chosen_metrics(metrics))
    wanted = tuple(dict.fromkeys(ids))
    set_id = _identity(training)
    scored: list[str] = []
    settled: list[str] = []
    missing: Counter[tuple[str, str]] = Counter()
    failed: dict[str, str] = {}
    for number, id in enumerate(wanted, start=1):
        stopped = f"Stopped: {number - 1} of {len(wanted)} cells were scored, and their scores are kept."
        if should_stop and should_stop():
            raise Interrupted(stopped)
        try:
            cell = _Cell(store, id, sources(id), training, set_id, should_stop)
            new = cell.measure(names, again)
        except Interrupted as error:
            raise Interrupted(stopped) from error
        except S2VError as error:
            failed[id] = " ".join(filter(None, (error.problem, error.got)))
        else:
            if new:
                store.add_scores(id, new)
            (scored if new else settled).append(id)
            for metric, said in store.scores(id).items():
                if said.get("value") is None and metric in cell.chosen(names):
                    missing[metric, str(said.get("reason") or "no value")] += 1
        if on_progress:
            on_progress(number, len(wanted))
    return Scored(tuple(scored), tuple(settled), dict(missing), failed)


@dataclass(eq=False)
class _Cell:
    """One cell that is being scored."""

    store: CellStore
    id: str
    sources: Sources
    training: Any
    training_id: str
    should_stop: Callable[[], bool] | None

    def chosen(self, names: Sequence[str] | None) -> tuple[str, ...]:
        if names is not None:
            return tuple(names)
        return (*default_metrics(), *(TOY_METRICS if self.sources.truth else ()))

    def measure(self, names: Sequence[str] | None, again: bool) -> dict[str, dict[str, Any]]:
        """What is to be kept of the metrics that are not settled."""
        damaged = self.store.scores_problem(self.id)
        known = {} if damaged else self.store.scores(self.id)
        todo = [METRICS[name] for name in self.chosen(names) if not self._settled(METRICS[name], known, again)]
        if not todo:
            return {}
        clip = self.store.load(self.id)
        found = self._scores(clip, self.sources, todo)
        facts = {
            metric.name: {
                **found[metric.name].to_json(),
                "version": metric.version,
                "direction": metric.direction,
                "inputs": self._inputs(metric, self.sources),
            }
            for metric in todo
        }
        for kind, metrics in self._rivalries(todo).items():
            own = str(self.store.meta(self.id)["fingerprint"].get(kind, ""))
            for hash, other in self.sources.others[kind].items():
                held = found if hash == own else self._scores(clip, other, metrics)
                for metric in metrics:
                    facts[metric.name].setdefault("against", {})[short_hash(hash)] = held[metric.name].value
        return facts

    def _settled(self, metric: Metric, known: Mapping[str, Mapping[str, Any]], again: bool) -> bool:
        said = known.get(metric.name)
        if said is None or said.get("version") != metric.version or (again and said.get("value") is None):
            return False
        made = said.get("inputs") or {}
        if any(made.get(need) != there for need, there in self._inputs(metric, self.sources).items()):
            return False
        rivals = [short_hash(hash) for kind in self._rivalries([metric]) for hash in self.sources.others[kind]]
        return set(rivals) <= set(said.get("against") or {})

    def _rivalries(self, metrics: Sequence[Metric]) -> dict[str, list[Metric]]:
        """What the cell is held against by which of these metrics."""
        held = {
            kind: [metric for metric in metrics if kind in FOLLOWS.get(metric.name, metric.needs)] for kind in KINDS
        }
        return {kind: some for kind, some in held.items() if some and self.sources.others.get(kind)}

    def _scores(self, clip: Clip, sources: Sources, metrics: Sequence[Metric]) -> dict[str, Score]:
        toy = [metric.name for metric in metrics if metric.name in TOY_METRICS]
        found = dict.fromkeys(toy, empty(_NO_TRUTH))
        if toy and sources.truth:
            found |= score_toy(clip.frames, *sources.truth, toy)
        general = {metric.name: metric for metric in metrics if metric.name not in TOY_METRICS}
        if general:
            card = score_clip(
                clip,
                control=sources.control,
                reference=list(sources.reference) or None,
                training=self.training,
                driving=sources.driving,
                provenance=self.store.meta(self.id),
                metrics=list(general),
                should_stop=self.should_stop,
            )
            there = self._there(sources)
            for name, score in card.items():
                lacks = [kind for kind in KINDS if kind in general[name].needs and not there[kind]]
                hint = f" {_NO_SOURCES}" if score.value is None and lacks else ""
                found[name] = replace(score, reason=f"{score.reason}{hint}")
        return found

    def _inputs(self, metric: Metric, sources: Sources) -> dict[str, str]:
        """What is known now of what a metric needs, so that more is noticed later."""
        uses = (*metric.needs, *_USES.get(metric.name, ()))
        return {need: said for need, said in self._there(sources).items() if said and need in uses}

    def _there(self, sources: Sources) -> dict[str, str]:
        there = {
            "control": sources.control is not None,
            "reference": bool(sources.reference),
            "driving": sources.driving is not None,
            "truth": sources.truth is not None,
        }
        said = {need: "yes" if known else "" for need, known in there.items()}
        return {**said, "training": self.training_id}


def _identity(training: Any) -> str:
    """What tells a training set from another one; "" for none."""
    if training is None:
        return ""
    if not isinstance(training, (str, Path)):
        return "given"
    root = Path(training)
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    return sha256_json([[path.relative_to(root).as_posix(), path.stat().st_size] for path in files if path.exists()])
