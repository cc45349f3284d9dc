"""The notes of a pose track: for each frame a text of short parts, each of a kind that programs can tell by its start.

"2 people; filled 3 points": parts are joined by "; ". The kinds in use, and who writes them:

- "no person found", "low score 0.31": the backends and ``tidy``;
- "found where the detector saw nobody": ``dwpose``;
- "2 people", "duplicate dropped": ``people``;
- "swapped back: arms", "points dropped: 2 jumped", "hand dropped: left far", "face dropped: small": ``guard``;
- "filled 3 points": ``tidy``.
"""

from __future__ import annotations

from collections.abc import Mapping

SEPARATOR = "; "
NO_PERSON = "no person found"
DUPLICATE = "duplicate dropped"
SECOND_LOOK = "found where the detector saw nobody"


def parts(note: str) -> tuple[str, ...]:
    """The parts of one frame's note; none for ""."""
    return tuple(part for part in note.split(SEPARATOR) if part)


def add(notes: tuple[str, ...], new: Mapping[int, str]) -> tuple[str, ...]:
    """The notes with ``new`` (frame -> one part) at the end of theirs; a part that a frame already has stays single."""
    joined = list(notes)
    for frame, part in new.items():
        if part not in parts(joined[frame]):
            joined[frame] = SEPARATOR.join((*parts(joined[frame]), part))
    return tuple(joined)
