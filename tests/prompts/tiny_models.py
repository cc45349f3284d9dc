"""Tiny Florence-2 and Qwen2 checkpoints with the real classes, made without the network. Weights are random,
but for a Qwen2 that has learned a few answers by heart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BartConfig,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PICTURE = 64  # pixels; Florence-2's tower makes (64 / 32)^2 tokens of it, and one for the whole


def _bpe(corpus: Iterable[str], special: list[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def write_florence(folder: Path, seed: int = 0) -> Path:
    corpus = ["Describe with a paragraph what is shown in the image.", "A dancer performs in a bright studio."] * 4
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>", *(f"<loc_{place}>" for place in range(1000))]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_bpe(corpus, special, 1600),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    ends = {"bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        **ends,
    )
    vision = Florence2VisionConfig(
        depths=[1, 1, 1, 1],
        embed_dim=[16, 16, 16, 32],
        num_heads=[1, 1, 1, 2],
        num_groups=[1, 1, 1, 2],
        window_size=2,
        projection_dim=32,
        drop_path_rate=0.0,
    )
    torch.manual_seed(seed)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=image_token, **ends)
    net = Florence2ForConditionalGeneration(config).eval()
    net.generation_config.decoder_start_token_id = tokenizer.eos_token_id
    square = {"height": PICTURE, "width": PICTURE}
    pictures = CLIPImageProcessor(size=square, crop_size=square, do_center_crop=False)
    pictures.image_seq_length = (PICTURE // 32) ** 2 + 1
    net.save_pretrained(folder)
    Florence2Processor(
        image_processor=pictures,
        tokenizer=tokenizer,
        num_additional_image_tokens=1,
        post_processor_config={"pure_text": {}},
    ).save_pretrained(folder)
    return folder


def write_qwen(folder: Path, talks: list[list[dict[str, str]]] | None = None, steps: int = 300) -> Path:
    """``talks``: messages of which the last is the answer that is learned by heart."""
    torch.manual_seed(0)
    talks = talks or []
    corpus = [message["content"] for talk in talks for message in talk] or ["A dancer performs in a studio."]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_bpe(corpus * 2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 900),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.chat_template = CHAT
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    net = Qwen2ForCausalLM(config)
    tokenizer.save_pretrained(folder)
    net.save_pretrained(folder)
    if talks:
        # Loading a Qwen2 folder gives it Qwen2's own way of cutting words, so the lessons are cut in that way too.
        _learn(net, AutoTokenizer.from_pretrained(folder), talks, steps)
        net.save_pretrained(folder)
    return folder


def _learn(net: Any, tokenizer: Any, talks: list[list[dict[str, str]]], steps: int) -> None:
    sure, lessons = False, []
    for talk in talks:
        asked = tokenizer.apply_chat_template(talk[:-1], add_generation_prompt=True, tokenize=False)
        before = tokenizer(asked, return_tensors="pt").input_ids
        answer = tokenizer(talk[-1]["content"] + tokenizer.eos_token, return_tensors="pt").input_ids
        ids = torch.cat([before, answer], 1)
        labels = ids.clone()
        labels[:, : before.shape[1]] = -100
        lessons.append((ids, labels))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(steps):
        sure = True
        optimizer.zero_grad()
        for ids, labels in lessons:
            logits = net(input_ids=ids).logits[0, :-1]
            wanted = labels[0, 1:]
            loss = torch.nn.functional.cross_entropy(logits, wanted)
            loss.backward()
            # By heart means every token of the answer, not the average.
            learned = logits.softmax(-1)[wanted >= 0].gather(1, wanted[wanted >= 0, None])
            sure &= bool(learned.min() > 0.9)
        if sure:
            break
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert sure, "the tiny model did not learn its answers"
