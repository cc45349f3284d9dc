"""``s2v aist``: from a folder of dance clips to a dataset that training reads, in three commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aist.choose import Selection
from ..aist.download import DownloadSettings
from ..aist.splits import SplitSettings
from ..dataset.settings import PrepareSettings
from .console import Json, command, progress, with_settings

if TYPE_CHECKING:
    from ..aist.catalog import Catalog

aist_app = typer.Typer(help="Dance clips: what there is, and a dataset to train on.", no_args_is_help=True)

Facts = Annotated[
    Path | None, typer.Option(help="A CSV of facts for clips without an AIST name: file, genre, tempo, caption...")
]
AnyName = Annotated[bool, typer.Option("--any-name", help="Also take clips without an AIST name and without facts.")]
Split = Annotated[bool, typer.Option("--split", help="Split into train, val and test, by the next four options.")]
SplitList = Annotated[
    list[str] | None,
    typer.Option(help="A set by a list of AIST++: train=crossmodal_train.txt; unused=ignore_list.txt leaves out."),
]


@aist_app.command("catalog")
@with_settings(SplitSettings, "splitting")
@with_settings(Selection, "choice")
def catalog(
    source: Annotated[Path, typer.Argument(help="A folder of clips, or a list of names or URLs (.txt, .csv).")],
    choice: Any = None,
    facts: Facts = None,
    any_name: AnyName = False,
    split: Split = False,
    splitting: Any = None,
    split_list: SplitList = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the statistics: .png, .svg or .pdf.")] = None,
    list_clips: Annotated[bool, typer.Option("--list", help="Also print the chosen clips.")] = False,
    as_json: Json = False,
) -> None:
    """What a folder or a list of clips holds: facts counted, clips chosen, bad names with the reason."""
    with command(as_json) as done:
        from ..aist.choose import select
        from ..aist.splits import count_splits, leaks
        from ..aist.statistics import count_facts, draw_statistics

        found = _catalog(source, facts, any_name)
        result: dict[str, Any] = {"clips": len(found), "refused": [vars(refused) for refused in found.refused]}
        # Without a single clip there is nothing to choose from, and the reasons are what matters.
        if found.entries:
            chosen = select(found, Selection(**choice))
            sets, refused = _sets(chosen.catalog, split, splitting, split_list)
            entries = chosen.catalog.entries
            result |= {"chosen": len(entries), "dances": len({entry.sequence for entry in entries})}
            result |= {"left out": chosen.left_out, **count_facts(entries, sets)}
            result["warnings"] = [f"{entry.id}: {warning}" for entry in entries for warning in entry.warnings]
            if sets is not None:
                result |= {"sets": count_splits(sets), "shared between sets": leaks(entries, sets)}
                result["refused"] += [vars(line) for line in refused]
            if list_clips:
                named = [(entry, sets.get(entry.id, "") if sets else "") for entry in entries]
                result["list"] = [{"file": entry.file, "id": entry.id, "set": where} for entry, where in named]
            if picture:
                result["picture"] = draw_statistics(entries, picture)
        done(result, failed=not found.entries)


@aist_app.command("prepare")
@with_settings(SplitSettings, "splitting")
@with_settings(PrepareSettings, "settings")
@with_settings(Selection, "choice")
def prepare(
    source: Annotated[Path, typer.Argument(help="A folder of clips.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The dataset's folder.")],
    choice: Any = None,
    facts: Facts = None,
    any_name: AnyName = False,
    settings: Any = None,
    keypoints: Annotated[Path | None, typer.Option(help="AIST++'s folder keypoints2d, for --pose aistpp.")] = None,
    cameras: Annotated[Path | None, typer.Option(help="AIST++'s folder cameras, for true directions.")] = None,
    subject_card: Annotated[
        Path | None, typer.Option(help="A YAML file that describes the dancer and the place.")
    ] = None,
    split: Split = False,
    splitting: Any = None,
    split_list: SplitList = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; one for each CPU by default, at most 8. 0: this one.")
    ] = None,
    others: Annotated[
        str, typer.Option(help="Clips in the dataset that this choice leaves out: error, keep or remove.")
    ] = "error",
    as_json: Json = False,
) -> None:
    """Make a dataset: clips, pose videos, first frames, prompts and the lists that training reads.

    After any stop the same command goes on where it was.
    """
    with command(as_json) as done:
        from ..aist.choose import select
        from ..dataset.manifest import METADATA, REPORT
        from ..dataset.prepare import Sources
        from ..dataset.prepare import prepare as prepare_dataset
        from ..prompts.facts import SubjectCard, load_card

        chosen = select(_catalog(source, facts, any_name), Selection(**choice))
        sets, refused = _sets(chosen.catalog, split, splitting, split_list)
        card = load_card(subject_card) if subject_card else SubjectCard()
        with progress() as show:
            if refused:
                show.say(f"{len(refused)} lines of the lists name no clip: s2v aist catalog says which.")
            result = prepare_dataset(
                chosen.catalog,
                out,
                PrepareSettings(**settings),
                sources=Sources(card, keypoints, cameras),
                splits=sets,
                workers=_workers() if workers is None else workers,
                others=others,
                on_progress=show.clip,
            )
        noted = [{"id": row["id"], "note": note} for row in result.rows for note in row.get("notes", ())]
        done(
            {
                "dataset": result.folder,
                "list": result.folder / METADATA,
                "report": result.folder / REPORT,
                "made": result.made,
                "there already": result.kept,
                "left out": chosen.left_out,
                "failed": [{"file": one["file"], "problem": one["problem"]} for one in result.problems],
                "not taken": [vars(one) for one in chosen.catalog.refused],
                "notes": noted if as_json else f"{len(noted)}, see s2v aist look {result.folder}" if noted else "none",
            },
            failed=bool(result.problems),
        )


@aist_app.command("look")
def look(
    dataset: Annotated[Path, typer.Argument(help="A prepared dataset.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write; DATASET/look by default.")] = None,
    as_json: Json = False,
) -> None:
    """A page and contact sheets of a dataset, problems first; every file is checked against the manifest."""
    with command(as_json) as done:
        from ..dataset.look import look as look_at

        with progress() as show:
            seen = look_at(dataset, out, on_progress=show.rows)
        done(
            {
                "page": seen.page,
                "sheets": list(map(str, seen.sheets)),
                "clips": seen.clips,
                "damaged": seen.damaged,
                "failed": seen.failed,
                "with notes": seen.noted,
                "strays": list(seen.strays),
            },
            failed=bool(seen.damaged),
        )


@aist_app.command("download")
@with_settings(DownloadSettings, "settings")
@with_settings(Selection, "choice")
def download(
    source: Annotated[Path, typer.Argument(help="A list of AIST names or URLs (.txt, .csv).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the clips.")],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have agreed with AIST's terms of use: needed.")
    ] = False,
    choice: Any = None,
    settings: Any = None,
    as_json: Json = False,
) -> None:
    """Download chosen clips of the AIST Dance Video Database, whose terms you must have accepted."""
    with command(as_json) as done:
        from ..aist.choose import select
        from ..aist.download import download_clips

        chosen = select(_catalog(source, None, False), Selection(**choice))
        with progress() as show:
            result = download_clips(
                chosen.catalog.entries,
                out,
                DownloadSettings(**settings),
                accept_terms=accept_terms,
                on_progress=show.rows,
            )
        done(
            {
                "folder": out,
                "downloaded": len(result.downloaded),
                "there already": len(result.kept),
                "failed": [{"clip": one.id, "problem": str(one.error)} for one in result.failed],
                "not taken": [vars(one) for one in chosen.catalog.refused],
            },
            failed=bool(result.failed),
        )


def _catalog(source: Path, facts: Path | None, any_name: bool) -> Catalog:
    from ..aist.catalog import read_list, scan_folder
    from ..aist.facts_table import load_facts

    if source.is_file():
        return read_list(source)
    return scan_folder(source, load_facts(facts) if facts else None, any_name=any_name)


def _sets(catalog: Catalog, split: bool, settings: dict[str, Any], lists: list[str] | None) -> tuple[Any, Any]:
    """The set of each clip by its id, or None, and the lines of the lists that name no clip."""
    from ..aist.splits import read_split_lists, split_by_lists, split_entries
    from ..errors import SettingsError

    if not lists:
        return (split_entries(catalog.entries, SplitSettings(**settings)) if split else None), ()
    named = dict(entry.partition("=")[::2] for entry in lists)
    if split or len(named) < len(lists) or not all(named.values()):
        raise SettingsError(
            "The sets cannot be made of this.",
            expected="either --split, or --split-list SET=FILE once for each set",
            got=f"{'--split and ' * split}{', '.join(lists)}",
        )
    sequences, refused = read_split_lists(named)
    return split_by_lists(catalog.entries, sequences), refused


def _workers() -> int:
    return max(1, min(8, os.cpu_count() or 1))
