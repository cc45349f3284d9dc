"""``s2v nano train``: from nothing to the files of a nano Wan-VACE."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..fast import fast_on_cpu
from ..nets import Nets, build_nets, save_nets
from ..words import training_texts, write_tokenizer
from ..world import HELD_OUT, render, scene
from .config import NanoTraining
from .material import material

Row = Callable[[Mapping[str, Any]], None]
Progress = Callable[[str, int, int], None]


def train_nano(
    config: NanoTraining,
    folder: str | os.PathLike[str],
    *,
    until: str = "",
    on_row: Row | None = None,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train VAE, text encoder, DiT and VACE as ``config`` says, in ``folder``; go on where an earlier run stopped.

    ``folder`` gets material/, latents/, the checkpoints and logs of both parts, and model/ with the weights in Wan's
    layout. ``until``: "material", "vae", "latents" or "text" ends the run after that. ``on_row``: a logged row.
    ``on_progress``: (what, done, total). Raises Interrupted when ``should_stop()`` says so; a checkpoint is written
    first.
    """
    if config.precision == "bfloat16" and not config.keep_vae:
        # On CPUs with AMX, oneDNN's gradients of bfloat16 3D convolutions write past their memory (torch 2.14); the
        # process then dies. oneDNN reads this when it is first used.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    import torch

    root = Path(folder)
    told = {"on_row": on_row, "on_step": on_progress, "should_stop": should_stop}
    arrays = material(
        root / f"material-{config.identity('world')[:8]}",
        config.world,
        config.seed,
        workers=config.threads,
        on_progress=partial(on_progress, "material") if on_progress else None,
        should_stop=should_stop,
    )
    if until == "material":
        return {"material": str(root)}
    with _threads(config.threads), fast_on_cpu(), torch.inference_mode(False), torch.enable_grad():
        nets = _start(config)
        if not config.keep_vae:
            _train_vae(config, root, nets, arrays, told)
        if until == "vae":
            return {"vae": str(root / "vae.pt")}
        from .latents import encode_material
        from .text import train_text
        from .transformer import train_transformer

        if config.transformer.steps:
            coded = encode_material(config, root, nets, arrays, told)
        if until == "latents":
            return {"latents": str(root)}
        files = save_nets(nets, root / "model")
        write_tokenizer(training_texts(config.world.clips), files.tokenizer, config.nano_sizes.vocab)
        if config.text.steps and not config.keep_text:
            train_text(config, root, nets, Path(files.tokenizer), told)
        if until == "text":
            return {"text": str(root / "text.pt")}
        if config.transformer.steps:
            train_transformer(config, root, nets, files, coded, told)
        files = save_nets(nets, root / "model")
    return {"model": files.transformer, "parameters": nets.parameters()}


def checked_clips(count: int) -> list[Any]:
    """Clips of the first ``count`` scenes in which person, colours and motion are held out of training."""
    made = [scene(number, held=HELD_OUT) for number in range(count)]
    return [render(one.character, one.motion, seed=one.seed) for one in made]


def _train_vae(config: NanoTraining, root: Path, nets: Nets, arrays: Mapping[str, Any], told: dict[str, Any]) -> None:
    import numpy as np

    from .loop import Loop
    from .vae import VaeTraining, as_pixels, fold, is_vae_matrix, train_all_or_decoder

    frames = np.stack([take.clip.frames for take in checked_clips(config.checked_clips)])
    training = VaeTraining(nets.vae.model, config, arrays["clip"], arrays["control"], frames)
    train_all_or_decoder(nets.vae.model, config.vae.decoder_only)
    Loop(
        "vae",
        root,
        config.identity("threads", "precision", "sizes", "start", "world", "vae"),
        nets.vae.model,
        is_vae_matrix,
        config.vae.optimizer,
        config.vae.steps,
        training.loss,
        training.check,
        config.save_every,
        config.log_every,
        config.check_every,
        **told,
    ).run()
    nets.vae.model.requires_grad_(False)
    if not config.vae.decoder_only:
        fold(nets.vae, [as_pixels(one[0][None]) for one in arrays["clip"]])


def _start(config: NanoTraining) -> Nets:
    """New nets, or those of ``config.start``."""
    nets = build_nets(config.nano_sizes, config.seed)
    if config.start:
        from safetensors.torch import load_file

        from ...wan.tiny import tiny_files

        files = tiny_files(config.start)
        transformer = load_file(files.transformer)
        for net in (nets.dit, nets.vace):
            net.load_state_dict({key: transformer[key].float() for key in net.state_dict()})
        taken = [(nets.vae.model, files.vae)]
        if config.keep_text or not config.text.steps:
            taken.append((nets.text_encoder, files.text_encoder))
        for net, file in taken:
            net.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    return nets


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
