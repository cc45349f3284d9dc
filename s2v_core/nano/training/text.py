"""Training of the text encoder by itself: to tell from a caption which colour each part has.

umT5 comes to Wan as an encoder that understands text already, and stays as it is. Without that, a DiT learns soon which
colours a caption names, and very late which part each of them belongs to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...prompts.template import VARIANTS
from ...wan.text import load_tokenizer, token_ids
from ..nets import Nets
from ..paint import HAIR_STYLES, SLEEVES
from ..palette import PARTS, names
from ..world import HELD_OUT, Scene, caption, scene
from .config import NanoTraining
from .loop import Figures, Loop, is_block_matrix

_VARIANTS = tuple(VARIANTS)
_CHECKED = 64  # captions
# What is read out of a caption -> the words for it, and the part that is silent with it.
_READ = {part: (names(part), part) for part in PARTS} | {
    "hair_style": (HAIR_STYLES, "hair"),
    "sleeves": (SLEEVES, "shirt"),
}


def train_text(config: NanoTraining, root: Path, nets: Nets, tokenizer: Path, told: Mapping[str, Any]) -> None:
    """Train the text encoder, which has the averaged weights afterwards."""
    training = TextTraining(nets.text_encoder, config, load_tokenizer(str(tokenizer)))
    trained = torch.nn.ModuleDict({"text_encoder": nets.text_encoder, "reader": training.reader})
    trained.requires_grad_(True)
    without_dropout(trained)
    Loop(
        "text",
        root,
        # Of the transformer's part: which share of the captions is short.
        config.identity("threads", "precision", "sizes", "start", "world", "text", "transformer"),
        trained,
        is_block_matrix,
        config.text.optimizer,
        config.text.steps,
        training.loss,
        training.check,
        config.save_every,
        config.log_every,
        config.check_every,
        **told,
    ).run()
    trained.requires_grad_(False)


class Reader(torch.nn.Module):
    """Reads each part's colour, hair style and sleeves out of text states; thrown away after the training."""

    def __init__(self, dim: int, seed: int) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(seed)
        self.queries = torch.nn.Parameter(torch.randn(len(_READ), dim, generator=chance) / dim**0.5)
        self.values = torch.nn.ParameterList(
            torch.nn.Parameter(torch.randn(dim, len(words) + 1, generator=chance) / dim**0.5)
            for words, _ in _READ.values()
        )

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """For each of ``_READ`` logits [B, words + 1] (the last: not told), from states [B, N, dim], mask [B, N]."""
        closeness = torch.einsum("bnd,pd->bpn", states, self.queries).masked_fill(~mask[:, None].bool(), -torch.inf)
        seen = torch.einsum("bpn,bnd->bpd", closeness.softmax(-1), states)
        return [seen[:, place] @ value for place, value in enumerate(self.values)]


class TextTraining:
    """The loss of a step on random captions of the training scenes, and the check on ones of held-out scenes."""

    def __init__(self, encoder: Any, config: NanoTraining, tokenizer: Any) -> None:
        self.encoder, self.config, self.tokenizer = encoder, config, tokenizer
        self.reader = Reader(config.nano_sizes.text_dim, config.seed)

    def loss(self, step: int) -> tuple[torch.Tensor, Figures]:
        """Mean cross entropy of the parts' colours, and how often the right one is the likeliest."""
        dice = random.Random(f"text {self.config.seed} {step}")
        made = [scene(dice.randrange(self.config.world.clips)) for _ in range(self.config.text.batch)]
        return self._read([self._told(one, dice) for one in made])

    def check(self) -> Figures:
        """The share of colours that are read rightly in captions of people and clothes that are new."""
        dice = random.Random(f"text check {self.config.seed}")
        made = [self._told(scene(number, held=HELD_OUT), dice) for number in range(_CHECKED)]
        with torch.no_grad():
            return self._read(made)[1]

    def _read(self, made: list[tuple[str, tuple[int, ...]]]) -> tuple[torch.Tensor, Figures]:
        ids = [self._ids(text) for text, _ in made]
        longest = max(map(len, ids))
        padded = torch.tensor([one + [self.tokenizer.pad_token_id] * (longest - len(one)) for one in ids])
        mask = (torch.arange(longest) < torch.tensor([len(one) for one in ids])[:, None]).long()
        found = self.reader(self.encoder(padded, mask), mask)
        wanted = torch.tensor([labels for _, labels in made]).T
        losses = [torch.nn.functional.cross_entropy(one, right) for one, right in zip(found, wanted, strict=True)]
        hits = torch.stack([one.argmax(1) == right for one, right in zip(found, wanted, strict=True)])
        return torch.stack(losses).mean(), {"right": float(hits.float().mean())}

    def _told(self, made: Scene, dice: random.Random) -> tuple[str, tuple[int, ...]]:
        """A caption that leaves some parts out, and of each part the number of its colour or that it is not told."""
        silent: list[str] = []
        if dice.random() < self.config.transformer.short_text:
            silent = dice.sample(list(PARTS), dice.randint(1, len(PARTS) // 2))
        text = caption(made.character, made.motion, without=silent, variant=dice.choice(_VARIANTS)).text
        return text, tuple(
            len(words) if part in silent else words.index(getattr(made.character, name))
            for name, (words, part) in _READ.items()
        )

    @lru_cache(maxsize=20000)  # noqa: B019 - one training lives as long as its process
    def _ids(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, text)


def without_dropout(nets: torch.nn.Module) -> None:
    """Set every dropout to 0: its random numbers would not belong to the step."""
    for module in nets.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
