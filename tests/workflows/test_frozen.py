"""What counts as broken for saved graphs, and the drawing of graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workflows.make.frozen import broken, freeze, read_forms, write_forms
from workflows.make.graph import Graph
from workflows.make.locale import SPECIAL, node_defs, unknown_keys
from workflows.make.needs import passes
from workflows.make.readme import filled, said_size
from workflows.make.schemas import CORE, Field, Output, Schema

NODE = Schema(
    "Skeleton2Video_Toy",
    "Toy",
    (
        Field("pose", "POSE"),
        Field("steps", "INT", default=30, low=1, high=200),
        Field("seed", "INT", default=0, seed=True),
        Field("fit", "COMBO", optional=True, default="crop", choices=("crop", "letterbox")),
        Field("mask", "MASK", optional=True),
    ),
    (Output("frames", "IMAGE"), Output("notes", "STRING")),
    "Skeleton2Video/toy",
    "A toy.",
)


def with_fields(*fields: Field) -> dict[str, Schema]:
    return {NODE.type: replace(NODE, fields=fields)}


OLD = {NODE.type: NODE}
POSE, STEPS, SEED, FIT, MASK = NODE.fields


def test_the_same_forms_and_added_ones_break_nothing() -> None:
    more = Field("scale", "FLOAT", optional=True, default=1.0)
    assert not broken(OLD, OLD)
    assert not broken(OLD, with_fields(*NODE.fields, more))
    assert not broken(OLD, with_fields(*NODE.fields, Field("clip", "IMAGE", optional=True)))
    assert not broken(
        OLD, with_fields(POSE, replace(STEPS, high=300), SEED, replace(FIT, choices=("crop", "letterbox", "pad")), MASK)
    )
    assert not broken(OLD, {**OLD, "Skeleton2Video_Other": NODE})
    assert not broken(OLD, {NODE.type: replace(NODE, outputs=(*NODE.outputs, Output("audio", "AUDIO")))})


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({}, "is gone"),
        (with_fields(POSE, SEED, STEPS, FIT, MASK), "became seed, steps, fit"),
        (with_fields(POSE, STEPS, SEED, MASK), "would be read as"),
        (with_fields(POSE, STEPS, Field("new", "INT", optional=True, default=1), SEED, FIT, MASK), "would be read as"),
        (with_fields(POSE, STEPS, replace(SEED, seed=False), FIT, MASK), "would be read as"),
        (with_fields(STEPS, SEED, FIT, MASK), "inputs pose, mask became mask"),
        (with_fields(*NODE.fields, Field("model", "MODEL")), "model is new and must be optional"),
        (with_fields(POSE, STEPS, SEED, replace(FIT, optional=False), MASK), "fit: was optional"),
        (with_fields(POSE, STEPS, SEED, replace(FIT, choices=("crop",)), MASK), "no choice letterbox"),
        (with_fields(POSE, replace(STEPS, type="FLOAT"), SEED, FIT, MASK), "INT became FLOAT"),
        (with_fields(POSE, replace(STEPS, low=2), SEED, FIT, MASK), "takes 2 to 200, no longer 1 to 200"),
        ({NODE.type: replace(NODE, outputs=NODE.outputs[::-1])}, "outputs"),
        ({NODE.type: replace(NODE, outputs=NODE.outputs[:1])}, "outputs"),
    ],
)  # fmt: skip
def test_what_saved_graphs_would_lose_is_said(new: dict[str, Schema], said: str) -> None:
    assert said in "\n".join(broken(OLD, new))


def test_forms_come_back_from_their_file(tmp_path: Path) -> None:
    write_forms(tmp_path / "schemas.json", {**OLD, **CORE})
    read = read_forms(tmp_path / "schemas.json")
    assert list(read) == [NODE.type], "the host's own nodes are not ours to keep"
    assert not broken(OLD, read) and not broken(read, OLD)


def test_a_release_is_frozen_once(tmp_path: Path) -> None:
    kept = freeze("9.9", OLD, tmp_path)
    assert (kept / "quick_look.json").is_file() and (kept / "api" / "quick_look.json").is_file()
    with pytest.raises(FileExistsError):
        freeze("9.9", OLD, tmp_path)


def test_graphs_are_laid_out_and_say_the_same_in_both_forms() -> None:
    graph = Graph("toy", {**OLD, **CORE})
    graph.note("A toy", "It toys.")
    graph.group("1  First")
    first = graph.add("Toy", steps=7)
    graph.add("PreviewImage", tall=200, images=first["frames"])
    graph.column()
    second = graph.add("Toy", off=True)
    graph.group("2  Below", below=True)
    graph.add("Toy", fit="letterbox")
    drawn = graph.drawn()
    assert [node["id"] for node in drawn["nodes"]] == [1, 2, 3, 4, 5]
    assert drawn["links"] == [[1, 2, 0, 3, 0, "IMAGE"]]
    assert drawn["nodes"][1]["widgets_values"] == [7, 0, "fixed", "crop"]
    assert [node["mode"] for node in drawn["nodes"]] == [0, 0, 0, 2, 0]
    first_box, second_box = (group["bounding"] for group in drawn["groups"])
    assert first_box[0] == second_box[0] and first_box[1] + first_box[3] < second_box[1]
    assert graph.drawn() == drawn, "drawn again, nothing moves"
    api = graph.api()
    assert second.off and set(api) == {"2", "3", "5"}
    assert api["2"]["inputs"] == {"steps": 7, "seed": 0, "fit": "crop"}
    assert api["3"]["inputs"] == {"images": ["2", 0]}


def test_what_a_graph_cannot_be_is_refused() -> None:
    graph = Graph("toy", {**OLD, **CORE})
    graph.group("1")
    toy = graph.add("Toy")
    with pytest.raises(KeyError, match="no input 'stepz'; it has pose, steps"):
        graph.add("Toy", stepz=1)
    with pytest.raises(KeyError, match="no output 'video'"):
        toy["video"]
    with pytest.raises(ValueError, match="no choice 'pad'"):
        graph.add("Toy", fit="pad")
    with pytest.raises(ValueError, match="takes POSE, not IMAGE"):
        graph.add("Toy", pose=toy["frames"])


@pytest.mark.parametrize("text", ["{x}", "me@home", "a | b", "$5"])
def test_texts_that_the_browser_would_misread_are_refused(text: str) -> None:
    assert SPECIAL.search(text)
    with pytest.raises(ValueError, match="would misread"):
        node_defs({NODE.type: replace(NODE, description=text)})


def test_keys_that_there_are_not_are_found_in_a_translation() -> None:
    english = {"A": {"display_name": "a", "inputs": {"x": {"tooltip": "t"}}}}
    assert unknown_keys({"A": {"inputs": {"x": {"tooltip": "T"}}}}, english) == []
    assert unknown_keys({"B": {}, "A": {"inputs": {"y": {}}, "title": ""}}, english) == ["B", "A.inputs.y", "A.title"]
    assert unknown_keys({"A": "a"}, english) == ["A"]


def test_small_things() -> None:
    assert [passes(50, 1), passes(50, 5.0)] == [50, 100]
    assert [said_size(size) for size in (123_792, 134_399_116, 1_635_778_560)] == ["0.1 MB", "134 MB", "1.6 GB"]
    assert (
        filled("a\n<!-- table: x -->\nold\n<!-- end -->\nb", {"x": "new\n"})
        == "a\n<!-- table: x -->\nnew\n<!-- end -->\nb"
    )
    with pytest.raises(ValueError, match="0 places for the table x"):
        filled("nothing", {"x": ""})
