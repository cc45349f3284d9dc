"""Settings copied off the page lead back to the same cell."""

from __future__ import annotations

import shlex

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.arguments import parse_lora_use
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweep_report.copies import SOCKETS, comfy_graph, comfy_items, command_line, lora_text, settings_json
from s2v_core.sweeps.axes import Cell
from s2v_core.sweeps.scene import PoseSource, Scene
from s2v_core.wan.embedded import nano_files
from s2v_core.wan.engine import ModelFiles
from s2v_core.wan.settings import LATE, LoraUse, SampleSettings, options

SETTINGS = SampleSettings(
    steps=12,
    guidance=3.3,
    seed=2**62 + 1,
    width=96,
    height=96,
    frames=17,
    tiling=True,
    cfg_zero=True,
    solver="unipc",
    guidance_schedule="6x2, 3.5",
    step_cache=0.05,
    loras=(LoraUse("a b/dance.safetensors", 0.1, "self_attn=0.5, only vace", 2, 9), LoraUse("x.safetensors")),
)
SCENE = Scene(ModelFiles("t.safetensors", "v.safetensors", "e"), PoseSource("d'ance.mp4", 1.5), ("one.png", "two.png"))


def cell(settings=SETTINGS, scene=SCENE):
    return Cell("0" * 64, Prompt('it\'s a "dancer" $HOME\nin red', "blurry"), settings, (0,), ("all",), scene)


def read(line):
    """What ``s2v sample`` itself makes of a line."""
    from s2v_core.cli import app

    program, command, *words = shlex.split(line)
    assert (program, command) == ("s2v", "sample")
    sample = typer.main.get_command(app).commands["sample"]
    return sample.make_context("sample", words).params


def test_the_command_line_is_the_cells():
    said = read(command_line(cell(), Scene()))
    names = [entry.name for entry in options(SampleSettings)]
    loras = tuple(map(parse_lora_use, said["lora"]))
    assert SampleSettings.from_dict({name: said[name] for name in names} | {"loras": loras}) == SETTINGS
    assert (said["text"], said["negative"]) == (cell().prompt.text, "blurry")
    assert (str(said["clip"]), said["start"], said["pose_video"]) == ("d'ance.mp4", 1.5, None)
    assert [str(path) for path in said["reference"]] == ["one.png", "two.png"]
    assert [str(said[name]) for name in ("transformer", "vae", "text_encoder")] == [
        *("t.safetensors", "v.safetensors", "e")
    ]


def test_what_a_cell_does_not_know_is_the_sweeps_or_left_to_fill_in():
    own = cell(SampleSettings(), Scene())
    line = command_line(own, Scene(nano_files(), PoseSource("pose.mkv", drawn=True)))
    assert "--nano" in line and "--pose pose.mkv" in line and "--steps" not in line
    assert "--transformer TRANSFORMER --vae VAE --text-encoder TEXT_ENCODER" in command_line(own, Scene())
    # A cell whose axis says "none" has no pose, whatever the sweep has.
    assert "--pose" not in command_line(cell(scene=Scene(pose=PoseSource(""))), SCENE)


@given(
    strength=st.floats(-4, 4),
    scope=st.sampled_from(["", "only vace", "self_attn=0.5, ffn=0", "blocks 0-9=0.5"]),
    steps=st.tuples(st.integers(0, 40), st.integers(41, 90)),
    ramp=st.integers(0, 5),
    unmatched=st.booleans(),
)
def test_loras_are_read_as_they_are_said(strength, scope, steps, ramp, unmatched):
    use = LoraUse("folder/a;b: c.safetensors", strength, scope, *steps, ramp, 0, unmatched)
    if ";" not in use.file:
        assert parse_lora_use(lora_text(use)) == use
    plain = LoraUse("C:/loras/dance.safetensors", strength, scope, *steps, ramp, 0, unmatched)
    assert parse_lora_use(lora_text(plain)) == plain


def test_the_settings_come_back_from_json():
    import json

    said = json.loads(settings_json(cell()))
    assert SampleSettings.from_dict(said["settings"]) == SETTINGS
    assert said["prompt"] == cell().prompt.text


def test_the_graph_connects_the_loras_and_the_sampler():
    graph = comfy_graph(cell())
    sampler, first, second, note = graph["nodes"]
    assert [node["type"].removeprefix("Skeleton2Video_") for node in graph["nodes"]] == [
        *("WanVaceSampler", "WanVaceLora", "WanVaceLora", "Note")
    ]
    assert first["widgets_values"][:3] == ["dance.safetensors", 0.1, str(SETTINGS.loras[0].scope)]
    assert cell().prompt.text in note["widgets_values"][0]
    assert tuple(entry.name for entry in options(SampleSettings))[-len(LATE) :] == LATE, "in the order of the forms"
    values = dict(zip([entry.name for entry in options(SampleSettings)], _without_seed_control(sampler), strict=True))
    assert SampleSettings.from_dict({**values, "loras": SETTINGS.loras}) == SETTINGS
    by_id = {node["id"]: node for node in graph["nodes"]}
    for link, origin, out, target, socket, kind in graph["links"]:
        assert by_id[origin]["outputs"][out]["links"] == [link]
        assert by_id[target]["inputs"][socket] | {"link": link, "type": kind} == by_id[target]["inputs"][socket]
    assert [(origin, target) for _, origin, _, target, _, _ in graph["links"]] == [(2, 3), (3, 1)]
    assert second["inputs"][0]["link"] == 1 and [name for name, *_ in SOCKETS][4] == "loras"
    items = comfy_items(graph)
    assert items["links"][1] == {
        "id": 2,
        "origin_id": 3,
        "origin_slot": 0,
        "target_id": 1,
        "target_slot": 4,
        "type": "SKELETON2VIDEO_LORAS",
    }
    assert comfy_graph(cell(SampleSettings()))["links"] == []


def _without_seed_control(sampler):
    values = list(sampler["widgets_values"])
    seed = [entry.name for entry in options(SampleSettings)].index("seed")
    assert values.pop(seed + 1) == "fixed"
    late = values[-len(LATE) :]
    assert values[-len(LATE) - 2 : -len(LATE)] == ["none", 16.0]
    return [*values[: -len(LATE) - 2], *late]


def test_no_number_is_rounded_on_its_way_through_javascript():
    """The forms are texts in the page, so that a seed of 63 bits stays what it is."""
    from s2v_core.sweep_report.facts import _exact

    assert _exact(2**62 + 1) == str(2**62 + 1)
    assert _exact(2**53) == 2**53 and _exact(True) is True and _exact(0.1) == 0.1


@pytest.mark.parametrize("name", ["blocks 0-9=0.5", "only vace"])
def test_scopes_stay_one_word_of_the_line(name):
    use = LoraUse("dance.safetensors", 1.0, name)
    said = read(command_line(cell(SampleSettings(loras=(use,))), Scene()))
    assert parse_lora_use(said["lora"][0]) == use
