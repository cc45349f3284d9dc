from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import AXES, Axis, Base, Sweep, apply_axes, make_axis, make_part, zip_axes
from s2v_core.sweeps.parse import parse_values
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.scene import PoseSource, Scene
from s2v_core.wan.engine import ModelFiles
from s2v_core.wan.settings import LoraUse, SampleSettings, options

PROMPT = Prompt("a dancer", "blurry")
SETTINGS = SampleSettings(steps=4, loras=(LoraUse("a.safetensors", 1.0), LoraUse("b.safetensors", 0.5)))


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("guidance", [3, 2.5], ("guidance 3", "guidance 2.5")),
        ("steps", [8], ("steps 8",)),
        ("seed", [2**62 + 1], (f"seed {2**62 + 1}",)),
        ("control_strength", [0.05], ("control 0.05",)),
        ("lora_strength", [-1, 0.5], ("LoRA -1", "LoRA 0.5")),
        ("lora_scope", ["", {"ffn": 0.5}], ("LoRA scope all", "LoRA scope ffn=0.5")),
        ("lora_from_step", [0, 5], ("LoRA from step 0", "LoRA from step 5")),
        ("lora", [LoraUse("x/a.safetensors", 0.5, "only ffn")], ("LoRA file: a at 0.5 (only ffn)",)),
        ("prompt", [Prompt("x", variant="identity"), "a  man"], ("prompt: identity", "prompt: a man")),
        ("lora", ["none", "some/dance v2.safetensors"], ("LoRA file: none", "LoRA file: dance v2")),
        ("reference_strength", [0.5], ("reference 0.5",)),
        ("solver", ["unipc"], ("solver unipc",)),
        ("cfg_zero", [False, True], ("cfg zero off", "cfg zero on")),
        ("guidance_schedule", [[6, 6, 4], ""], ("guidance schedule 6x2, 4", "guidance schedule none")),
        ("preset", ["official"], ("preset official",)),
        ("lora_on", [False, True], ("LoRA off", "LoRA on")),
        ("size", ["832x480", (480, 832)], ("size 832x480", "size 480x832")),
        ("frames", [81, 17], ("frames 81", "frames 17")),
        ("lora_ramp_in", [3], ("LoRA ramp in 3",)),
        ("precision", ["diffsynth"], ("precision diffsynth",)),
        ("pose", ["a/walk.mp4", "pose: spin.mkv", "none"], ("pose: walk", "pose: spin", "pose: none")),
        ("pose", [PoseSource("walk.mp4", 1.5)], ("pose: walk from 1.5 s",)),
        (
            "reference",
            ["man.png", ["front.png", "side.png"], "none"],
            ("reference: man", "reference: front, side", "reference: none"),
        ),
        ("model", ["models/wan2.1_vace_1.3B.safetensors"], ("model: wan2.1_vace_1.3B",)),
        ("model", [ModelFiles("wan/diffusion_pytorch_model.safetensors", "v", "t")], ("model: wan",)),
    ],
)
def test_labels(name, values, labels):
    assert make_axis(name, values).labels == labels


def test_long_prompts_that_begin_alike_keep_labels_apart():
    start = "a dancer in a studio " * 8
    labels = make_axis("prompt", [start + "in red", start + "in blue"]).labels
    assert len(set(labels)) == 2
    assert all(len(label) < 100 for label in labels)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("guidence", [1], "guidance, steps, shift, seed, control_strength, prompt, lora, lora_strength"),
        ("guidance", [], "no values"),
        ("guidance", [1, 1.0], "same value twice"),
        ("guidance", [31], "from 0.0 to 30.0"),
        ("guidance", [float("nan")], "nan"),
        ("guidance", ["3"], "a number"),
        ("guidance", [True], "a number"),
        ("guidance", "12", "must be a list"),
        ("steps", [2.5], "a whole number"),
        ("seed", [-1], "from 0"),
        ("lora_strength", [5], "from -4.0 to 4.0"),
        ("lora_scope", ["only ffn", "only  FFN"], "same value twice"),
        ("lora_scope", ["attn=1"], "cannot hold 'attn'"),
        ("prompt", ["  "], "empty"),
        ("prompt", [Prompt("a", variant="x"), Prompt("a", variant="y")], "same value twice"),
        ("lora", [""], "LoRA file"),
        ("solver", ["heun"], "euler, unipc, dpm++"),
        ("cfg_zero", ["maybe"], "true or false"),
        ("guidance_schedule", ["5", "5x9"], "same value twice"),
        ("preset", ["kijai"], "official, diffsynth, comfyui"),
        ("guidanse", [1], "Did you mean guidance?"),
        ("lora_on", ["maybe"], "off (the base model) or on"),
        ("size", ["832"], "width x height"),
        ("size", ["832x480", [832, 480]], "same value twice"),
        ("pose", [""], "a dance clip"),
        ("pose", [PoseSource("a", -1)], "before its clip"),
        ("pose", ["pose:"], "behind pose:"),
        ("reference", [3], "needs pictures"),
        ("model", [None], "the folder of a whole model"),
    ],
)
def test_refused(name, values, said):
    with pytest.raises(SettingsError) as caught:
        make_axis(name, values)
    assert said in str(caught.value)


