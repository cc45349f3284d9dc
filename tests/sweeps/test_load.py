from __future__ import annotations

import contextlib
import textwrap

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps import load
from s2v_core.sweeps.load import SweepFile, dump_sweep, load_sweep
from s2v_core.sweeps.scene import PoseSource, Scene
from s2v_core.wan.engine import ModelFiles
from s2v_core.wan.settings import LoraUse


def example() -> str:
    """The full example of the documentation, itself."""
    return textwrap.dedent(load.__doc__.split("::\n", 1)[1].split("\nEvery path")[0])


def written(tmp_path, text: str):
    path = tmp_path / "my sweep.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_the_documented_example_is_read_in_full(tmp_path):
    file = load_sweep(written(tmp_path, example()))
    assert file.name == "guidance against LoRA"
    assert file.inputs.clip == tmp_path / "clips/gBR_sBM_c01_d04_mBR0_ch01.mp4"
    assert file.inputs.start == 1.5
    assert file.models.tokenizer == tmp_path / "models/umt5-xxl"
    assert file.out == tmp_path / "out/guidance"
    assert file.base_prompt() is None
    settings = file.sample_settings()
    assert (settings.steps, settings.width) == (20, 832)
    lora = str(tmp_path / "loras/dance.safetensors")
    assert settings.loras == (LoraUse(lora, 1.0, "only self_attn", from_step=5),)
    sweep = file.sweep(Prompt("built", "bad"))
    assert [axis.name for axis in sweep.axes] == ["guidance", "lora_strength", "seed", "prompt"]
    assert [len(axis) for axis in sweep.axes] == [3, 5, 2, 2]
    assert sweep.axes[2].labels == ("seed: usual", "seed: other")
    assert sweep.axes[3].values == (
        "A woman dances.",
        Prompt("A man with wavy black hair dances.", "bald", variant="identity"),
    )
    with pytest.raises(SettingsError, match="must be built first"):
        file.sweep()


def test_one_or_several_references_a_mask_and_a_start_clip(tmp_path):
    text = """
        prompt: A woman dances.
        inputs: {reference: %s, mask: m.png, start_clip: draft.mp4}
        axes: {seed: [1, 2]}
    """
    one = load_sweep(written(tmp_path, text % "a.png"))
    assert one.inputs.references == (tmp_path / "a.png",)
    several = load_sweep(written(tmp_path, text % "[a.png, sub/b.png]"))
    assert several.inputs.references == (tmp_path / "a.png", tmp_path / "sub/b.png")
    assert (several.inputs.mask, several.inputs.start_clip) == (tmp_path / "m.png", tmp_path / "draft.mp4")
    assert load_sweep(dump_sweep(several, tmp_path / "again.yaml")) == several
    assert load_sweep(written(tmp_path, "prompt: a\naxes: {seed: [1]}\n")).inputs.references == ()


def test_lora_axis_paths_lie_beside_the_file(tmp_path):
    text = """
        prompt: {text: a, negative: b, label: base}
        axes:
          lora: [none, sub/x.safetensors, {file: ../y.safetensors, strength: 0.5, label: mine}, {value: z, label: last}]
    """
    file = load_sweep(written(tmp_path, text))
    sweep = file.sweep()
    assert sweep.prompt == Prompt("a", "b", variant="base")
    assert sweep.axes[0].values == (
        "none",
        str(tmp_path / "sub/x.safetensors"),
        LoraUse(str(tmp_path.parent / "y.safetensors"), 0.5),
        str(tmp_path / "z"),
    )
    assert sweep.axes[0].labels == ("LoRA file: none", "LoRA file: x", "LoRA file: mine", "LoRA file: last")


def test_a_prompt_axis_is_prompt_enough(tmp_path):
    file = load_sweep(written(tmp_path, "axes:\n  prompt: |\n    [one] A man.\n    A cat.\nnegative: ugly\n"))
    sweep = file.sweep()
    assert sweep.prompt == Prompt("", "ugly")
    assert sweep.axes[0].labels == ("prompt: one", "prompt: A cat.")


