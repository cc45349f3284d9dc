"""A Wan-VACE with a LoRA to be trained, as DiffSynth's training module (imports torch and DiffSynth).

What is DiffSynth's: the module, the injection of the LoRA (PEFT's), which parameters are trained and how they are
named in a file, the noise levels with their weights, and the loss. What is not: the forward. ``WanModel.forward``
cannot run (its ``patchify`` gives one value where two are taken), and the pipeline's keeps the hints of all VACE blocks
in ever larger stacks, 12 GB of copies at 480p; ``wan.transformer`` gives the same numbers without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from diffsynth.core.gradient import gradient_checkpoint_forward
from diffsynth.diffusion.flow_match import FlowMatchScheduler
from diffsynth.diffusion.loss import FlowMatchSFTLoss
from diffsynth.diffusion.training_module import DiffusionTrainingModule

from ..wan import transformer
from .latents import Sample
from .presets import NETS
from .settings import TrainSettings

_LEVELS = 1000  # as in DiffSynth's switch_pipe_to_training_mode


class LoraModule(DiffusionTrainingModule):
    """The nets "dit" and "vace", frozen, with a LoRA in float32 on the layers that are trained.

    ``layers``: names inside each net (``presets.select_layers``). The LoRA's first numbers come from the settings'
    seed; it changes nothing yet. The global random state is as before.
    """

    def __init__(
        self, dit: Any, vace: Any, layers: Mapping[str, Sequence[str]], settings: TrainSettings, checkpointing: bool
    ) -> None:
        super().__init__()
        for net in (dit, vace):
            net.requires_grad_(False)
        nets = {"dit": dit, "vace": vace}
        with seeded(settings.seed, "start"):
            for name in NETS:
                if layers[name]:
                    nets[name] = self.add_lora_to_model(
                        nets[name],
                        list(layers[name]),
                        settings.rank,
                        settings.alpha or settings.rank,
                        upcast_dtype=torch.float32,
                    )
        self.dit, self.vace = nets["dit"], nets["vace"]
        self._through = _checkpointed if checkpointing else None
        self._scheduler = FlowMatchScheduler("Wan")
        self._scheduler.set_timesteps(_LEVELS, training=True, shift=settings.shift)
        # requires_grad as a filter: PEFT has frozen everything else.
        self._names = tuple(name for name, value in self.named_parameters() if value.requires_grad)

    def forward(self, sample: Sample, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """DiffSynth's weighted flow-matching loss of one clip, at a noise level that the global random state decides.

        ``low``, ``high``: the part of the noise levels, from 0 (pure noise) to 1, that it is taken from.
        """
        # What FlowMatchSFTLoss takes of a pipeline. Latents and timesteps stay in float32, as in our sampling.
        pipe = SimpleNamespace(
            scheduler=self._scheduler,
            torch_dtype=torch.float32,
            device=sample.latents.device,
            in_iteration_models=(),
            model_fn=self._predict,
        )
        loss: torch.Tensor = FlowMatchSFTLoss(
            pipe,
            input_latents=sample.latents,
            context=sample.context,
            vace_context=sample.vace_context,
            references=sample.references,
            min_timestep_boundary=low,
            max_timestep_boundary=high,
        )
        return loss

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        table = dict(self.named_parameters())
        return {name: table[name] for name in self._names}

    def lora_tensors(self, scale: float) -> dict[str, torch.Tensor]:
        """The LoRA in float32 under the names that DiffSynth publishes.

        ``scale``: alpha / rank. It is put into B: these names have no place for alpha, and every reader takes 1.
        """
        state = self.export_trainable_state_dict(dict(self.trained()))
        found = {}
        for name, value in state.items():
            value = value.detach().to("cpu", torch.float32)
            key = next(name.removeprefix(f"{net}.") for net in NETS if name.startswith(f"{net}."))
            found[key] = value * scale if ".lora_B." in key else value.clone()
        named: dict[str, torch.Tensor] = self.mapping_lora_state_dict(found)
        return named

    def _predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        context: torch.Tensor,
        vace_context: torch.Tensor,
        references: int,
        **_: Any,
    ) -> torch.Tensor:
        nets = self.dit, self.vace
        constants = transformer.prepare(*nets, {"": context}, vace_context, tuple(latents.shape), references)
        return transformer.predict(*nets, constants, "", latents, timestep, through=self._through)


def _checkpointed(function: Callable[..., torch.Tensor], *inputs: Any) -> torch.Tensor:
    made: torch.Tensor = gradient_checkpoint_forward(function, True, False, *inputs)
    return made


def derived_seed(seed: int, *what: int | str) -> int:
    """A seed for one purpose, from 0 to 2^63 - 1: the same on every machine, and unlike those of other purposes."""
    text = ":".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int, *what: int | str) -> Iterator[None]:
    """Torch's global random state set for one purpose; afterwards it is as before, on all devices."""
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, *what))
        yield