def test_labels_must_fit():
    with pytest.raises(SettingsError, match="one label a value"):
        make_axis("guidance", [1, 2], ["low"])
    with pytest.raises(SettingsError, match="same label twice"):
        make_axis("guidance", [1, 2], ["low", "low"])
    with pytest.raises(SettingsError):
        Axis("nothing", (1,), ("one",))


def test_each_axis_changes_its_one_thing():
    def applied(name, value):
        return apply_axes(Base(PROMPT, SETTINGS), {name: (make_axis(name, [value]).values[0], "label")})

    assert applied("guidance", 3)[1].guidance == 3
    assert applied("steps", 7)[1].steps == 7
    assert applied("shift", 8)[1].shift == 8
    assert applied("seed", 9)[1].seed == 9
    assert applied("control_strength", 0.5)[1].control_strength == 0.5
    assert applied("prompt", "a cat")[0] == Prompt("a cat", "blurry", variant="label")
    assert applied("prompt", Prompt("a cat"))[0] == Prompt("a cat")
    assert [use.strength for use in applied("lora_strength", 0.25)[1].loras] == [0.25, 0.25]
    assert [use.scope for use in applied("lora_scope", "only ffn")[1].loras] == ["only ffn"] * 2
    assert [use.from_step for use in applied("lora_from_step", 2)[1].loras] == [2, 2]
    assert [use.to_step for use in applied("lora_to_step", 2)[1].loras] == [2, 2]
    assert applied("lora", "c.safetensors")[1].loras == (LoraUse("c.safetensors", 1.0),)
    scoped = Base(PROMPT, SampleSettings(loras=(LoraUse("a", 0.5, "only ffn", from_step=3),)))
    swapped = apply_axes(scoped, {"lora": ("c", "")})[1].loras
    assert swapped == (LoraUse("c", 0.5, "only ffn", from_step=3),), "another file is used as the first one was"
    assert applied("lora", "none")[1].loras == ()
    assert applied("lora", LoraUse("c", 2.0))[1].loras == (LoraUse("c", 2.0),)
    assert applied("lora_on", False).settings == SampleSettings(steps=4)
    assert applied("lora_on", True).settings == SETTINGS
    assert [use.ramp_out for use in applied("lora_ramp_out", 2)[1].loras] == [2, 2]
    assert (applied("size", "64x32")[1].width, applied("size", "64x32")[1].height) == (64, 32)
    assert applied("frames", 17)[1].frames == 17
    for name, value in (("precision", "diffsynth"), ("fit", "crop"), ("tiling", True)):
        assert getattr(applied(name, value).settings, name) == value
    assert applied("pose", "a.mp4").scene == Scene(pose=PoseSource("a.mp4"))
    assert applied("pose", "none").scene == Scene(pose=PoseSource(""))
    assert applied("reference", "none").scene == Scene(reference=())
    assert applied("model", "wan").scene == Scene(model=ModelFiles("wan", "wan", "wan"))


def test_everything_in_the_settings_that_decides_pixels_is_an_axis():
    """And every field of a LoRA's use; width and height are one axis, leaving parts of a LoRA out is no experiment."""
    fields = {entry.name for entry in options(SampleSettings)} - {"width", "height"} | {"size"}
    uses = {f"lora_{entry.name}" for entry in options(LoraUse)} - {"lora_allow_unmatched"}
    assert fields | uses | {"preset", "prompt", "lora", "lora_on", "model", "pose", "reference"} == set(AXES)


