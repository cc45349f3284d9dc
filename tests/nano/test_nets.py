from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.nano import world
from s2v_core.nano.nets import NanoSizes, Nets, build_nets, save_nets
from s2v_core.nano.words import training_texts, write_tokenizer
from s2v_core.pose.draw import draw_pose
from s2v_core.wan.checkpoints import load_text_encoder, load_transformer, load_vae
from s2v_core.wan.contents import inspect_file
from s2v_core.wan.engine import Engine, ModelFiles, load_engine
from s2v_core.wan.render import Renderer
from s2v_core.wan.settings import SampleSettings


@pytest.fixture(scope="module")
def nets() -> Nets:
    return build_nets(seed=3)


@pytest.fixture(scope="module")
def files(nets: Nets, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    written = save_nets(nets, tmp_path_factory.mktemp("nano") / "model", dtype="float32")
    write_tokenizer(training_texts(400), written.tokenizer)
    return written


@pytest.fixture(scope="module")
def engine(files: ModelFiles) -> Engine:
    return load_engine(files, device="cpu", dtype="float32")


def test_the_nets_are_as_small_as_planned(nets: Nets) -> None:
    counts = nets.parameters()
    assert 3.3e6 < counts["dit"] + counts["vace"] < 3.9e6
    assert counts["text_encoder"] < 0.3e6
    assert counts["vae"] < 2.2e6
    assert 2 * sum(counts.values()) < 12_000_000  # bytes in 16 bits


def test_a_training_begins_at_rest_and_can_go_on(nets: Nets) -> None:
    assert not nets.dit.head.head.weight.any()
    assert not any(block.after_proj.weight.any() for block in nets.vace.vace_blocks)
    for net in (nets.dit, nets.vace, nets.text_encoder, nets.vae.model):
        assert all(value.requires_grad and not value.is_meta for value in net.parameters())


def test_equal_seeds_give_equal_nets_and_leave_chance_alone() -> None:
    small = NanoSizes(layers=2, vace_layers=(0, 1))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other, third = build_nets(small, 1), build_nets(small, 1), build_nets(small, 2)
    assert torch.equal(torch.rand(1), expected)
    for name in ("dit", "vace", "text_encoder", "vae"):
        tables = [getattr(net, name).state_dict() for net in (one, other, third)]
        assert all(torch.equal(tables[0][key], tables[1][key]) for key in tables[0])
        assert not all(torch.equal(tables[0][key], tables[2][key]) for key in tables[0])


def test_the_projects_loader_reads_the_files(nets: Nets, files: ModelFiles) -> None:
    assert inspect_file(files.transformer).parts == ("dit", "vace")
    dit, vace = load_transformer(files.transformer, device="cpu", dtype=torch.float32)
    text = load_text_encoder(files.text_encoder, device="cpu", dtype=torch.float32)
    vae = load_vae(files.vae, device="cpu", dtype=torch.float32)
    assert tuple(vace.vace_layers) == (0, 2, 4)
    assert dit.blocks[0].self_attn.num_heads == 5
    for mine, loaded in ((nets.dit, dit), (nets.vace, vace), (nets.text_encoder, text), (nets.vae, vae)):
        table, other = mine.state_dict(), loaded.state_dict()
        assert table.keys() == other.keys()
        assert all(torch.equal(table[key], other[key]) for key in table)
    ids = torch.arange(8)[None] + 5
    states = [net.eval()(ids, torch.ones_like(ids)) for net in (nets.text_encoder, text)]
    assert torch.equal(*states)
    video = torch.randn(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = [net.model.encode(video, net.scale) for net in (nets.vae, vae)]
        assert encoded[0].shape == (1, 16, 2, 4, 4) and torch.equal(*encoded)


def test_the_whole_way_runs_on_a_toy_scene(engine: Engine) -> None:
    made = world.scene(0)
    take = world.render(made.character, made.motion, seed=0, frames=9)
    picture = world.reference(made.character, made.motion, seed=0)
    renderer = Renderer(engine, draw_pose(take.track), picture)
    wanted = SampleSettings(steps=2, guidance=3.0, seed=1, width=96, height=96, frames=9)
    one, other = (renderer.render(world.caption(made.character, made.motion), wanted) for _ in range(2))
    assert one.frames.shape == (9, 96, 96, 3)
    assert np.array_equal(one.frames, other.frames)


def test_files_in_bfloat16_take_half(nets: Nets, tmp_path: Path) -> None:
    written = save_nets(nets, tmp_path / "one")
    again = save_nets(nets, tmp_path / "two")
    total = 0
    for one, other in zip(
        (written.transformer, written.vae, written.text_encoder),
        (again.transformer, again.vae, again.text_encoder),
        strict=True,
    ):
        assert Path(one).read_bytes() == Path(other).read_bytes()
        total += Path(one).stat().st_size
    write_tokenizer(training_texts(400), written.tokenizer)
    total += sum(file.stat().st_size for file in Path(written.tokenizer).iterdir())
    assert total < 12_000_000


def test_sizes_that_do_not_fit_are_refused() -> None:
    for wrong in ({"heads": 7}, {"vace_layers": (0, 9)}, {"vace_layers": (1, 2)}, {"text_heads": 7}, {"freq": 63}):
        with pytest.raises(SettingsError):
            NanoSizes(**wrong)  # type: ignore[arg-type]
