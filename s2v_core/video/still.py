"""Pictures that a person names: references and masks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import VideoError
from .read import read_clip

if TYPE_CHECKING:
    import numpy as np

    Image = np.ndarray[Any, np.dtype[np.uint8]]


def read_mask(path: str | os.PathLike[str]) -> Any:
    """A mask for a rendering: one picture for all frames, or a video; what ``wan.masks.as_mask`` takes.

    Raises ``VideoError`` for a file that is missing or neither.
    """
    if Path(path).suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"):
        return read_reference(path)
    return read_clip(Path(path), frames=None)


def read_reference(path: str | os.PathLike[str]) -> Image:
    """A picture as uint8 [H, W, 3], turned as its EXIF says; transparency is put on white.

    Raises ``VideoError`` for a file that is missing or no picture.
    """
    import numpy as np
    from PIL import Image as Pictures
    from PIL import ImageOps

    try:
        with Pictures.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoError(
            f"The reference image {path} cannot be read.",
            expected="a PNG, JPEG or WebP picture",
            got=str(error),
            remedy="Check the path, or save the picture again.",
        ) from error
    ground = Pictures.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.asarray(Pictures.alpha_composite(ground, picture).convert("RGB"))
