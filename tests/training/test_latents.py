from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from s2v_core.errors import Interrupted, SettingsError, VideoError
from s2v_core.training import latents as module
from s2v_core.training.latents import Latents, encode_set, picture_settings
from s2v_core.training.manifest import Manifest, read_manifest
from s2v_core.training.settings import TrainSettings
from s2v_core.wan.engine import ModelFiles

DEFAULT = TrainSettings()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "training"


def encode(manifest: Manifest, tiny: ModelFiles, settings: TrainSettings = DEFAULT, **more) -> Latents:
    pictures = picture_settings(manifest, settings)
    return encode_set(manifest, tiny, pictures, device="cpu", dtype=torch.float32, **more)


def same(one: Latents, other: Latents) -> bool:
    pairs = [(one.load(index), other.load(index)) for index in range(len(one.texts))]
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in pairs
        for name in ("latents", "vace_context", "context")
    )


def test_what_is_encoded_is_never_encoded_again(toy_set: Path, tiny: ModelFiles, cache: Path, monkeypatch) -> None:
    manifest = read_manifest(toy_set)
    told: list[tuple[str, int, int]] = []
    first = encode(manifest, tiny, on_progress=lambda *said: told.append(said))
    assert told == [(what, done, 3) for what in ("texts", "clips") for done in range(4)]
    for loader in ("load_vae", "load_text_encoder"):
        monkeypatch.setattr(module, loader, lambda *_, **__: pytest.fail("a net was loaded"))
    assert same(encode(manifest, tiny), first)
    # The rows in another order need nothing new either.
    turned = encode(replace(manifest, rows=manifest.rows[::-1]), tiny)
    assert turned.pictures == first.pictures[::-1]


def test_another_size_or_prompt_is_another_file(toy_set: Path, tiny: ModelFiles, cache: Path) -> None:
    manifest = read_manifest(toy_set)
    first = encode(manifest, tiny)
    smaller = encode(manifest, tiny, TrainSettings(width=32, height=32, frames=5))
    assert not set(smaller.pictures) & set(first.pictures)
    assert smaller.texts == first.texts
    assert smaller.load(0).latents.shape == (1, 16, 1 + 2, 4, 4)
    assert any("64 x 48" in note for note in smaller.notes)
    assert first.notes == ()
    words = replace(manifest, rows=(replace(manifest.rows[0], prompt="a dancer"),))
    told = encode(words, tiny)
    assert told.pictures[0] == first.pictures[0]
    assert told.texts[0] != first.texts[0]
    # What follows the last token is zero, as in sampling.
    assert told.load(0).context.shape == (1, 512, 32)
    assert not told.load(0).context[:, 20:].any()


def test_a_damaged_file_is_made_anew(toy_set: Path, tiny: ModelFiles, cache: Path) -> None:
    manifest = read_manifest(toy_set)
    first = encode(manifest, tiny)
    whole = [path.read_bytes() for path in (first.pictures[1], first.texts[2])]
    first.pictures[1].write_bytes(whole[0][:-200])
    first.texts[2].write_bytes(b"")
    encode(manifest, tiny)
    assert [path.read_bytes() for path in (first.pictures[1], first.texts[2])] == whole


def test_an_interrupt_keeps_what_was_encoded(toy_set: Path, tiny: ModelFiles, cache: Path) -> None:
    manifest = read_manifest(toy_set)

    def should_stop() -> bool:
        return len(list(cache.glob("*.safetensors"))) >= 4  # three texts and a clip

    with pytest.raises(Interrupted, match="1 of 3 clips"):
        encode(manifest, tiny, should_stop=should_stop)
    assert len(list(cache.glob("*.safetensors"))) == 4


def test_without_the_reference_is_as_if_there_were_none(toy_set: Path, tiny: ModelFiles, cache: Path) -> None:
    manifest = read_manifest(toy_set)
    bare = replace(manifest, rows=tuple(replace(row, reference=None) for row in manifest.rows))
    wanted, given = encode(bare, tiny).load(0), encode(manifest, tiny).load(0)
    assert (given.references, wanted.references) == (1, 0)
    made = given.without_reference()
    assert made.references == 0
    for name in ("latents", "vace_context", "context"):
        assert torch.equal(getattr(made, name), getattr(wanted, name))
    assert torch.equal(wanted.without_reference().latents, wanted.latents)


def test_a_mask_keeps_what_is_black_in_it(toy_set: Path, tiny: ModelFiles, cache: Path, tmp_path: Path) -> None:
    import numpy as np

    from s2v_core.video.write import write_png

    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = 255
    write_png(picture, tmp_path / "mask.png")
    manifest = read_manifest(toy_set)
    masked = replace(manifest, rows=tuple(replace(row, mask=tmp_path / "mask.png") for row in manifest.rows))
    shares = encode(masked, tiny).load(0).vace_context[0, 32:, 1:]
    assert not shares[..., :4].any()
    assert (shares[..., 4:] == 1).all()


def test_the_first_clip_gives_size_and_length(toy_set: Path, tmp_path: Path) -> None:
    import numpy as np

    from s2v_core.video.clip import Clip
    from s2v_core.video.write import write_clip

    manifest = read_manifest(toy_set)
    found = picture_settings(manifest, DEFAULT)
    assert (found.width, found.height, found.frames) == (64, 48, 9)
    found = picture_settings(manifest, TrainSettings(frames=5))
    assert (found.width, found.height, found.frames) == (64, 48, 5)
    odd = tmp_path / "odd.mkv"
    write_clip(Clip(np.zeros((11, 40, 64, 3), np.uint8), Fraction(16)), odd)
    one = replace(manifest, rows=(replace(manifest.rows[0], video=odd),))
    assert picture_settings(one, TrainSettings(width=32, height=32)).frames == 9
    with pytest.raises(SettingsError, match="size that cannot be trained"):
        picture_settings(one, DEFAULT)


def test_errors_name_the_row(toy_set: Path, tiny: ModelFiles, cache: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(toy_set, tmp_path / "set"))
    manifest = read_manifest(copied)
    video = manifest.rows[1].video
    video.write_bytes(video.read_bytes()[:3000])
    with pytest.raises(VideoError, match=r"Row 2 of the training set \(.*\.mkv\)"):
        encode(read_manifest(copied), tiny)
