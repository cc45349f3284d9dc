"""Pictures to judge a retargeted pose by: the clip, the reference, and the new skeleton over the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import SettingsError
from ..video.clip import Clip
from ..video.fit import resize
from ..video.text import DIM, GROUND, TEXT, TILE, get_font, line_height, width_of, wrap
from .draw import overlay
from .proportions import LimbRatio
from .retarget import RetargetResult
from .track import PoseTrack

Picture = np.ndarray[Any, np.dtype[np.uint8]]

_TALL, _WIDEST = 400, 560  # pixels: the height of a panel, unless its picture is very wide
_MARGIN, _GAP = 28, 14
_SIZE = 17  # of the text
_DIM_CLIP, _DIM_BELOW = 0.6, 0.4
_FLOOR = (255, 190, 90)
_LONGER, _SHORTER = (110, 190, 255), (255, 150, 120)


def before_and_after(
    clip: Clip | None, track: PoseTrack, result: RetargetResult, reference_image: Picture, *, moments: int = 4
) -> Picture:
    """One page, uint8 [H, W, 3]: the reference with its skeleton and the ratios of the limbs; beside it ``moments`` of
    the dance, above as in the clip, below as the reference's body dances them.

    ``clip``: what ``track`` was found in, or None for skeletons on black. ``reference_image`` uint8 [H, W, 3]: of the
    size of the result's canvas. Raises SettingsError and VideoError for pictures that do not belong to the tracks.
    """
    panels = _Panels(clip, track, result, reference_image)
    found = np.flatnonzero((track.scores > 0).any(axis=(1, 2)))
    frames = found[np.linspace(0, len(found) - 1, min(moments, len(found))).round().astype(int)]
    title, bold, plain = get_font(26, True), get_font(_SIZE, True), get_font(_SIZE - 2)
    head = line_height(bold) + 6
    wide = max(panels.clip_size[0], panels.size[0])
    side = max(panels.size[0], 300)
    width = 2 * _MARGIN + side + 2 * _GAP + len(frames) * (wide + _GAP) - _GAP
    lines = [line for note in result.notes for line in wrap(note, plain, width - 2 * _MARGIN, 3)]
    top = _MARGIN + line_height(title) + line_height(plain) + _GAP
    rows = _table_rows(result.ratios)
    left_height = head + panels.size[1] + _GAP + line_height(bold) + (len(rows) + 1) * line_height(plain)
    right_height = 2 * head + panels.clip_size[1] + panels.size[1] + 2 * _GAP + line_height(plain)
    foot = top + max(left_height, right_height) + _GAP
    height = foot + len(lines) * line_height(plain) + _MARGIN
    page = Image.new("RGB", (width + width % 2, height + height % 2), GROUND)
    draw = ImageDraw.Draw(page)

    draw.text((_MARGIN, _MARGIN), "Retargeted pose", font=title, fill=TEXT)
    draw.text((_MARGIN, _MARGIN + line_height(title)), _summary(result), font=plain, fill=DIM)
    draw.text((_MARGIN, top), "Reference", font=bold, fill=TEXT)
    page.paste(Image.fromarray(panels.reference()), (_MARGIN, top + head))
    y = top + head + panels.size[1] + _GAP
    draw.text((_MARGIN, y), "Limb lengths: reference / clip", font=bold, fill=TEXT)
    _draw_table(draw, rows, _MARGIN, y + line_height(bold) + 2, side)

    left = _MARGIN + side + 2 * _GAP
    second = top + head + panels.clip_size[1] + _GAP
    third = second + head + panels.size[1] + 4
    draw.text((left, top), "Clip", font=bold, fill=TEXT)
    draw.text((left, second), "The reference's body dances", font=bold, fill=TEXT)
    for number, frame in enumerate(frames):
        x = left + number * (wide + _GAP)
        for picture, y in ((panels.before(frame), top + head), (panels.after(frame), second + head)):
            page.paste(Image.fromarray(picture), (x + (wide - picture.shape[1]) // 2, y))
        caption = f"frame {frame} · {float(frame / track.fps):.1f} s"
        draw.text((x + (wide - width_of(caption, plain)) // 2, third), caption, font=plain, fill=DIM)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, foot + number * line_height(plain)), line, font=plain, fill=DIM)
    return np.asarray(page).copy()


def before_and_after_clip(
    clip: Clip | None, track: PoseTrack, result: RetargetResult, reference_image: Picture
) -> Clip:
    """The whole dance: the clip, the reference and the reference's body dancing, side by side, labelled.

    Arguments and errors are those of ``before_and_after``.
    """
    panels = _Panels(clip, track, result, reference_image)
    bold = get_font(_SIZE, True)
    top = _MARGIN + line_height(bold) + 6
    width = 2 * _MARGIN + panels.clip_size[0] + 2 * panels.size[0] + 2 * _GAP
    height = top + max(panels.clip_size[1], panels.size[1]) + _MARGIN
    page = Image.new("RGB", (width + width % 2, height + height % 2), GROUND)
    draw = ImageDraw.Draw(page)
    lefts = (_MARGIN, _MARGIN + panels.clip_size[0] + _GAP, width - _MARGIN - panels.size[0])
    for x, label in zip(lefts, ("Clip", "Reference", "The reference's body dances"), strict=True):
        draw.text((x, _MARGIN), label, font=bold, fill=TEXT)
    page.paste(Image.fromarray(panels.reference()), (lefts[1], top))
    frames = np.repeat(np.asarray(page)[None], len(track), axis=0)
    for index, frame in enumerate(frames):
        for x, picture in ((lefts[0], panels.before(index)), (lefts[2], panels.after(index))):
            frame[top : top + picture.shape[0], x : x + picture.shape[1]] = picture
    return Clip(frames, track.fps)


class _Panels:
    """The three pictures at the size of a panel; skeletons are drawn at that size and stay sharp."""

    def __init__(self, clip: Clip | None, track: PoseTrack, result: RetargetResult, image: Picture) -> None:
        if image.dtype != np.uint8 or image.shape != (*result.track.canvas, 3) or len(track) != len(result.track):
            raise SettingsError(
                "These pictures do not belong to this retargeted pose.",
                expected=f"a reference uint8 {[*result.track.canvas, 3]} and a track of {len(result.track)} frames",
                got=f"a reference {image.dtype} {list(image.shape)} and a track of {len(track)} frames",
                remedy="Give the picture that the reference pose was found in, and the track that was retargeted.",
            )
        if clip is not None and len(clip) != len(track):
            raise SettingsError(
                "The clip and the pose track do not belong together.",
                expected=f"{len(track)} frames, as the track has",
                got=f"a clip of {len(clip)} frames",
            )
        self._clip, self._track, self._result = clip, track, result
        self.size, self.clip_size = _panel_size(result.track.canvas), _panel_size(track.canvas)
        self._image = resize(image, self.size)

    def before(self, frame: int) -> Picture:
        """The clip's frame with its skeleton."""
        below = np.zeros((*self.clip_size[::-1], 3), np.uint8)
        if self._clip is not None:
            below = resize(self._clip.frames[frame], self.clip_size)
        return _over(below, self._track, frame, _DIM_CLIP)

    def reference(self) -> Picture:
        """The reference with its skeleton."""
        return _over(self._image, self._result.reference, 0, _DIM_CLIP)

    def after(self, frame: int) -> Picture:
        """The new skeleton over the reference, with the floor line."""
        return self._with_floor(_over(self._image, self._result.track, frame, _DIM_BELOW))

    def _with_floor(self, picture: Picture) -> Picture:
        floor = self._result.floor * self.size[1] / self._result.track.canvas[0]
        if not 0 <= floor < self.size[1] - 1:
            return picture
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image)
        for x in range(0, self.size[0], 12):
            draw.line((x, floor, x + 5, floor), fill=_FLOOR)
        return np.asarray(image).copy()