def test_zipped_axes_vary_together_and_count_as_one():
    parts = (make_part("steps", [10, 20, 20]), make_part("guidance", [1, 1, 5]))
    axis = zip_axes(parts)
    assert (axis.name, axis.title, len(axis)) == ("steps + guidance", "steps + guidance", 3)
    assert axis.labels == ("steps 10, guidance 1", "steps 20, guidance 1", "steps 20, guidance 5")
    assert axis.picks(2) == {"steps": (20, "steps 20"), "guidance": (5.0, "guidance 5")}
    assert zip_axes(parts, ["draft", "plain", "final"]).labels == ("draft", "plain", "final")
    cells = plan(Sweep(PROMPT, SETTINGS, (axis, make_axis("seed", [0, 1]))), {}, str)
    assert [(cell.settings.steps, cell.settings.guidance, cell.settings.seed) for cell in cells] == [
        (10, 1, 0), (10, 1, 1), (20, 1, 0), (20, 1, 1), (20, 5, 0), (20, 5, 1),
    ]  # fmt: skip
    assert cells[4].labels == ("steps 20, guidance 5", "seed 0")
    with pytest.raises(SettingsError, match="equally many"):
        zip_axes((make_part("steps", [1, 2]), make_part("guidance", [1])))
    for wrong in (parts[:1], (parts[0], parts[0])):
        with pytest.raises(SettingsError, match="cannot be zipped"):
            zip_axes(wrong)
    with pytest.raises(SettingsError, match="same value twice"):
        zip_axes((make_part("steps", [1, 1]), make_part("guidance", [2, 2])))
    with pytest.raises(SettingsError, match="guidance 2 times"):
        Sweep(PROMPT, SETTINGS, (axis, make_axis("guidance", [1])))
    zipped = zip_axes((make_part("lora_strength", [1]), make_part("seed", [1])))
    with pytest.raises(SettingsError, match="no LoRA to act on"):
        Sweep(PROMPT, SampleSettings(), (zipped,))


def test_an_axis_over_scenes_needs_several_renderers():
    from s2v_core.sweeps.work import plan_cells

    class One:
        fingerprint = MappingProxyType({"control": "a"})

        def lora_sha256(self, file):
            return file

    sweep = Sweep(PROMPT, SETTINGS, (make_axis("pose", ["a.mp4", "b.mp4"]),))
    with pytest.raises(SettingsError, match="more than one renderer"):
        plan_cells(sweep, One())
    made = {}

    def pick(scene, settings):
        made.setdefault(scene, One()).fingerprint = {"control": scene.pose.file}
        return made[scene]

    cells = plan_cells(sweep, pick)
    assert [cell.scene.pose.file for cell in cells] == ["a.mp4", "b.mp4"]
    assert len({cell.id for cell in cells}) == len(made) == 2


def test_a_lora_is_chosen_before_its_strength_whatever_the_order():
    picks = {"lora_strength": (0.5, ""), "lora": ("c.safetensors", "")}
    for order in (picks, dict(reversed(picks.items()))):
        assert apply_axes(Base(PROMPT, SampleSettings()), order)[1].loras == (LoraUse("c.safetensors", 0.5),)


