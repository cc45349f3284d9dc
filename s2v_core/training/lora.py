"""The training of a LoRA on any Wan-VACE: resumable at every step, the same bits with or without a break."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, SettingsError
from ..files import atomic_path, write_text_atomic
from ..wan.checkpoints import Reading, load_transformer
from ..wan.engine import ModelFiles, keep_off_the_network
from . import events
from .job import Job, check_config, prepare
from .latents import Latents, encode_set, picture_settings
from .manifest import read_manifest
from .processes import Processes, find_processes
from .result import CHECKPOINT, CONFIG, FOR_COMFYUI, KEPT, LOG, RESULT, write_for_comfyui, write_lora
from .settings import TrainSettings
from .state import Log, load_state, save_state

if TYPE_CHECKING:
    import torch

    from .module import LoraModule

Score = Callable[[int, Path], Mapping[str, float]]
LEAKAGE = "leakage"
_LARGE = 100_000_000  # parameters from which gradient checkpointing is on by itself


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind. ``file``: the LoRA; ``steps``: how many it has learned; ``loss``: of the last 50.

    ``for_comfyui``: the same LoRA under ComfyUI's names. ``stopped``: the leakage was above its limit. ``notes``: what
    the user should know, in sentences.
    """

    file: Path
    for_comfyui: Path
    steps: int
    parameters: int
    loss: float
    stopped: bool
    notes: tuple[str, ...]


