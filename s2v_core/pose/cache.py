"""Finished extractions, kept in the cache folder under what decides their points: pictures, nets and settings."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import S2VError
from ..files import cache_dir, sha256_json, write_text_atomic
from .track import PoseTrack
from .track_file import load_track, save_track

_MOST = 1000  # entries; a track of 81 frames has about 100 kB
_VERSION = 1  # of what extraction does: a change of its results counts this up


def cache_key(facts: dict[str, Any]) -> str:
    """Hex sha256 of what decides a track's points."""
    return sha256_json({"version": _VERSION, **facts})


def load(key: str) -> tuple[PoseTrack, dict[str, Any]] | None:
    """The track of this key and what was said about it; None when it is not there or cannot be read any more."""
    track, about = _paths(key)
    try:
        said = json.loads(about.read_text(encoding="utf-8"))
        found = load_track(track)
    except (OSError, ValueError, S2VError):
        return None
    with suppress(OSError):
        os.utime(about)
    return (found, said) if isinstance(said, dict) else None


def save(key: str, track: PoseTrack, about: dict[str, Any]) -> None:
    """Keep a track. A cache that cannot be written is no reason to lose the track: then nothing is kept."""
    path, note = _paths(key)
    with suppress(OSError):
        save_track(track, path)
        write_text_atomic(note, json.dumps(about))
        _prune(path.parent)


def _paths(key: str) -> tuple[Path, Path]:
    folder = cache_dir() / "pose"
    return folder / f"{key}.npz", folder / f"{key}.json"


def _prune(folder: Path) -> None:
    """Remove the entries that nobody asked for longest."""
    entries = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for entry in entries[:-_MOST]:
        entry.unlink(missing_ok=True)
        entry.with_suffix(".npz").unlink(missing_ok=True)
