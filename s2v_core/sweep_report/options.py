"""What a person may choose of a report."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import flag, number, settle


@dataclass(frozen=True)
class ReportOptions:
    """How a report is written; every field says what it does."""

    beside: bool = flag(
        False, "Put the clips into a folder beside the page instead of into it: for many, large or long clips."
    )
    tile: int = number(
        0, "Width in pixels of the small pictures in the grid; 0 chooses one by the number of columns.", 0, 640, 8
    )
    quality: int = number(85, "Quality of pictures and clips, from small files to good pictures.", 1, 100, 1)
    full: bool = flag(
        True, "Also keep each clip in its own size, for the large view and the comparison; off makes small files."
    )

    def __post_init__(self) -> None:
        settle(self)