def test_sweeps_that_make_no_sense():
    guidance = make_axis("guidance", [1, 2])
    with pytest.raises(SettingsError, match="no axes"):
        Sweep(PROMPT, SETTINGS, ())
    with pytest.raises(SettingsError, match="guidance 2 times"):
        Sweep(PROMPT, SETTINGS, (guidance, guidance))
    with pytest.raises(SettingsError, match="no LoRA to act on"):
        Sweep(PROMPT, SampleSettings(), (make_axis("lora_strength", [0, 1]),))
    Sweep(PROMPT, SampleSettings(), (make_axis("lora_strength", [0, 1]), make_axis("lora", ["a"])))


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("guidance", "1, 2.5, 4", (1, 2.5, 4)),
        ("guidance", " 1;2.5\n4 ,", (1, 2.5, 4)),
        ("steps", "1..8 step 1", tuple(range(1, 9))),
        ("steps", "1..8 step 3, 30", (1, 4, 7, 30)),
        ("steps", "3..1", (3, 2, 1)),
        ("guidance", "1:7:1", (1, 2, 3, 4, 5, 6, 7)),
        ("guidance", "1 : 2 : .5, 7", (1, 1.5, 2, 7)),
        ("steps", "10:50:10 60", (10, 20, 30, 40, 50, 60)),
        ("steps", "3:1", (3, 2, 1)),
        ("lora_strength", "-0.5:.5:.5", (-0.5, 0, 0.5)),
        ("lora_on", "base, lora", (False, True)),
        ("lora_on", "on off", (True, False)),
        ("size", "832x480 480X832", ((832, 480), (480, 832))),
        ("frames", "5:13:4", (5, 9, 13)),
        ("reference", "man.png\n[two] a b.png\nnone", (("man.png",), ("a b.png",), ())),
        ("pose", "walk.mp4\npose: spin.mkv", (PoseSource("walk.mp4"), PoseSource("spin.mkv", drawn=True))),
        ("lora_ramp_in", "0, 4", (0, 4)),
        ("lora_strength", "0..1 step 0.1", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        ("lora_strength", "-0.5 .. .5 STEP .5", (-0.5, 0, 0.5)),
        ("lora_scope", "all\nonly self_attn, blocks 0-1=0\nffn=0", ("", "only self_attn, blocks 0-1=0", "ffn=0")),
        ("lora_to_step", "2..6 step 2", (2, 4, 6)),
        ("seed", str(2**63 - 1), (2**63 - 1,)),
        ("prompt", "a man, dancing\n\n  a cat: tall ", ("a man, dancing", "a cat: tall")),
        ("lora", "none\nmy loras/a.safetensors", ("none", "my loras/a.safetensors")),
        ("solver", "euler, unipc dpm++", ("euler", "unipc", "dpm++")),
        ("preset", "official;comfyui", ("official", "comfyui")),
        ("mask_edge", "soft hard", ("soft", "hard")),
        ("cfg_zero", "off, ON", (False, True)),
        ("guidance_schedule", "6, 6, 4\n6x10, 1", ("6x2, 4", "6x10, 1")),
        ("reference_strength", "0..1 step 0.5", (0, 0.5, 1)),
        ("denoise", "0.4, 1", (0.4, 1)),
        ("guidance_to", "2, 4, 200", (2, 4, 200)),
    ],
)
def test_typed_values(name, text, values):
    assert parse_values(name, text).values == values


def test_typed_labels():
    assert parse_values("prompt", "[identity] a man\na cat").labels == ("prompt: identity", "prompt: a cat")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("guidance", "", "no values"),
        ("guidance", "a, 2", "'a' is not a value of guidance"),
        ("guidance", "1..", "'1..' is not"),
        ("guidance", "1..5 step 0", "never ends"),
        ("guidance", "1:5:0", "never ends"),
        ("guidance", "1:", "'1:' is not"),
        ("guidance", "1:2:3:4", "is not a value"),
        ("guidance", "1:x", "'x' is not"),
        ("guidance", "1:9e99", "too many"),
        ("frames", "16", "4n + 1"),
        ("size", "830x480", "830 x 480"),
        ("lora_on", "perhaps", "off (the base model)"),
        ("guidance", "1..9e99", "too many"),
        ("guidance", "1..5 step 1e-999999", "too many"),
        ("guidance", "inf", "'inf'"),
        ("steps", "1.5", "whole number"),
        ("steps", "1e999999", "whole number"),
        ("nothing", "1", "no axis called"),
        ("prompt", " \n ", "no values"),
    ],
)
def test_typed_nonsense(name, text, said):
    with pytest.raises(SettingsError) as caught:
        parse_values(name, text)
    assert said in str(caught.value)


@given(st.sampled_from(sorted(AXES)), st.text(alphabet="0123456789.-+eE, :;\nstepabc[]∞", max_size=40))
def test_any_text_gives_an_axis_or_a_settings_error(name, text):
    try:
        axis = parse_values(name, text)
    except SettingsError:
        return
    assert len(axis.values) == len(axis.labels) == len(set(axis.labels)) > 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=8, unique=True))
def test_typed_numbers_round_trip(values):
    assert parse_values("guidance", ", ".join(map(repr, values))).values == tuple(values)
