"""Prompts to text states: umT5 and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError, SettingsError
from ..prompts.length import MAX_TOKENS
from .contents import inspect_file
from .weights_file import read_tensors

if TYPE_CHECKING:
    import torch

_FOLDERS = ("google/umt5-xxl", "umt5-xxl", "tokenizer", ".")
_FILES = ("tokenizer.json", "spiece.model")
# What transformers reads beside tokenizer.json.
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_INSIDE = "spiece_model"  # ComfyUI's name of the tensor whose bytes are a sentencepiece model


def find_tokenizer(text_encoder: str, tokenizer: str = "") -> str:
    """Where the tokenizer is: a folder with ``tokenizer.json``, a ``spiece.model``, or the text encoder's own file.

    ``tokenizer``: a folder or a ``spiece.model``; empty means the one inside the text encoder's file (ComfyUI's files
    have it), else one beside it. Raises ``ModelFileError`` when there is none.
    """
    home = Path(text_encoder)
    if not tokenizer and home.exists() and _spiece_key(text_encoder):
        return text_encoder
    home = home if home.is_dir() else home.parent
    # A model in the diffusers layout has a folder for each part.
    beside = [home / name for name in _FOLDERS] + [home.parent / name for name in ("tokenizer", "google/umt5-xxl")]
    tried = [Path(tokenizer)] if tokenizer else beside
    for path in tried:
        if path.is_file() and path.name == "spiece.model":
            return str(path)
        for name in _FILES:
            if (path / name).is_file():
                return str(path / name if name == "spiece.model" else path)
    raise ModelFileError(
        "The tokenizer of the text encoder was not found.",
        expected=f"a folder with {' or '.join(_FILES)}",
        got=f"none of them in {', '.join(str(path) for path in tried)}",
        remedy=(
            f"Put the folder google/umt5-xxl of the Wan2.1 repository beside {Path(text_encoder).name}, or name it; "
            "or choose ComfyUI's umt5_xxl files, which hold their tokenizer."
        ),
    )


def tokenizer_files(place: str) -> list[Path]:
    """The files that decide what a tokenizer out of ``find_tokenizer`` does, besides the text encoder's own."""
    path = Path(place)
    if path.is_dir() and (path / "tokenizer.json").is_file():
        return [path / name for name in ("tokenizer.json", *_SETTINGS) if (path / name).is_file()]
    return [path] if path.name == "spiece.model" else []


def load_tokenizer(place: str) -> Any:
    """The tokenizer out of ``find_tokenizer``, a fast one of ``transformers``; nothing is fetched.

    Raises ``ModelFileError`` when it cannot be read.
    """
    try:
        if tokenizer_files(place)[:1] == [Path(place) / "tokenizer.json"]:
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(place, local_files_only=True)
        return _from_sentencepiece(_spiece_bytes(place))
    except ModelFileError:
        raise
    except Exception as error:  # transformers raises whatever its parser stumbles over, a KeyError for example
        raise ModelFileError(
            f"The tokenizer in {place} cannot be loaded.",
            expected="a Hugging Face folder with tokenizer.json, or a sentencepiece model",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            remedy="Copy the whole folder google/umt5-xxl of the Wan2.1 repository.",
        ) from error


def encode_text(encoder: Any, tokenizer: Any, text: str, device: str) -> torch.Tensor:
    """Text states [1, 512, text dim] of one text, zero behind its last token.

    Each text goes alone: in a batch, the padding of one text would cut another. Raises ``SettingsError`` for a text of
    more than 512 tokens, which would otherwise lose its end unnoticed.
    """
    import torch

    tokens = prompt_tokens(tokenizer, text)
    padding = MAX_TOKENS - len(tokens)
    with torch.no_grad():
        ids = torch.tensor([tokens + [tokenizer.pad_token_id] * padding], device=device)
        mask = torch.tensor([[1] * len(tokens) + [0] * padding], device=device)
        states: torch.Tensor = encoder(ids, mask)
        states[:, len(tokens) :] = 0
    return states


