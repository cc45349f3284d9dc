"""``s2v prompt``: a clip's prompt, or all its variants, from its name and a description of the person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Json, command, say


def prompt(
    clip: Annotated[str, typer.Argument(help="A clip, or only an AIST name; '-' for no facts.")],
    subject: Annotated[str, typer.Option(help="Who is seen, for example 'a man with black hair'.")] = "",
    subject_card: Annotated[
        Path | None,
        typer.Option(help="A YAML file: who, hair, face, clothes, shoes, place, light; it goes before the options."),
    ] = None,
    setting: Annotated[str, typer.Option(help="Where, for example 'a small dance studio'.")] = "",
    negative: Annotated[str | None, typer.Option(help="The negative prompt; the variant's own if left out.")] = None,
    variant: Annotated[str, typer.Option(help="detailed, lighting, identity, motion or background.")] = "detailed",
    variants: Annotated[bool, typer.Option("--variants", help="Print all variants.")] = False,
    tokenizer: Annotated[
        str, typer.Option(help="Folder google/umt5-xxl: the tokens are counted, and not estimated.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Build the prompt of a clip from the facts in its file name and a description of the person."""
    with command(as_json) as done:
        from ..aist.names import ClipName, find_name
        from ..prompts.facts import card_facts, load_card, name_facts, text_facts
        from ..prompts.template import DEFAULT_SUBJECT, VARIANTS, build_prompt

        name: ClipName | None = None
        if clip != "-":
            name = find_name(clip) if Path(clip).exists() else ClipName.parse(clip)
        card = load_card(subject_card) if subject_card else None
        facts = (*name_facts(name), *(card_facts(card) if card else ()), *text_facts(subject=subject, setting=setting))
        prompts = [
            build_prompt(name, subject or DEFAULT_SUBJECT, setting=setting, negative=negative, variant=one, card=card)
            for one in (VARIANTS if variants else [variant])
        ]
        told = [_told(one, tokenizer) for one in prompts]
        for one in told:
            if one["warning"]:
                say(f"{one['variant']}: {one['warning']}")
        about = {
            "name": str(name) if name else None,
            "sources": [{"fact": fact.text, "kind": fact.kind, "origin": fact.origin} for fact in facts],
            "warnings": list(name.warnings) if name else [],
        }
        if as_json:
            done({"variants": told, **about} if variants else {**told[0], **about})
        else:
            done(_readable(told, about))


def _readable(told: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """The same for people: each variant's text, then its sentences with their sources."""
    rows: dict[str, Any] = {}
    for one in told:
        count = "" if one["tokens counted"] else "about "
        rows[one["variant"]] = one["text"]
        rows[f"{one['variant']}, sources"] = [f"{origin:9}  {sentence}" for sentence, origin in one["origins"]]
        rows[f"{one['variant']}, negative"] = one["negative"]
        rows[f"{one['variant']}, length"] = f"{one['words']} words, {count}{one['tokens']} umT5 tokens"
    facts = [f"{fact['origin']:9}  {fact['kind']}: {fact['fact']}" for fact in about["sources"]]
    return {**rows, "facts": facts, "name": about["name"], "warnings": about["warnings"]}


def _told(prompt: Any, tokenizer: str) -> dict[str, Any]:
    from ..prompts.length import prompt_length

    length = prompt_length(prompt.text, tokenizer)
    return {
        "text": prompt.text,
        "negative": prompt.negative,
        "variant": prompt.variant,
        "facts": list(prompt.facts),
        "origins": [list(pair) for pair in prompt.origins],
        "words": len(prompt.text.split()),
        "tokens": length.tokens,
        "tokens counted": length.exact,
        "warning": length.warning,
    }