def _over(below: Picture, track: PoseTrack, frame: int, dim: float) -> Picture:
    one = PoseTrack(
        track.points[frame : frame + 1], track.scores[frame : frame + 1], track.canvas, track.fps, track.backend, ("",)
    )
    return overlay(Clip(below[None], track.fps), one, dim=dim).frames[0]


def _panel_size(canvas: tuple[int, int]) -> tuple[int, int]:
    scale = min(_TALL / canvas[0], _WIDEST / canvas[1])
    return max(1, round(canvas[1] * scale)), max(1, round(canvas[0] * scale))


def _summary(result: RetargetResult) -> str:
    said = f"steps × {result.scale:.2f} of the clip's pixels"
    if not result.stance.any():
        return said
    slides = f"{result.slide_after:.2f} leg lengths in all, in the clip {result.slide_before:.2f}"
    return f"{said} · planted feet slide {slides}"


def _table_rows(ratios: tuple[LimbRatio, ...]) -> list[tuple[str, float, bool]]:
    """(name, ratio, measured) of each row; two sides with one ratio are one row."""
    rows: dict[str, tuple[str, float, bool]] = {}
    for entry in ratios:
        bare = entry.limb.removeprefix("left ").removeprefix("right ")
        measured = not entry.how.startswith("median")
        if bare in rows and rows[bare][1] == entry.ratio:
            continue
        name = entry.limb if bare in rows or _differs(ratios, bare) else bare
        rows[name] = (name, entry.ratio, measured)
    return list(rows.values())


def _differs(ratios: tuple[LimbRatio, ...], bare: str) -> bool:
    return len({entry.ratio for entry in ratios if entry.limb.endswith(bare)}) > 1


def _draw_table(
    draw: ImageDraw.ImageDraw, rows: list[tuple[str, float, bool]], left: int, top: int, width: int
) -> None:
    """Name, number and a bar: to the right for limbs that are long for the body as a whole, to the left for short."""
    typical = float(np.median([ratio for _, ratio, _ in rows]))
    font = get_font(_SIZE - 2)
    step = line_height(font)
    if not all(measured for _, _, measured in rows):
        draw.text((left, top + len(rows) * step), "* not measured: the median", font=font, fill=DIM)
    names = max(width_of(name, font) for name, _, _ in rows) + 12
    numbers = width_of("× 0.00*", font) + 8
    half = (width - names - numbers) // 2
    middle = left + names + half
    for number, (name, ratio, measured) in enumerate(rows):
        y = top + number * step
        draw.text((left, y), name, font=font, fill=TEXT if measured else DIM)
        draw.rectangle((left + names, y + step // 2 - 4, left + names + 2 * half, y + step // 2 + 3), TILE)
        # Twice the median fills one side, half of it the other.
        length = round(float(np.clip(np.log2(ratio / typical), -1, 1)) * half)
        box = (min(middle, middle + length), y + step // 2 - 4, max(middle, middle + length), y + step // 2 + 3)
        draw.rectangle(box, (_LONGER if length > 0 else _SHORTER) if measured else DIM)
        text = f"× {ratio:.2f}" + ("" if measured else "*")
        draw.text((left + width - numbers + 8, y), text, font=font, fill=TEXT if measured else DIM)