def fit_states(states: torch.Tensor, width: int) -> torch.Tensor:
    """Text states [1, n, ``width``] that another program made, as ``encode_text`` gives them: [1, 512, ``width``].

    What is missing of 512 is zero, as behind the last token of a text; what is more must be zero. Raises
    ``SettingsError`` for any other width, for more than one text, for longer ones, and for what is not finite.
    """
    import torch

    if states.ndim != 3 or states.shape[0] != 1 or states.shape[2] != width:
        raise SettingsError(
            "These text states are not for this model.",
            expected=f"states of one text, [1, tokens, {width}], from umT5",
            got=f"{list(states.shape)}",
            remedy="Encode the text with the umT5-XXL encoder that belongs to Wan2.1 models.",
        )
    if not bool(torch.isfinite(states).all()):
        raise SettingsError(
            "The text states hold values that are not numbers.",
            expected="finite numbers",
            got="NaN or infinity",
            remedy="The text encoder went wrong (often in float16): run it in another precision.",
        )
    if bool(states[:, MAX_TOKENS:].any()):
        used = int(states[0].any(dim=1).nonzero().max()) + 1
        raise SettingsError(
            "The encoded prompt is too long.",
            expected=f"at most {MAX_TOKENS} tokens (about 350 English words)",
            got=f"{used} tokens",
            remedy="Shorten it.",
        )
    return pad_states(states[:, :MAX_TOKENS].cpu())


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """``token_ids`` of a prompt. Raises ``SettingsError`` for more than 512."""
    tokens = token_ids(tokenizer, text)
    if len(tokens) > MAX_TOKENS:
        raise SettingsError(
            f"The prompt that begins with {text[:40]!r} is too long.",
            expected=f"at most {MAX_TOKENS} tokens (about 350 English words)",
            got=f"{len(tokens)} tokens",
            remedy="Shorten it.",
        )
    return tokens


def pad_states(states: torch.Tensor) -> torch.Tensor:
    """States [1, n, text dim] of a text's own tokens as [1, 512, text dim]: zero behind the last one."""
    import torch

    padded = torch.zeros((1, MAX_TOKENS, states.shape[2]), dtype=states.dtype)
    padded[:, : states.shape[1]] = states
    return padded


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that was cleaned as Wan does it (broken Unicode mended, white space drawn together)."""
    from diffsynth.models.wan_video_text_encoder import basic_clean, whitespace_clean

    ids: list[int] = tokenizer(whitespace_clean(basic_clean(text))).input_ids
    return ids


def _spiece_key(text_encoder: str) -> str:
    """The tensor of a text encoder's file that holds its tokenizer, or nothing."""
    weights = inspect_file(text_encoder, "text_encoder").weights
    return next((key for key in weights.tensors if key.split(".")[-1] == _INSIDE), "") if weights else ""


def _spiece_bytes(place: str) -> bytes:
    if Path(place).name == "spiece.model":
        return Path(place).read_bytes()
    weights = inspect_file(place, "text_encoder").weights
    assert weights is not None
    ((_, tensor),) = read_tensors(weights, [_spiece_key(place)])
    return bytes(tensor.numpy().tobytes())


def _from_sentencepiece(data: bytes) -> Any:
    """The tokenizer of a sentencepiece model, built of the parts that ``transformers.T5Tokenizer`` is built of.

    Unlike that class it takes the number of the unknown token, and what becomes of unknown characters, from the model.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import import_protobuf

    parts = import_protobuf()
    model = parts.ModelProto()
    model.ParseFromString(data)
    trained, pieces = model.trainer_spec, [(piece.piece, piece.score) for piece in model.pieces]
    kinds = parts.ModelProto.SentencePiece
    if trained.model_type != parts.TrainerSpec.UNIGRAM or not pieces:
        raise ValueError("it is no sentencepiece model of the unigram kind")
    unknown = next(index for index, piece in enumerate(model.pieces) if piece.type == kinds.UNKNOWN)
    made = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=trained.byte_fallback))
    if model.normalizer_spec.precompiled_charsmap:
        made.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    end, padding = pieces[trained.eos_id][0], pieces[max(trained.pad_id, 0)][0]
    made.post_processor = processors.TemplateProcessing(
        single=["$A", end], pair=["$A", end, "$B", end], special_tokens=[(end, trained.eos_id)]
    )
    whole = [piece.piece for piece in model.pieces if piece.type == kinds.USER_DEFINED]
    made.add_tokens([AddedToken(piece, normalized=False) for piece in whole])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=end, pad_token=padding, unk_token=pieces[unknown][0]
    )
