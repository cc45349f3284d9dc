"""``s2v prompt``, ``s2v prompts`` and ``s2v prompt-diff``: a clip's prompt, those of a manifest, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SettingsError
from .console import Device, Dtype, Json, Out, command, progress, say

Rewriter = Annotated[
    str, typer.Option(help="An instruct model that rewrites: a folder, a .gguf file, or qwen2.5-0.5b.")
]


def prompt(
    clip: Annotated[str, typer.Argument(help="A clip, or only an AIST name; '-' for no facts.")],
    subject: Annotated[
        str,
        typer.Option(
            help="Who is seen: 'a man with black hair', or a subject card, a .yaml file with the fields who, hair, "
            "face, clothes, shoes, place and light."
        ),
    ] = "",
    subject_card: Annotated[
        Path | None, typer.Option(help="A subject card of any file name, beside a --subject in words; it goes first.")
    ] = None,
    setting: Annotated[str, typer.Option(help="Where, for example 'a small dance studio'.")] = "",
    negative: Annotated[str | None, typer.Option(help="The negative prompt; the variant's own if left out.")] = None,
    variant: Annotated[str, typer.Option(help="detailed, lighting, identity, motion or background.")] = "detailed",
    variants: Annotated[bool, typer.Option("--variants", help="Print all variants.")] = False,
    tokenizer: Annotated[
        str, typer.Option(help="Folder google/umt5-xxl: the tokens are counted, and not estimated.")
    ] = "",
    caption: Annotated[str, typer.Option(help="What the reference picture shows, in sentences.")] = "",
    image: Annotated[
        Path | None, typer.Option(help="A picture that a captioner describes, in place of --caption.")
    ] = None,
    captioner: Annotated[
        str, typer.Option(help="Florence-2: a folder, or its name among the models.")
    ] = "florence-2-base",
    rewriter: Rewriter = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Build the prompt of a clip from the facts in its file name and a description of the person."""
    with command(as_json) as done:
        from ..aist.names import ClipName, find_name
        from ..prompts.caption_text import caption_facts, clean_caption
        from ..prompts.facts import card_facts, load_card, name_facts, text_facts
        from ..prompts.template import DEFAULT_SUBJECT, VARIANTS, build_prompt

        name: ClipName | None = None
        if clip != "-":
            name = find_name(clip) if Path(clip).exists() else ClipName.parse(clip)
        subject, subject_card = _subject(subject, subject_card)
        card = load_card(subject_card) if subject_card else None
        said = clean_caption(_described(image, captioner, device, dtype) if image else caption)
        # What the card says goes before the options, and is the fact then.
        own = {
            "subject": "" if card and card.subject(DEFAULT_SUBJECT) else subject,
            "setting": "" if card and card.place else setting,
        }
        facts = (*name_facts(name), *(card_facts(card) if card else ()), *text_facts(**own), *caption_facts(said, card))
        prompts = [
            build_prompt(
                name,
                subject or DEFAULT_SUBJECT,
                setting=setting,
                negative=negative,
                variant=one,
                card=card,
                caption=said.text,
            )
            for one in (VARIANTS if variants else [variant])
        ]
        told = _written(prompts, facts, rewriter, device, dtype, tokenizer)
        for one in told:
            if one["warning"]:
                say(f"{one['variant']}: {one['warning']}")
        about = {
            "name": str(name) if name else None,
            "sources": [
                {"fact": fact.text, "kind": fact.kind, "origin": fact.origin, "told": fact.told} for fact in facts
            ],
            "caption": said.text,
            "dropped": list(said.dropped),
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
    facts = [
        f"{fact['origin']:9}  {fact['kind']}: {fact['fact']}{'' if fact['told'] else ' (no prompt says it)'}"
        for fact in about["sources"]
    ]
    return {**rows, "facts": facts, **{key: about[key] for key in ("name", "caption", "dropped", "warnings")}}


def _subject(subject: str, card: Path | None) -> tuple[str, Path | None]:
    """A --subject that names a card stands for --subject-card; any other is text."""
    named = subject.strip()
    if "\n" in named or not named.lower().endswith((".yaml", ".yml")):
        return subject, card
    if card is not None:
        raise SettingsError(
            "Two subject cards are given.", expected="one", got=f"{named} and {card}", remedy="Leave one of them out."
        )
    if not Path(named).is_file():
        raise SettingsError(
            f"There is no subject card {named}.",
            expected="a YAML file with lines such as 'hair: wavy black hair'",
            got=f"nothing at {Path(named).absolute()}",
            remedy="Check the path. Words about the person must not end in .yaml.",
        )
    return "", Path(named)


def _described(image: Path, captioner: str, device: str, dtype: str) -> str:
    from ..prompts.caption import caption_images, load_captioner
    from ..recipe import read_reference

    picture = read_reference(image)
    loaded = load_captioner(captioner, device, dtype)
    with progress() as show:
        return caption_images([picture], loaded, on_token=show.tokens)[0]


def _written(
    prompts: list[Any], facts: tuple[Any, ...], rewriter: str, device: str, dtype: str, tokenizer: str
) -> list[dict[str, Any]]:
    if not rewriter:
        return [_told(prompt, tokenizer) for prompt in prompts]
    from ..prompts.rewrite import load_writer, rewrite_prompt

    writer = load_writer(rewriter, device, dtype)
    with progress() as show:
        made = [rewrite_prompt(prompt, facts, writer, on_token=show.tokens) for prompt in prompts]
    return [{**_told(one.prompt, tokenizer), "how": one.how, "reasons": list(one.reasons)} for one in made]


def prompts(
    manifest: Annotated[Path, typer.Argument(help="One JSON object a line: clip; caption, card and image if any.")],
    out: Out = Path("prompts.jsonl"),
    subject_card: Annotated[Path | None, typer.Option(help="Fills what a row's own card leaves open.")] = None,
    captioner: Annotated[
        str,
        typer.Option(
            help="A Florence-2 that describes the image, or the clip's first frame, of rows without a caption: a "
            "folder, or florence-2-base."
        ),
    ] = "",
    rewriter: Rewriter = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Build all variants of the prompts of many clips; a run that was stopped goes on where it was."""
    with command(as_json) as done:
        from ..prompts.batch import Describer, load_manifest, run_batch
        from ..prompts.caption import load_captioner
        from ..prompts.facts import load_card
        from ..prompts.rewrite import load_writer

        rows = load_manifest(manifest, load_card(subject_card) if subject_card else None)
        writer = load_writer(rewriter, device, dtype) if rewriter else None
        describer = Describer(load_captioner(captioner, device, dtype), _first_picture) if captioner else None
        with progress() as show:
            report = run_batch(
                rows,
                out,
                writer=writer,
                writer_identity=writer.identity if writer else "",
                describer=describer,
                on_progress=show.rows,
            )
        if report.too_long:
            say(
                f"{len(report.too_long)} rows have a prompt that is too long for umT5: {', '.join(report.too_long[:5])}"
            )
        done({"prompts": str(out), "made": report.made, "kept": report.kept, "too long": list(report.too_long)})


def _first_picture(path: Path) -> Any:
    """A picture, or the first frame of a video."""
    from ..recipe import read_reference
    from ..video.read import read_clip

    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"):
        return read_reference(path)
    return read_clip(path, frames=1).frames[0]


def prompt_diff(
    old: Annotated[Path, typer.Argument(help="A file that `s2v prompts` wrote.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Json = False,
) -> None:
    """What differs between two sets of prompts, word by word."""
    with command(as_json) as done:
        from ..prompts.batch import diff_prompts, load_prompts

        found = diff_prompts(load_prompts(old), load_prompts(new))
        done(
            {
                "added": [" ".join(key) for key in found.added],
                "removed": [" ".join(key) for key in found.removed],
                "changed": {" ".join(key): said for key, said in found.changed.items()},
            }
        )


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