def train_lora(
    dataset: str | os.PathLike[str],
    files: ModelFiles,
    out: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    score: Score | None = None,
    on_event: Callable[[events.Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a LoRA on a prepared set (``read_manifest``) and write it, its settings, log and curves to ``out``.

    A folder that holds a training with the same settings, model and set is gone on with; one that holds another is an
    error. ``score(step, file)`` gets the LoRA of each ``score_every`` steps and gives numbers by name; the one called
    "leakage" can end the training. ``device`` and ``dtype`` as for ``load_engine``.

    Raises ``SettingsError``, what reading and encoding raise, and ``Interrupted`` when ``should_stop`` says so: the
    steps until then are kept.
    """
    from filelock import FileLock, Timeout

    keep_off_the_network()
    settings = settings or TrainSettings()
    if score and not settings.score_every:
        raise SettingsError(
            "The score function would never be called.", expected="score_every above 0", got="score_every 0"
        )
    processes = find_processes(device)
    folder = Path(out)
    job = prepare(read_manifest(dataset), files, folder, settings, device, dtype, processes)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", blocking=False) if processes.first else None
    try:
        if lock:
            lock.acquire()
    except Timeout as error:
        raise SettingsError(
            f"Another process trains in {folder}.", expected="a folder for each training", got="a lock on it"
        ) from error
    try:
        run = _Run(job, processes, score, on_event if processes.first else None, should_stop)
        return run.run()
    finally:
        if lock:
            lock.release()


class _Run:
    """One call of ``train_lora``."""

    def __init__(
        self,
        job: Job,
        processes: Processes,
        score: Score | None,
        on_event: Callable[[events.Event], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.job, self.processes, self.score, self.should_stop = job, processes, score, should_stop
        self.tell = on_event or (lambda event: None)
        self.log = Log(job.folder / LOG)
        self.about: dict[str, Any] = {"stopped": False, "kept": 0, "leakage": 0.0}
        self.step = 0

    def run(self) -> TrainResult:
        """Encode, load, train, write."""
        job, settings = self.job, self.job.settings
        layers = sum(map(len, job.layers.values()))
        self.tell(events.Counted(job.parameters, layers, job.model, len(job.manifest.rows)))
        pictures = picture_settings(job.manifest, settings)
        config = self.job.config({name: getattr(pictures, name) for name in ("width", "height", "frames")})
        config["processes"] = self.processes.count
        if self.processes.first:
            check_config(job.folder, config)
        latents = self._encode(pictures)
        module = self._load()
        parameters = module.trained()
        import torch

        optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.0, weight_decay=settings.weight_decay)
        checkpoint = job.folder / CHECKPOINT
        if checkpoint.is_file():
            self.step, self.about = load_state(checkpoint, parameters, optimizer)
            if self.about["stopped"] and not self._above(self.about["leakage"]):
                self.about |= {"stopped": False, "kept": self.step}  # the limit is another one now
        if self.processes.first:
            self.log.rewind(self.step)
            write_text_atomic(job.folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False))

        def save() -> None:
            if self.processes.first:
                self.log.sync()
                save_state(checkpoint, self.step, parameters, optimizer, self.about)
                self.tell(events.Saved(self.step))

        with _deterministic(settings.deterministic):
            self._train(module, parameters, optimizer, latents, config, save)
        return self._finish(module, config, latents.notes)

    def _train(
        self,
        module: LoraModule,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        latents: Latents,
        config: Mapping[str, Any],
        save: Callable[[], None],
    ) -> None:
        settings = self.job.settings
        while self.step < settings.steps and not self.about["stopped"]:
            if self.processes.any(bool(self.should_stop and self.should_stop())):
                save()
                raise Interrupted(f"Stopped after {self.step} of {settings.steps} steps; they are kept.")
            begin = time.monotonic()
            loss, norm = self._one_step(module, parameters, optimizer, latents)
            self.step += 1
            done = events.Trained(
                self.step, settings.steps, loss, settings.rate(self.step - 1), norm, time.monotonic() - begin
            )
            if self.processes.first:
                self.log.write(
                    {
                        "step": done.step,
                        "loss": loss,
                        "rate": done.rate,
                        "norm": norm,
                        "reference": settings.sees_reference(self.step - 1),
                        "seconds": round(done.seconds, 4),
                    }
                )
            self.tell(done)
            last = self.step == settings.steps
            scored = bool(settings.score_every) and (last or self.step % settings.score_every == 0)
            if scored:
                self._keep(module, config)
            if last or scored or self.step % settings.save_every == 0:
                save()

    def _one_step(
        self,
        module: LoraModule,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        latents: Latents,
    ) -> tuple[float, float]:
        """Loss and gradient norm of one step; all chance in it comes from the seed and the step's number."""
        import torch

        from .module import seeded

        settings, step, batch = self.job.settings, self.step, self.job.settings.batch
        loss = 0.0
        for number in range(self.processes.index, batch, self.processes.count):
            sample = latents.load(_pick(settings.seed, step * batch + number, len(latents.texts)))
            if not settings.sees_reference(step):
                sample = sample.without_reference()
            with seeded(settings.seed, step, number):
                # Each clip of a step takes its noise level from a part of its own.
                own = module(sample.to(self.job.device), number / batch, (number + 1) / batch)
            (own / batch).backward()
            loss += own.item() / batch
        gradients = [value.grad for value in parameters.values() if value.grad is not None]
        self.processes.add_up(gradients)
        longest = settings.clip_norm or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(list(parameters.values()), longest))
        loss = self.processes.total(loss)
        if not (abs(loss) < float("inf") and norm < float("inf")):
            raise SettingsError(
                f"The training went wrong in step {step + 1}: loss {loss:g}, gradient {norm:g}.",
                expected="finite numbers",
                got="numbers that are too large",
                remedy="Choose a lower learning rate or a longer warm-up, and begin in another folder.",
            )
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss, norm

    def _keep(self, module: LoraModule, config: Mapping[str, Any]) -> None:
        """Write the LoRA of this step and score it; the limit of the leakage is checked here."""
        leakage = 0.0
        if self.processes.first:
            file = self.job.folder / KEPT.format(step=self.step)
            self._write(module, file, config)
            scores = {} if self.score is None else dict(self.score(self.step, file))
            scores = {name: float(value) for name, value in scores.items()}
            if scores:
                self.log.write({"step": self.step, "scores": scores})
                self.tell(events.Scored(self.step, scores))
            if self.job.settings.leakage_limit and LEAKAGE not in scores:
                raise SettingsError(
                    "The leakage cannot be limited.",
                    expected=f"a score called {LEAKAGE}",
                    got=", ".join(scores) or "no scores",
                    remedy="Give a score function that measures it, or set leakage_limit to 0.",
                )
            leakage = scores.get(LEAKAGE, 0.0)
        self.about["leakage"] = self.processes.total(leakage)  # 0 in all processes but the first
        self.about["stopped"] = self._above(self.about["leakage"])
        if not self.about["stopped"] or not self.about["kept"]:
            self.about["kept"] = self.step

    def _above(self, leakage: float) -> bool:
        limit = self.job.settings.leakage_limit
        return bool(limit) and not leakage <= limit  # a NaN is above every limit

    def _write(self, module: LoraModule, path: Path, config: Mapping[str, Any]) -> None:
        tensors = module.lora_tensors(self.job.settings.scale)
        write_lora(path, tensors, self.step, self.job.settings, config)

    def _finish(self, module: LoraModule, config: Mapping[str, Any], notes: tuple[str, ...]) -> TrainResult:
        from .curves import write_curves

        job, said, steps = self.job, list(notes), self.step
        file = job.folder / RESULT
        if self.processes.first:
            if not self.about["stopped"]:
                self._write(module, file, config)
            else:
                steps = int(self.about["kept"])
                with atomic_path(file) as temporary:
                    shutil.copyfile(job.folder / KEPT.format(step=steps), temporary)
                said.append(
                    f"Stopped at step {self.step}: the leakage was above {job.settings.leakage_limit:g}. "
                    f"The result is the LoRA of step {steps}."
                )
            write_for_comfyui(file, job.folder / FOR_COMFYUI, job.files.transformer)
            write_curves(self.log.read(), config, job.folder)
        self.processes.wait()
        losses = [line["loss"] for line in self.log.read() if "loss" in line][-50:]
        mean = sum(losses) / len(losses) if losses else float("nan")
        return TrainResult(
            file, job.folder / FOR_COMFYUI, steps, job.parameters, mean, bool(self.about["stopped"]), tuple(said)
        )

    def _encode(self, pictures: Any) -> Latents:
        def show(what: str, done: int, total: int) -> None:
            self.tell(events.Encoding(what, done, total))

        def encode() -> Latents:
            job = self.job
            return encode_set(
                job.manifest,
                job.files,
                pictures,
                device=job.device,
                dtype=job.dtype,
                on_progress=show,
                should_stop=self.should_stop,
            )

        # The first process encodes, the others then find everything in the cache.
        found = encode() if self.processes.first else None
        self.processes.wait()
        return found or encode()

    def _load(self) -> LoraModule:
        """The model with its LoRA, on the device."""
        import torch

        from .module import LoraModule

        job = self.job
        with torch.inference_mode(False), torch.enable_grad():
            dit, vace = load_transformer(
                job.files.transformer,
                device="cpu",
                dtype=job.dtype,
                reading=Reading(keep_8bit=False, should_stop=self.should_stop),
            )
            wanted = job.settings.checkpointing
            checkpointing = wanted == "on" or (wanted == "auto" and job.model > _LARGE)
            module = LoraModule(dit, vace, job.layers, job.settings, checkpointing)
            module.to(job.device)
        return module


def _pick(seed: int, place: int, clips: int) -> int:
    """The clip at a place of the endless order: all clips once, shuffled, then all again, shuffled anew."""
    import torch

    from .module import derived_seed

    generator = torch.Generator().manual_seed(derived_seed(seed, "order", place // clips))
    return int(torch.randperm(clips, generator=generator)[place % clips])


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Let torch use only operations that always give the same bits, while the block runs."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.use_deterministic_algorithms(before)
