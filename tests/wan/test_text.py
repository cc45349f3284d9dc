"""The tokenizer, from wherever it comes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import ModelFileError, SettingsError
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.text import encode_text, find_tokenizer, fit_states, load_tokenizer, token_ids, tokenizer_files
from tests.wan import other_layouts

TEXTS = [
    "a man is dancing on a stage",
    "  two   spaces\tand\nlines  ",
    "naïve café — “x” …",
    "ﬁne ｆｕｌｌ ½ ²",
    "舞蹈 灯光 龘",
    "emoji 🕺🏽 here",
    "</s> a <pad> b <unk>",
    "",
    "A MAN",
    "a  ̈b ¨ c",
    "&amp; &lt;b&gt; &amp;amp;",
    "it â€™ s broken Unicode",
    "▁a ▁ b",
    "a\u200bb \ufeff c\u00a0d \u3000e",
    "e\u0301 é",
    "<dance> hip hop x<dance>",
]


def cleaned(text):
    from diffsynth.models.wan_video_text_encoder import basic_clean, whitespace_clean

    return whitespace_clean(basic_clean(text))


def write_folder(folder, model):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    return folder


@pytest.mark.parametrize("options", [{}, {"user_defined_symbols": ["<dance>"]}], ids=["plain", "user-defined symbols"])
def test_a_sentencepiece_model_gives_the_ids_of_the_official_class(tmp_path, options):
    from transformers import T5Tokenizer

    folder = write_folder(tmp_path, other_layouts.sentencepiece_model(**options))
    official, ours = T5Tokenizer.from_pretrained(folder), load_tokenizer(find_tokenizer("", str(folder)))
    for text in TEXTS:
        wanted = official(cleaned(text)).input_ids
        assert token_ids(ours, text) == wanted
        assert wanted[-1] == ours.eos_token_id == 1
    assert len(ours) == len(official)
    assert ours.pad_token_id == 0


def test_unknown_characters_become_what_the_model_says(tmp_path):
    """umT5's own kind of model: <s> and <unk> as 2 and 3, and bytes for unknown characters.

    ``T5Tokenizer`` takes 2 for unknown, whatever the model says; sentencepiece itself is the measure here, as in
    ComfyUI. It does not know special tokens in a text, which the official class does.
    """
    import sentencepiece

    data = other_layouts.sentencepiece_model(bos_id=2, unk_id=3, byte_fallback=True)
    (tmp_path / "spiece.model").write_bytes(data)
    ours = load_tokenizer(str(tmp_path / "spiece.model"))
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data, add_eos=True)
    for text in TEXTS:
        if "</s>" not in text:
            assert token_ids(ours, text) == theirs.encode(cleaned(text))
    assert len(token_ids(ours, "龘")) == 1 + 3 + 1, "three bytes"


def test_the_folder_of_tokenizer_json_gives_what_diffsynth_gives(tiny, pipeline):
    ours = load_tokenizer(find_tokenizer(tiny.text_encoder))
    for text in TEXTS:
        ids, mask = pipeline.tokenizer(text, return_mask=True, add_special_tokens=True)
        assert token_ids(ours, text) == ids[0, : int(mask.sum())].tolist()


def test_text_states_are_diffsynth_s(engine, pipeline):
    from diffsynth.pipelines.wan_video import WanVideoUnit_PromptEmbedder

    for text in ("a man is dancing", "", "unknown 🕺 signs"):
        wanted = WanVideoUnit_PromptEmbedder().encode_prompt(pipeline, text)
        assert torch.equal(engine.text_states(text), wanted)


def test_a_text_that_is_too_long(engine):
    with pytest.raises(SettingsError, match="at most 512 tokens"):
        encode_text(engine.use("text_encoder")[0], engine.tokenizer, "dance " * 600, "cpu")


def test_places_of_a_tokenizer(tiny, tmp_path):
    model = other_layouts.sentencepiece_model()
    assert find_tokenizer(tiny.text_encoder) == tiny.tokenizer
    assert find_tokenizer("somewhere/t5.safetensors", tiny.tokenizer) == tiny.tokenizer
    with pytest.raises(ModelFileError, match="tokenizer of the text encoder was not found"):
        find_tokenizer(str(tmp_path / "t5.safetensors"))
    with pytest.raises(ModelFileError, match="not found"):
        find_tokenizer(tiny.text_encoder, str(tmp_path))
    # In the diffusers layout each part has a folder.
    write_folder(tmp_path / "tokenizer", model)
    net = other_layouts.randomise(other_layouts.hugging_face_umt5())
    net.save_pretrained(tmp_path / "text_encoder")
    wanted = str(tmp_path / "tokenizer" / "spiece.model")
    for chosen in ("text_encoder", "text_encoder/model.safetensors", "."):
        assert find_tokenizer(str(tmp_path / chosen)) == wanted
    assert find_tokenizer("", wanted) == wanted
    # What is inside the file comes before what is beside it, and what was named before both.
    path = other_layouts.write_comfyui_umt5(tmp_path / "umt5.safetensors", net, model)
    assert find_tokenizer(path) == path
    assert find_tokenizer(path, tiny.tokenizer) == tiny.tokenizer


def test_the_tokenizer_inside_comfyui_s_file(tmp_path):
    model = other_layouts.sentencepiece_model()
    (tmp_path / "spiece.model").write_bytes(model)
    net = other_layouts.hugging_face_umt5()
    path = other_layouts.write_comfyui_umt5(tmp_path / "umt5.safetensors", net, model)
    inside, beside = load_tokenizer(path), load_tokenizer(str(tmp_path / "spiece.model"))
    assert all(token_ids(inside, text) == token_ids(beside, text) for text in TEXTS)
    assert tokenizer_files(path) == []
    assert tokenizer_files(str(tmp_path / "spiece.model")) == [tmp_path / "spiece.model"]


@pytest.mark.parametrize("data", [b"", b"no model", bytes(range(256))])
def test_a_broken_sentencepiece_model(tmp_path, data):
    (tmp_path / "spiece.model").write_bytes(data)
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path / "spiece.model"))


def test_a_sentencepiece_model_of_another_kind(tmp_path):
    import io

    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(other_layouts.SENTENCES * 5),
        model_writer=written,
        vocab_size=80,
        model_type="bpe",
        minloglevel=2,
    )
    (tmp_path / "spiece.model").write_bytes(written.getvalue())
    with pytest.raises(ModelFileError, match="unigram"):
        load_tokenizer(str(tmp_path / "spiece.model"))


def test_a_broken_folder(tiny, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_engine(ModelFiles(tiny.transformer, tiny.vae, tiny.text_encoder, str(tmp_path)), device="cpu")


@pytest.mark.parametrize("rows", [100, 2000])
def test_a_tokenizer_of_another_model(tiny, tmp_path, rows):
    tensors = load_file(tiny.text_encoder)
    embedding = tensors["token_embedding.weight"]
    tensors["token_embedding.weight"] = embedding.repeat(4, 1)[:rows].contiguous()
    save_file(tensors, tmp_path / "t5.safetensors")
    files = ModelFiles(tiny.transformer, tiny.vae, str(tmp_path / "t5.safetensors"), tiny.tokenizer)
    with pytest.raises(SettingsError, match="tokenizer and the text encoder do not belong together"):
        load_engine(files, device="cpu")


def test_states_of_another_program_are_fitted():
    states = torch.arange(1.0, 11.0).reshape(1, 5, 2)
    fitted = fit_states(states, 2)
    assert fitted.shape == (1, 512, 2)
    assert torch.equal(fitted[:, :5], states)
    assert not fitted[:, 5:].any()
    padded = torch.cat([states, torch.zeros(1, 600, 2)], dim=1)
    assert torch.equal(fit_states(padded, 2), fitted), "zeros behind 512 are padding"
    assert torch.equal(fit_states(fitted.half(), 2).float(), fitted)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (torch.ones(1, 5, 3), "not for this model"),
        (torch.ones(2, 5, 2), "not for this model"),
        (torch.ones(5, 2), "not for this model"),
        (torch.full((1, 5, 2), float("nan")), "not numbers"),
        (torch.ones(1, 513, 2), "513 tokens"),
    ],
)
def test_other_states_are_refused(states, said):
    with pytest.raises(SettingsError, match=said):
        fit_states(states, 2)
