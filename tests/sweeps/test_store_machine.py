"""A store under any order of writing, damage, crashes, copies and merges, against a plain model of what is in it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from s2v_core.errors import StoreError
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.upkeep import merge, prunable, prune, verify
from s2v_core.video.clip import Clip
from tests.sweeps.test_store import cell

torch = pytest.importorskip("torch")
SEEDS = st.integers(0, 3)
BROKEN = st.sampled_from([os.replace, os.fsync, os.rename])


def small(seed: int) -> Clip:
    return Clip(np.full((2, 6, 8, 3), 50 * seed, np.uint8), Fraction(16))


class StoreMachine(RuleBasedStateMachine):
    """``known``: seed -> what its cell must hold; ``spoiled``: seed -> files that were changed and not yet found."""

    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp())
        self.copies = 0
        self.folder = self.root / "cells"
        self.store = CellStore(self.folder)
        self.known: dict[int, dict] = {}
        self.spoiled: dict[int, set[str]] = {}
        self.put(0, True)
        self.score(0, 1, "a")

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def sound(self, seed: int) -> bool:
        return seed in self.known and self.spoiled.get(seed, set()) <= {"scores.json"}

    def files(self, seed: int) -> set[str]:
        entry = self.known[seed]
        more = {"latents.safetensors": entry["latents"], "scores.json": entry["scores"]}
        return {"clip.mkv", "cell.json", *(name for name, there in more.items() if there)}

    def forget(self, seed: int) -> None:
        self.known.pop(seed, None)
        self.spoiled.pop(seed, None)

    @rule(seed=SEEDS, latents=st.booleans())
    def put(self, seed, latents):
        self.store.put(cell(seed), small(seed), latents=torch.full((3,), float(seed)) if latents else None)
        if not self.sound(seed):
            self.forget(seed)
        entry = self.known.setdefault(seed, {"latents": False, "scores": {}})
        entry["latents"] |= latents

    @rule(seed=SEEDS, latents=st.booleans(), at=st.integers(0, 12), broken=BROKEN)
    def put_on_a_full_disk(self, seed, latents, at, broken):
        """The system refuses one of its calls; what was there is there still."""
        calls = iter(range(100))

        def refuses(*given, **named):
            if next(calls) == at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return broken(*given, **named)

        was_sound = self.sound(seed)
        try:
            with mock.patch(f"os.{broken.__name__}", refuses):
                self.put(seed, latents)
        except StoreError:
            if not was_sound:
                # Either it was set aside already, or not yet.
                if not self.store.path(cell(seed).id).exists():
                    self.forget(seed)
            else:
                assert self.store.has(cell(seed).id)
                self.known[seed]["latents"] = self.store.latents(cell(seed).id) is not None

    @rule(seed=SEEDS, value=st.integers(0, 9), metric=st.sampled_from("ab"))
    def score(self, seed, value, metric):
        if not self.sound(seed):
            with pytest.raises(StoreError):
                self.store.add_scores(cell(seed).id, {metric: {"version": "1", "value": value}})
            return
        self.store.add_scores(cell(seed).id, {metric: {"version": "1", "value": value}})
        if self.spoiled.pop(seed, None):
            self.known[seed]["scores"] = {}
        self.known[seed]["scores"][metric] = {"version": "1", "value": value}

    @rule(seed=SEEDS, what=st.integers(0, 3))
    def killed(self, seed, what):
        """What a killed process leaves at different moments."""
        id = cell(seed).id
        if what == 0:
            left = self.folder / f".{id[:40]}-{'0' * 16}"
            left.mkdir(exist_ok=True)
            (left / "clip.mkv").write_bytes(b"half")
        elif what == 1:
            (self.folder / f".removed-{'0' * 16}").mkdir(exist_ok=True)
        elif what == 2:
            (self.folder / "locks").mkdir(exist_ok=True)
            (self.folder / "locks" / f"{id}.lock").touch()
            (self.folder / "locks" / f"{id}.json").write_text('{"process": 1')
        elif self.store.path(id).exists():
            (self.store.path(id) / f".cell.json-{'0' * 16}.json").write_text("{")
            if not self.known[seed]["latents"]:
                (self.store.path(id) / "latents.safetensors").write_bytes(b"half")

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def flip(self, data):
        whole = [
            (seed, path)
            for seed in sorted(self.known)
            for path in sorted(self.store.path(cell(seed).id).iterdir())
            if path.name in self.files(seed) - self.spoiled.get(seed, set())
        ]
        if not whole:
            return
        seed, path = data.draw(st.sampled_from(whole))
        content = bytearray(path.read_bytes())
        # By a remainder, because drawn numbers are small more often than not.
        content[data.draw(st.integers(0, 1 << 32)) % len(content)] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        self.spoiled.setdefault(seed, set()).add(path.name)

    @rule()
    def set_aside(self):
        found = {(damage.id, damage.file) for damage in verify(self.store, set_aside=True)}
        expected = set()
        for seed, files in list(self.spoiled.items()):
            if files <= {"scores.json"}:
                expected.add((cell(seed).id, "scores.json"))
                self.known[seed]["scores"] = {}
                del self.spoiled[seed]
            else:
                expected.add((cell(seed).id, ""))
                self.forget(seed)
        assert found == expected

    @rule()
    def prune(self):
        prune(self.store, prunable(self.store, damaged=True))
        for seed, files in list(self.spoiled.items()):
            if files <= {"scores.json"}:
                self.known[seed]["scores"] = {}
                del self.spoiled[seed]
            else:
                self.forget(seed)
        assert not list(self.folder.glob("damaged/*"))

    @rule()
    def reopen(self):
        self.store = CellStore(self.folder)
        assert not [path for path in self.folder.rglob(".*") if "damaged" not in path.parts]

    @rule(merge_back=st.booleans())
    def copy(self, merge_back):
        """Go on with a copy of the folder; or throw some of it away and merge the copy back."""
        self.copies += 1
        copied = self.root / f"copy-{self.copies}"
        shutil.copytree(self.folder, copied)
        if not merge_back:
            self.folder, self.store = copied, CellStore(copied)
            return
        for id in self.store.ids()[::2]:
            shutil.rmtree(self.store.path(id))
        merged = merge([CellStore(copied)], self.store)
        whole = {cell(seed).id for seed in self.known if self.sound(seed)}
        assert {*merged.copied, *merged.present} == whole
        for damage in merged.left_out:
            assert (damage.file == "scores.json") == (damage.id in whole)
        for seed in list(self.known):
            gone = not self.store.path(cell(seed).id).exists()
            if gone:
                self.forget(seed)
            elif cell(seed).id in merged.copied and self.spoiled.pop(seed, None):
                self.known[seed]["scores"] = {}

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def holds_what_it_must(self):
        assert set(self.store.ids()) == {cell(seed).id for seed in self.known}
        for seed, entry in self.known.items():
            id, spoiled = cell(seed).id, self.spoiled.get(seed, set())
            assert self.store.has(id) == self.sound(seed)
            assert (self.store.problem(id, again=True) is None) == self.sound(seed)
            if not self.sound(seed):
                continue
            back = self.store.load(id)
            assert np.array_equal(back.frames, small(seed).frames)
            latents = self.store.latents(id)
            assert (latents is not None) == entry["latents"]
            assert latents is None or torch.equal(latents, torch.full((3,), float(seed)))
            assert (self.store.scores_problem(id) is None) == (not spoiled)
            if not spoiled:
                assert self.store.scores(id) == entry["scores"]


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
