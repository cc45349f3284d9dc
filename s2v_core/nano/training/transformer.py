"""Training of DiT and VACE by flow matching (Lipman et al. 2022; Esser et al. 2024)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...prompts.length import MAX_TOKENS
from ...prompts.template import VARIANTS
from ...wan.engine import ModelFiles
from ...wan.text import load_tokenizer, token_ids
from ...wan.transformer import predict, prepare
from ..nets import Nets
from ..palette import PARTS
from ..world import HELD_OUT, Scene, caption, reference, render, scene
from .config import NanoTraining
from .latents import Latents
from .loop import Figures, Loop, generator, is_block_matrix
from .material import edit
from .text import without_dropout
from .vae import as_pixels, autocast

_STEPS = 1000  # timesteps of the net for a noise level of 1
_CHECKED_LEVELS = (0.2, 0.5, 0.8, 0.95)
_VARIANTS = tuple(VARIANTS)
_DECIDING = (
    *("threads", "precision", "sizes", "start", "keep_vae", "keep_text"),
    *("world", "vae", "text", "transformer"),
)


def train_transformer(
    config: NanoTraining, root: Path, nets: Nets, files: ModelFiles, latents: Latents, told: Mapping[str, Any]
) -> None:
    """Train DiT and VACE, and the text encoder unless it was trained before; they have the averaged weights then."""
    trained = torch.nn.ModuleDict({"dit": nets.dit, "vace": nets.vace})
    if not (config.text.steps or config.keep_text):
        trained["text_encoder"] = nets.text_encoder
    trained.requires_grad_(True)
    without_dropout(trained)
    without_dropout(nets.text_encoder)
    tokenizer = load_tokenizer(str(files.tokenizer))
    training = TransformerTraining(nets, config, latents, tokenizer)
    with training.padding_as_one():
        Loop(
            "transformer",
            root,
            config.identity(*_DECIDING),
            trained,
            is_block_matrix,
            config.transformer.optimizer,
            config.transformer.steps,
            training.loss,
            training.check,
            config.save_every,
            config.log_every,
            config.check_every,
            **told,
        ).run()
    trained.requires_grad_(False)


class TransformerTraining:
    """The loss of a step, on random clips, and the check on held-out scenes with fixed noise."""

    def __init__(self, nets: Nets, config: NanoTraining, latents: Latents, tokenizer: Any) -> None:
        self.nets, self.config, self.latents, self.tokenizer = nets, config, latents, tokenizer
        self._bias: torch.Tensor | None = None

    def loss(self, step: int) -> tuple[torch.Tensor, Figures]:
        """The velocity's mean square error over one batch, the reference's frame weighted less."""
        part, chance = self.config.transformer, generator(self.config.seed, "transformer", step)
        dice = random.Random(f"transformer {self.config.seed} {step}")
        stage = next(one for one in part.stages if step < one.until * part.steps or one is part.stages[-1])
        frames = dice.choices(list(stage.frames), list(stage.frames.values()))[0]
        count, with_reference = part.batch[frames], dice.random() < part.reference
        picked = [dice.randrange(len(self.latents.kinds["clip"])) for _ in range(count)]
        texts, kinds, controlled = [], [], []
        for number in picked:
            made, keep = scene(number), tuple[str, ...]()
            mood = dice.random() if with_reference else 1.0
            told, edited = made, mood < part.edited
            if mood < part.edited + part.misled:
                other, keep = edit(made, self.config.world, self.config.seed)
                told = made if edited else other
            texts.append(self._text(told, dice, keep, with_reference))
            kinds.append("edited" if edited else "reference")
            controlled.append(dice.random() >= part.no_control)
        clip = torch.stack([self.latents.kinds["clip"][number][:, :frames] for number in picked]).float()
        grey = self.latents.grey[0, :, :frames]
        control = torch.stack(
            [
                self.latents.kinds["control"][number][:, :frames].float() if steered else grey
                for number, steered in zip(picked, controlled, strict=True)
            ]
        )
        front = None
        if with_reference:
            front = torch.stack(
                [self.latents.kinds[kind][number] for kind, number in zip(kinds, picked, strict=True)]
            ).float()
        # Evenly spread over the levels, so that losses of small batches can be compared.
        even = (torch.rand(1, generator=chance) + torch.arange(count) / count) % 1.0
        levels = (part.shift * even / (1 + (part.shift - 1) * even)).clamp(1e-3, 1)
        found = self._error(clip, control, front, texts, levels, chance)
        return found.mean(), {f"loss of {frames}": float(found.detach().mean())}

    def check(self) -> Figures:
        """The loss on held-out scenes: person, colours and motion are new."""
        found = []
        for number, level in enumerate(_CHECKED_LEVELS):
            clip, control, front, texts = self._held_out()
            levels = torch.full((len(texts),), level)
            chance = generator(self.config.seed, "check", number)
            found.append(float(self._error(clip, control, front, texts, levels, chance).mean()))
        return {"loss": sum(found) / len(found)}

    def _error(
        self,
        clip: torch.Tensor,
        control: torch.Tensor,
        front: torch.Tensor | None,
        texts: list[str],
        levels: torch.Tensor,
        chance: torch.Generator,
    ) -> torch.Tensor:
        """Weighted mean square error of the velocity of each clip: [B]."""
        count, _, frames, height, width = clip.shape
        grey = self.latents.grey[:, :, :frames].expand_as(control)
        context = torch.cat([grey, control, torch.ones(count, 64, frames, height, width)], 1)
        x, weights = clip, torch.ones(frames)
        if front is not None:
            ahead = torch.cat([front, torch.zeros_like(front), torch.zeros(count, 64, 1, height, width)], 1)
            context, x = torch.cat([ahead, context], 2), torch.cat([front, x], 2)
            weights = torch.cat([torch.tensor([self.config.transformer.reference_weight]), weights])
        noise = torch.randn(x.shape, generator=chance)
        share = levels.view(-1, 1, 1, 1, 1)
        with autocast(self.config.precision):
            states = self._states(texts)
            constants = prepare(self.nets.dit, self.nets.vace, {"text": states}, context, tuple(x.shape))
            noisy = (1 - share) * x + share * noise
            velocity = predict(self.nets.dit, self.nets.vace, constants, "text", noisy, levels * _STEPS)
        error = (velocity.float() - (noise - x)).square().mean((1, 3, 4))
        return (error * weights).sum(1) / weights.sum()

    def _states(self, texts: list[str]) -> torch.Tensor:
        """Text states [B, tokens + 1, dim], zero behind each text's last token; ``_bias`` is set for them."""
        ids = [self._ids(text) for text in texts]
        longest = max(map(len, ids))
        padded = torch.tensor([one + [self.tokenizer.pad_token_id] * (longest - len(one)) for one in ids])
        lengths = torch.tensor([len(one) for one in ids])
        mask = (torch.arange(longest) < lengths[:, None]).long()
        states = self.nets.text_encoder(padded, mask) * mask.unsqueeze(-1)
        place = torch.arange(longest + 1)
        bias = torch.zeros(len(ids), longest + 1)
        bias[place == lengths[:, None]] = (MAX_TOKENS - lengths).float().log()
        bias[place > lengths[:, None]] = -torch.inf
        self._bias = bias[:, None, None]
        return torch.nn.functional.pad(states, (0, 0, 0, 1))

    @contextmanager
    def padding_as_one(self) -> Iterator[None]:
        """Cross attention over the tokens that a text has, as if it was padded to 512.

        All padding has the same key and value, so one of them, its logit raised by the logarithm of their number,
        stands for all: the same sum, without computing it over 512.
        """
        blocks = [*self.nets.dit.blocks, *self.nets.vace.vace_blocks]
        before = [block.cross_attn.attn for block in blocks]
        try:
            for block, old in zip(blocks, before, strict=True):
                block.cross_attn.attn = _Weighted(self, old.num_heads)
            yield
        finally:
            for block, old in zip(blocks, before, strict=True):
                block.cross_attn.attn = old

    @lru_cache(maxsize=20000)  # noqa: B019 - one training lives as long as its process
    def _ids(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, text)

    def _text(self, made: Scene, dice: random.Random, keep: tuple[str, ...], with_reference: bool) -> str:
        """A caption; ``keep``: parts that it must name."""
        part = self.config.transformer
        variant = dice.choice(_VARIANTS)
        if not keep and dice.random() < part.no_text:
            return "" if dice.random() < 0.5 else caption(made.character, made.motion, variant=variant).negative
        silent: list[str] = []
        if dice.random() < part.short_text:
            # Without a reference the text is all that the colours can come from.
            most = len(PARTS) if with_reference else 2
            silent = [name for name in dice.sample(list(PARTS), dice.randint(1, most)) if name not in keep]
        return caption(made.character, made.motion, without=silent, variant=variant).text

    @lru_cache(maxsize=1)  # noqa: B019
    def _held_out(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
        from ...pose.draw import draw_pose

        made = [scene(number, held=HELD_OUT) for number in range(self.config.checked_clips)]
        takes = [render(one.character, one.motion, seed=one.seed) for one in made]
        videos = ([take.clip.frames for take in takes], [draw_pose(take.track).frames for take in takes])
        pictures = [reference(one.character, one.motion, seed=one.seed)[None] for one in made]

        def coded(arrays: list[Any]) -> torch.Tensor:
            vae = self.nets.vae
            return torch.cat([vae.model.encode(as_pixels(array[None]), vae.scale) for array in arrays]).float()

        clip, control = map(coded, videos)
        return clip, control, coded(pictures), [caption(one.character, one.motion).text for one in made]


class _Weighted(torch.nn.Module):
    """DiffSynth's ``AttentionModule`` with the bias of the training's texts. Has no weights."""

    def __init__(self, training: TransformerTraining, num_heads: int) -> None:
        super().__init__()
        self._training = [training]  # in a list: a net that holds it must not become its part
        self.num_heads = num_heads

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q [B, S, heads x size], k and v [B, tokens + 1, heads x size]."""
        batch, length, dim = q.shape
        bias = self._training[0]._bias
        assert bias is not None

        def split(x: torch.Tensor) -> torch.Tensor:
            return x.float().view(batch, -1, self.num_heads, dim // self.num_heads).transpose(1, 2)

        with torch.autocast("cpu", enabled=False):
            mixed = torch.nn.functional.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias)
        return mixed.transpose(1, 2).reshape(batch, length, dim).to(v.dtype)
