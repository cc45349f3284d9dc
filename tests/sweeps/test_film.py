from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from s2v_core.errors import SettingsError, StoreError
from s2v_core.sweeps.film import MOST_FRAMES, TILES, Film, clip_file, draw_film, film_file, film_of
from s2v_core.sweeps.run import run_sweep
from s2v_core.video.read import read_clip


@pytest.mark.parametrize(
    ("frames", "size", "tile", "film"),
    [
        (17, (96, 96), 160, Film(96, 96, 4, 5, 17, 1)),
        (81, (832, 480), 160, Film(160, 92, 7, 12, 81, 1)),
        (81, (480, 832), 160, Film(92, 160, 12, 7, 81, 1)),
        (1, (832, 480), 256, Film(256, 148, 1, 1, 1, 1)),
        (129, (96, 96), 96, Film(96, 96, 8, 9, 65, 2)),
        (1001, (64, 64), 96, Film(64, 64, 11, 12, 126, 8)),
    ],
)
def test_the_shape_of_a_film(frames, size, tile, film):
    assert film_of(frames, size, tile) == film


@given(st.integers(1, 1001), st.integers(16, 4096), st.integers(16, 4096), st.sampled_from(TILES))
def test_every_film_holds_its_frames_and_can_be_shown(frames, width, height, tile):
    film = film_of(frames, (width, height), tile)
    assert max(film.width, film.height) <= tile
    assert film.count <= MOST_FRAMES
    assert (film.count - 1) * film.stride < frames <= film.count * film.stride
    assert (film.rows - 1) * film.columns < film.count <= film.rows * film.columns
    # No browser's limit is below this.
    assert film.rows * film.height <= 16384 and film.columns * film.width <= 16384
    corners = [film.place(index) for index in range(film.count)]
    assert len(set(corners)) == film.count
    assert max(x for x, _ in corners) + film.width <= film.columns * film.width


def test_an_unknown_tile_is_refused():
    with pytest.raises(SettingsError, match="100 pixels"):
        film_of(17, (96, 96), 100)


def test_each_frame_stands_at_its_place():
    frames = [np.full((20, 30, 3), 10 * number, np.uint8) for number in range(5)]
    film = replace(film_of(5, (30, 20), 96), stride=2, count=3)
    picture = draw_film(frames, film)
    for index in range(3):
        x, y = film.place(index)
        assert (picture[y : y + 20, x : x + 30] == 20 * index).all()
    assert picture.shape == (film.rows * 20, film.columns * 30, 3)


def test_films_and_clips_of_stored_cells_are_made_once(sweep, renderer, store, tmp_path):
    result = run_sweep(sweep, renderer, store)
    id = result.cells[2].id
    made, film = film_file(store, id, 96, tmp_path)
    assert film == film_of(5, (32, 16), 96)
    with Image.open(made) as picture:
        shown = np.asarray(picture)
    assert shown.shape == (film.rows * 16, film.columns * 32, 3)
    for index, frame in enumerate(store.load(id).frames):
        x, y = film.place(index)
        assert np.abs(shown[y : y + 16, x : x + 32].astype(int) - frame).mean() < 6
    video = clip_file(store, id, tmp_path)
    clip = read_clip(video, frames=5)
    assert (len(clip), clip.width, clip.height, clip.fps) == (5, 32, 16, 16)
    before = [file.stat().st_mtime_ns for file in (made, video)]
    assert [film_file(store, id, 96, tmp_path)[0], clip_file(store, id, tmp_path)] == [made, video]
    assert [file.stat().st_mtime_ns for file in (made, video)] == before


def test_a_damaged_cell_has_no_film(sweep, renderer, store, tmp_path):
    id = run_sweep(sweep, renderer, store).cells[0].id
    whole = (store.path(id) / "clip.mkv").read_bytes()
    (store.path(id) / "clip.mkv").write_bytes(whole[:-1])
    with pytest.raises(StoreError, match="damaged"):
        film_file(store, id, 96, tmp_path)
    with pytest.raises(StoreError, match="There is no cell"):
        clip_file(store, "0" * 64, tmp_path)
    assert list(tmp_path.glob("*.jpg")) == []