BASE = "subject: x\naxes: {seed: 1}\n"
BAD = {
    "": "holds no keys",
    "just words": "holds no keys",
    "axes: [1": "line 1: this is not YAML",
    "a: !!python/object/apply:os.system [x]": "line 1: this is not YAML",
    BASE + "nmae: x": "line 3: nmae: there is no key 'nmae'",
    BASE + "name: a\nname: b": "line 4: name: the key 'name' is given twice",
    BASE + "settings:\n  steps: 4\n  steps: 5": "line 5: settings.steps: the key 'steps' is given twice",
    BASE + "inputs:\n  clpi: a": "Did you mean clip?",
    BASE + "inputs: {clip: a, pose: b}": "line 3: inputs: give a clip or a pose video, not both",
    BASE + "inputs: {start: -1}": "line 3: inputs.start",
    BASE + "models: {transformer: a, vae: b}": "line 3: models.text_encoder: the key 'text_encoder' is missing",
    BASE + "settings: {stps: 1}": "line 3: settings.stps: Unknown setting",
    BASE + "settings:\n  seed: 1\n  steps: many": "line 5: settings.steps: The setting steps cannot be 'many'",
    BASE + "settings: {width: 100, height: 64}": "settings: The size 100 x 64",
    BASE + "settings:\n  loras:\n  - fil: a": "line 5: settings.loras.1.fil: there is no key 'fil'",
    BASE + "settings:\n  loras:\n  - {file: a, strength: 9}": "from -4.0 to 4.0",
    BASE + "settings:\n  loras:\n  - {file: a, strength: }": "The setting strength cannot be None",
    BASE + "settings:\n  loras:\n  - {file: a, scope: attn=1}": "cannot hold 'attn'",
    BASE + "settings:\n  loras:\n  - {file: a, from_step: 5, to_step: 2}": "no step to act in",
    BASE + "prompt: y": "give a prompt or a subject, not both",
    "axes: {seed: 1}": "a prompt, a subject or a prompt axis is missing",
    "subject: x": "the key 'axes' is missing",
    "subject: x\naxes: {}": "line 2: axes: This sweep has no axes",
    "subject: x\naxes:\n  guidence: 1": "line 3: axes.guidence: There is no axis called 'guidence'",
    "subject: x\naxes:\n  seed: 1\n  guidance: [1, 99]": "line 4: axes.guidance: The setting guidance cannot be 99",
    "subject: x\naxes:\n  guidance: 1..x": "line 3: axes.guidance: 'x' is not a value",
    "subject: x\naxes:\n  guidance: [[1]]": "line 3: axes.guidance: The setting guidance cannot be [1]",
    "subject: x\naxes:\n  prompt: [{txt: a}]": "Did you mean text?",
    "subject: x\naxes:\n  seed: [{label: a}]": "the key 'value' is missing",
    "subject: x\naxes: {lora_strength: [0, 1]}": "no LoRA to act on",
    "subject: x\naxes: {lora_scope: only ffn}": "The axis lora_scope has no LoRA to act on",
    "subject: x\naxes: {1: 2}": "line 2: axes: a key must be a text",
    "subject: x\naxes: &a {seed: *a}": "line 2: axes.seed",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        load_sweep(written(tmp_path, text))
    assert str(caught.value).startswith("my sweep.yaml")
    assert BAD[text] in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_sweep(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_sweep(tmp_path / "latin.yaml")


def test_nested_aliases_take_no_time(tmp_path):
    """A file that would expand to a billion entries."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(SettingsError, match="there is no key 'a0'"):
        load_sweep(written(tmp_path, "\n".join(lines)))


def test_dumped_and_loaded_again(tmp_path):
    file = load_sweep(written(tmp_path, example()))
    path = dump_sweep(file, tmp_path / "again.yaml")
    assert load_sweep(path) == file
    assert str(tmp_path) not in path.read_text()
    other = tmp_path / "elsewhere"
    assert load_sweep(dump_sweep(file, other / "far.yaml")) == file


words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
    lambda text: text.strip()
)
names = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?\.safetensors", fullmatch=True)


@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=words,
    subject=words,
    guidance=st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True),
    prompts=st.lists(words.map(str.strip), min_size=1, max_size=3, unique=True),
    settings=st.fixed_dictionaries({}, optional={"steps": st.integers(1, 200), "shift": st.floats(0.1, 100)}),
    loras=st.lists(
        st.fixed_dictionaries(
            {"file": names},
            optional={
                "strength": st.floats(-4, 4),
                "scope": st.sampled_from(["only ffn", {"self_attn": 0.5, "only": ["blocks 0-9"]}, "all"]),
                "from_step": st.integers(0, 20),
                "ramp_in": st.integers(0, 5),
                "allow_unmatched": st.booleans(),
            },
        ),
        max_size=2,
    ),
)
def test_any_sweep_file_survives_the_way_round(tmp_path, name, subject, guidance, prompts, settings, loras):
    import yaml

    values = {
        "name": name,
        "subject": subject,
        "settings": {**settings, "loras": loras},
        "axes": {"guidance": guidance, "prompt": prompts},
    }
    source = tmp_path / "source.yaml"
    source.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    file = load_sweep(source)
    assert isinstance(file, SweepFile)
    assert load_sweep(dump_sweep(file, tmp_path / "copy.yaml")) == file
    prompt = Prompt("built")
    assert load_sweep(tmp_path / "copy.yaml").sweep(prompt) == file.sweep(prompt)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="axes: {}[]&*!|->?,\n'\"#%@01subjectprmo", max_size=60))
def test_any_text_is_a_sweep_or_a_settings_error(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(SettingsError):
        load_sweep(path)


def test_zips_and_axes_over_files(tmp_path):
    text = """
        subject: a man
        settings: {loras: [{file: sub/dance.safetensors}]}
        inputs: {clip: own.mp4, start: 2, reference: own.png}
        axes:
          zip:
            label: [quick, slow]
            steps: [10, 40]
            guidance: [1, 5]
          pose:
            - walk.mp4
            - {clip: sub/spin.mp4, start: 1.5, label: spin}
            - {pose: drawn.mkv}
            - "pose: other.mkv"
            - none
          reference:
            [man.png, [front.png, side.png], {files: [a.png], label: alone}, {value: b.png, label: other}, none]
          model:
            - {transformer: t, vae: v, text_encoder: e, label: small}
            - wan
          lora_on: [off, on]
    """
    file = load_sweep(written(tmp_path, text))
    sweep = file.sweep(Prompt("built"))
    zipped, pose, reference, model, lora_on = sweep.axes
    assert zipped.labels == ("quick", "slow")
    assert zipped.picks(1) == {"steps": (40, "steps 40"), "guidance": (5.0, "guidance 5")}
    here = str(tmp_path)
    assert pose.values == (
        PoseSource(f"{here}/walk.mp4"),
        PoseSource(f"{here}/sub/spin.mp4", 1.5),
        PoseSource(f"{here}/drawn.mkv", drawn=True),
        PoseSource(f"{here}/other.mkv", drawn=True),
        PoseSource(""),
    )
    assert pose.labels == ("pose: walk", "pose: spin", "pose: drawn", "pose: other", "pose: none")
    assert reference.values == (
        (f"{here}/man.png",),
        (f"{here}/front.png", f"{here}/side.png"),
        (f"{here}/a.png",),
        (f"{here}/b.png",),
        (),
    )
    assert reference.labels[2:] == ("reference: alone", "reference: other", "reference: none")
    assert model.values == (
        ModelFiles(f"{here}/t", f"{here}/v", f"{here}/e"),
        ModelFiles(f"{here}/wan", f"{here}/wan", f"{here}/wan"),
    )
    assert model.labels == ("model: small", "model: wan")
    assert lora_on.values == (False, True)
    assert sweep.scene == Scene(None, PoseSource(f"{here}/own.mp4", 2.0), (f"{here}/own.png",), "", "")
    again = load_sweep(dump_sweep(file, tmp_path / "again.yaml"))
    assert again.sweep(Prompt("built")) == sweep
    assert file.varied() == {"steps", "guidance", "pose", "reference", "model", "lora_on"}


def test_ranges_are_ranges_also_where_yaml_would_count_to_the_base_of_60(tmp_path):
    text = """
        prompt: a
        axes:
          seed: 1:7:2
          guidance: [1:3, 5, 6..7]
          steps: 10:20:10, 50
          zip: [{shift: 1:2, frames: [5, 9]}]
    """
    sweep = load_sweep(written(tmp_path, text)).sweep()
    assert [axis.values for axis in sweep.axes] == [
        (1, 3, 5, 7),
        (1, 2, 3, 5, 6, 7),
        (10, 20, 50),
        ((1.0, 5), (2.0, 9)),
    ]


BAD_AXES = {
    "zip: 3": "axes.zip: zip holds no axes",
    "zip: {steps: [1, 2]}": "cannot be zipped",
    "zip: {steps: [1, 2], guidance: [1]}": "axes.zip: Axes that are zipped must have equally many values",
    "zip: {steps: [1, 2], guidence: [1, 2]}": "Did you mean guidance?",
    "zip: {steps: [1, 2], guidance: [1, 99]}": "axes.zip.guidance: The setting guidance cannot be 99",
    "zip: [{steps: [1, 2], seed: [1, 2]}, {shift: [1, x], fit: [crop, letterbox]}]": "axes.zip.2.shift: 'x' is not",
    "zip: {label: [a], steps: [1, 2], guidance: [1, 2]}": "one text for each place",
    "zip: {label: [a, a], steps: [1, 2], guidance: [1, 2]}": "same label twice",
    "guidance: 1\n  zip: {steps: [1, 2], guidance: [1, 2]}": "the axis guidance 2 times",
    "pose: [{clip: a, pose: b}]": "give a clip or a pose video",
    "pose: [{clpi: a}]": "Did you mean clip?",
    "reference: [{files: []}]": "axes.reference",
    "model: [{transformer: a, vae: b}]": "the key 'text_encoder' is missing",
    "frames: [16]": "4n + 1",
    "size: 100x100": "100 x 100",
    "lora_on: [off, on]": "no LoRA to act on",
}


@pytest.mark.parametrize("axes", BAD_AXES)
def test_what_is_wrong_with_an_axis_is_said_with_its_place(tmp_path, axes):
    with pytest.raises(SettingsError) as caught:
        load_sweep(written(tmp_path, f"subject: x\naxes:\n  {axes}\n"))
    assert BAD_AXES[axes] in str(caught.value)


def test_a_wrong_setting_names_the_nearest_right_one(tmp_path):
    with pytest.raises(SettingsError, match="Did you mean guidance"):
        load_sweep(written(tmp_path, "subject: x\naxes: {seed: 1}\nsettings: {gudance: 3}\n"))


def test_the_nano_models_lora_has_a_name(tmp_path, monkeypatch):
    from s2v_core.errors import ModelFileError
    from s2v_core.wan import embedded

    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    text = "prompt: a\nsettings: {loras: [{file: nano:article}]}\naxes: {lora: [none, nano:article]}\n"
    with pytest.raises(ModelFileError, match="no LoRA of the preset 'article'"):
        load_sweep(written(tmp_path, text))
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "aist-like-article.safetensors").write_bytes(b"")
    sweep = load_sweep(written(tmp_path, text)).sweep()
    path = str(tmp_path / "loras" / "aist-like-article.safetensors")
    assert sweep.settings.loras == (LoraUse(path),)
    assert sweep.axes[0].values == ("none", path)
