"""The layouts in which Wan-VACE's weights are shared, and their keys in Wan's own names.

Three nets come in two layouts each: Wan's own (Wan-Video's files, and what ComfyUI repackages of the transformer and
the VAE), and another: diffusers' names for the transformer and the VAE, Hugging Face's T5 names for the text encoder
(which ComfyUI uses too). Any of them may stand behind a prefix, as in ComfyUI's checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

# The nets that a checkpoint may hold; the transformer's file has two parts.
NETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"transformer": ("dit", "vace"), "text_encoder": ("text_encoder",), "vae": ("vae",)}
)


@dataclass(frozen=True)
class Layout:
    """How one net's tensors are called.

    ``marks``: for each part of the net, a key that only this layout of this part has. ``rename`` gives Wan's name of a
    key (out of all keys), or None for a tensor that is no part of the net.
    """

    name: str
    net: str
    marks: Mapping[str, str]
    rename: Callable[[str, Collection[str]], str | None]


@dataclass(frozen=True)
class Found:
    """A net that was found among the keys of a file: its layout, the prefix of its keys, and the parts that are there.

    ``names``: Wan's key -> the file's key. Keys that the layout does not know keep their own name.
    """

    layout: Layout
    prefix: str
    parts: tuple[str, ...]
    names: Mapping[str, str]


def find_net(keys: Collection[str], net: str) -> Found | None:
    """The net among the keys of a file, in whatever layout and behind whatever prefix, or None."""
    for layout in LAYOUTS:
        if layout.net != net:
            continue
        for prefix in _PREFIXES[net]:
            parts = tuple(part for part, mark in layout.marks.items() if prefix + mark in keys)
            if parts:
                own = {key.removeprefix(prefix): key for key in keys if key.startswith(prefix)}
                return Found(layout, prefix, parts, _renamed(layout, own))
    return None


def _renamed(layout: Layout, own: Mapping[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for key, whole in own.items():
        name = layout.rename(key, own.keys())
        if name is not None:
            # A second tensor for one place is kept, so that it is found to have none.
            names[f"another {name}" if name in names else name] = whole
    return names


def _same(key: str, keys: Collection[str]) -> str | None:
    return key


def _replaced(key: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> str:
    """``key`` by the first rule that fits the whole of it."""
    for pattern, new in rules:
        if match := pattern.fullmatch(key):
            return match.expand(new)
    return key


def _rules(table: Mapping[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(old), new) for old, new in table.items())


# The transformer's layers: Wan's names and diffusers' (diffusers, scripts/convert_wan_to_diffusers.py). Wan's norm3 is
# diffusers' norm2; Wan's own norm2 has no weights and so never stands in a file.
DIFFUSERS_IN_BLOCK = (
    ("self_attn.q", "attn1.to_q"),
    ("self_attn.k", "attn1.to_k"),
    ("self_attn.v", "attn1.to_v"),
    ("self_attn.o", "attn1.to_out.0"),
    ("self_attn.norm_q", "attn1.norm_q"),
    ("self_attn.norm_k", "attn1.norm_k"),
    ("cross_attn.q", "attn2.to_q"),
    ("cross_attn.k", "attn2.to_k"),
    ("cross_attn.v", "attn2.to_v"),
    ("cross_attn.o", "attn2.to_out.0"),
    ("cross_attn.norm_q", "attn2.norm_q"),
    ("cross_attn.norm_k", "attn2.norm_k"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("norm3", "norm2"),
    ("modulation", "scale_shift_table"),
    ("before_proj", "proj_in"),
    ("after_proj", "proj_out"),
)
DIFFUSERS_OUTSIDE = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}
_WANS_IN_BLOCK = {theirs: own for own, theirs in DIFFUSERS_IN_BLOCK}
_WANS_OUTSIDE = {theirs: own for own, theirs in DIFFUSERS_OUTSIDE.items()}
_IN_BLOCK = re.compile(r"((?:vace_)?blocks\.\d+)\.(.+)")
_LEAF = r"(weight|bias)"


def _from_diffusers_transformer(key: str, keys: Collection[str]) -> str | None:
    layer, leaf = next(
        ((key.removesuffix(leaf), leaf) for leaf in (".weight", ".bias") if key.endswith(leaf)), (key, "")
    )
    if match := _IN_BLOCK.fullmatch(layer):
        return f"{match[1]}.{_WANS_IN_BLOCK.get(match[2], match[2])}{leaf}"
    return _WANS_OUTSIDE.get(layer, layer) + leaf


# transformers.UMT5EncoderModel.
_T5 = _rules(
    {
        r"shared\.weight": r"token_embedding.weight",
        r"encoder\.embed_tokens\.weight": r"token_embedding.weight",
        r"encoder\.final_layer_norm\.weight": r"norm.weight",
        r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.([qkvo])\.weight": r"blocks.\1.attn.\2.weight",
        r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.relative_attention_bias\.weight": (
            r"blocks.\1.pos_embedding.embedding.weight"
        ),
        r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight": r"blocks.\1.norm1.weight",
        r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight": r"blocks.\1.norm2.weight",
        r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_0\.weight": r"blocks.\1.ffn.gate.0.weight",
        r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_1\.weight": r"blocks.\1.ffn.fc1.weight",
        r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wo\.weight": r"blocks.\1.ffn.fc2.weight",
    }
)


def _from_t5(key: str, keys: Collection[str]) -> str | None:
    # The embedding may be written twice, under both of its names. The decoder of a whole T5 has no use here.
    if (key == "encoder.embed_tokens.weight" and "shared.weight" in keys) or key.startswith(("decoder.", "lm_head.")):
        return None
    return _replaced(key, _T5)


# diffusers.AutoencoderKLWan: the encoder's blocks are numbered through, as in Wan; the decoder's are in levels.
_INSIDE = {
    r"norm1\.gamma": r"residual.0.gamma",
    rf"conv1\.{_LEAF}": r"residual.2.\g<leaf>",
    r"norm2\.gamma": r"residual.3.gamma",
    rf"conv2\.{_LEAF}": r"residual.6.\g<leaf>",
    rf"conv_shortcut\.{_LEAF}": r"shortcut.\g<leaf>",
}
_DIFFUSERS_VAE = _rules(
    {
        rf"quant_conv\.{_LEAF}": r"conv1.\1",
        rf"post_quant_conv\.{_LEAF}": r"conv2.\1",
        rf"(encoder|decoder)\.conv_in\.{_LEAF}": r"\1.conv1.\2",
        r"(encoder|decoder)\.norm_out\.gamma": r"\1.head.0.gamma",
        rf"(encoder|decoder)\.conv_out\.{_LEAF}": r"\1.head.2.\2",
        r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)": r"\1.middle.1.\2",
    }
)
_VAE_INSIDE = _rules({old.replace(_LEAF, r"(?P<leaf>weight|bias)"): new for old, new in _INSIDE.items()})
_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)")
_FIRST_LEVEL = re.compile(r"decoder\.up_blocks\.0\.resnets\.\d+\.norm1\.gamma")
_DOWN = re.compile(r"encoder\.down_blocks\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.resnets\.([01])\.(.+)")


def _from_diffusers_vae(key: str, keys: Collection[str]) -> str | None:
    if match := _DOWN.fullmatch(key):
        return f"encoder.downsamples.{match[1]}.{_replaced(match[2], _VAE_INSIDE)}"
    if match := _MIDDLE.fullmatch(key):
        return f"{match[1]}.middle.{2 * int(match[2])}.{_replaced(match[3], _VAE_INSIDE)}"
    if match := _UP.fullmatch(key):
        # Each level but the last ends with one step up in resolution.
        blocks = sum(bool(_FIRST_LEVEL.fullmatch(other)) for other in keys)
        place = int(match[3]) if match[2] == "resnets" else blocks
        return f"decoder.upsamples.{int(match[1]) * (blocks + 1) + place}.{_replaced(match[4], _VAE_INSIDE)}"
    return _replaced(key, _DIFFUSERS_VAE)


LAYOUTS = (
    Layout(
        "Wan",
        "transformer",
        {"dit": "blocks.0.self_attn.q.weight", "vace": "vace_blocks.0.before_proj.weight"},
        _same,
    ),
    Layout(
        "diffusers",
        "transformer",
        {"dit": "blocks.0.attn1.to_q.weight", "vace": "vace_blocks.0.proj_in.weight"},
        _from_diffusers_transformer,
    ),
    Layout("Wan", "text_encoder", {"text_encoder": "token_embedding.weight"}, _same),
    # Only umT5 has a position bias in each block; T5 has it in the first one alone, and is another net.
    Layout(
        "Hugging Face",
        "text_encoder",
        {"text_encoder": "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"},
        _from_t5,
    ),
    Layout("Wan", "vae", {"vae": "decoder.upsamples.0.residual.0.gamma"}, _same),
    Layout("diffusers", "vae", {"vae": "decoder.up_blocks.0.resnets.0.norm1.gamma"}, _from_diffusers_vae),
)
_PREFIXES = {
    "transformer": ("", "model.diffusion_model.", "diffusion_model.", "model."),
    "text_encoder": ("", "text_encoders.umt5xxl.transformer.", "model."),
    "vae": ("", "first_stage_model.", "vae.", "model."),
}


# What else people choose by mistake: a key's end, and what to call it.
STRANGERS = (
    ("lora_down.weight", "a LoRA"),
    ("lora_A.weight", "a LoRA"),
    ("lora_A.default.weight", "a LoRA"),
    ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "a T5 text encoder that is not umT5"),
    ("decoder.upsamples.0.upsamples.0.residual.0.gamma", "the VAE of Wan2.2 5B, which Wan2.1-VACE cannot use"),
    ("text_model.encoder.layers.0.self_attn.q_proj.weight", "a CLIP text encoder"),
    ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "a CLIP vision encoder"),
    ("model.layers.0.self_attn.q_proj.weight", "a language model"),
    ("input_blocks.0.0.weight", "a Stable Diffusion checkpoint"),
    ("double_blocks.0.img_attn.qkv.weight", "a Flux or HunyuanVideo transformer"),
    ("double_blocks.0.img_attn_qkv.weight", "a HunyuanVideo transformer"),
    ("transformer_blocks.0.attn1.to_q.weight", "an LTX or Stable Diffusion transformer"),
    ("transformer_blocks.0.attn.to_q.weight", "a transformer of another model in the diffusers layout"),
    ("decoder.mid.attn_1.k.weight", "a Stable Diffusion VAE"),
    ("decoder.mid_block.attentions.0.to_q.weight", "a Stable Diffusion VAE in the diffusers layout"),
)
