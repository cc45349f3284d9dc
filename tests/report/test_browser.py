"""The page in a real Chromium, from a disk, by mouse and by keyboard: no error, no request, no script of others."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweep_report.analyse import analyse
from s2v_core.sweep_report.options import ReportOptions
from s2v_core.sweep_report.write import write_report
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.video.clip import Clip
from tests.report.conftest import NO_FACE, TINY


@contextmanager
def opened(browser, path, **how):
    """The page at ``path`` with all that is in view decoded; whatever it complains of or asks for is an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **how)
    page = context.new_page()
    trouble, asked = [], []
    # Chromium has an advice for whoever reads pixels as often as these tests do.
    page.on("console", lambda message: None if "willReadFrequently" in message.text else trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    ready(page)
    yield page
    own = path.parent.as_uri()
    assert trouble == []
    assert [url for url in asked if not url.startswith((own, "data:", "blob:"))] == []
    context.close()


def ready(page):
    page.evaluate("document.getElementById('cells').scrollIntoView()")
    page.wait_for_timeout(50)
    page.locator("#cells[aria-busy=false]").wait_for(state="attached", timeout=20_000)


@pytest.fixture(scope="module")
def path(write, result):
    return write(findings=analyse(result))


@pytest.fixture
def page(browser, path):
    with opened(browser, path) as shown:
        yield shown


def pixels(page, selector):
    """The canvas' pixels as [r, g, b, a, ...]; a page on a disk may be read by those who look at it from outside."""
    return page.eval_on_selector(
        selector, "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    )


def disc(page, number):
    """Where the painted disc of a cell is: the mean x of its brightest pixels."""
    data = pixels(page, f"[data-cell='{number}'] canvas")
    levels = [sum(data[at : at + 3]) for at in range(0, len(data), 4)]
    high = [at % 32 for at, level in enumerate(levels) if level > (max(levels) + min(levels)) / 2]
    return sum(high) / len(high)


def test_nothing_in_a_prompt_or_reason_runs(page):
    assert page.title() == "three </title> by two"
    assert page.locator("img").count() == 0
    assert page.locator(".failed .empty").inner_text() == "failed\nRuntimeError: out of <memory>"


def test_all_cells_move_with_one_scrubber(page):
    slider = page.locator("#scrubber")
    seen = []
    for frame in (0, 2, 4):
        slider.fill(str(frame))
        page.wait_for_timeout(30)
        seen.append([round(disc(page, number), 1) for number in range(5)])
    assert all(len({places[number] for places in seen}) == 3 for number in range(5)), seen
    assert page.locator(".time").inner_text().split()[0] == "5"
    # Seed 0 goes round once, seed 1 twice: at the same frame they stand at different places.
    assert seen[1][0] != seen[1][1]
    slider.fill("0")
    page.wait_for_timeout(30)
    assert [round(disc(page, number), 1) for number in range(5)] == seen[0]


def test_keys_play_step_loop_and_change_the_speed(page):
    now = lambda: page.locator("#scrubber").input_value()  # noqa: E731
    page.keyboard.press(".")
    page.keyboard.press(".")
    assert now() == "2"
    page.keyboard.press(",")
    assert now() == "1" and "Frame 2 of 5" in page.locator("#said").inner_text()
    for key in (",", ","):
        page.keyboard.press(key)
    assert now() == "4", "the first is before the last"
    page.keyboard.press("[")
    assert page.locator("#transport select").input_value() == "0.5"
    page.keyboard.press("l")
    assert page.locator(".transport-loop").get_attribute("aria-pressed") == "false"
    for key in ("]", "]", "]", "0", " "):
        page.keyboard.press(key)
    page.locator(".transport-play[aria-label=Play]").wait_for(timeout=5000)
    assert now() == "4", "without the loop it ends at the last frame"
    page.keyboard.press("?")
    assert page.locator("dialog#keys").is_visible() and page.locator("kbd").count() == 19
    page.keyboard.press("Escape")
    assert not page.locator("dialog#keys").is_visible()


def test_the_keyboard_reaches_every_cell_and_gives_the_focus_back(page):
    here = lambda: page.evaluate("document.activeElement.dataset.cell")  # noqa: E731
    page.keyboard.press("g")
    assert here() == "0"
    for key, number in (("ArrowRight", "1"), ("ArrowDown", "3"), ("Home", "2"), ("ArrowDown", "4"), ("End", "5")):
        page.keyboard.press(key)
        assert here() == number, key
    assert page.locator(".cell[tabindex='0']").count() == 1
    outline = page.eval_on_selector(".cell:focus", "cell => getComputedStyle(cell).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    drawer = page.locator("#details")
    assert drawer.is_visible() and "out of <memory>" in drawer.inner_text()
    page.keyboard.press("Escape")
    assert not drawer.is_visible() and here() == "5"
    label = page.locator("[data-cell='0']").get_attribute("aria-label")
    assert label.startswith("guidance 1, seed 0. Identity (toy truth) 1.00") and "not beaten by any other" in label


def test_scores_order_filter_and_explain_themselves(page):
    numbers = lambda: page.eval_on_selector_all(  # noqa: E731
        "#cells .cell", "cells => cells.map(cell => Number(cell.dataset.cell))"
    )
    page.select_option("#metric", "toy_pose")
    page.select_option("#order", "best")
    assert numbers() == [0, 1, 2, 3, 4, 5], "pose falls with guidance; what has no score comes last"
    page.select_option("#metric", "toy_identity")
    assert numbers() == [4, 3, 2, 1, 0, 5]
    page.locator(".menu summary", has_text="Filter").click()
    page.locator("input[aria-label='at least']").fill("2.05")
    assert numbers() == [4, 3] and "2 of 6 cells" in page.locator("#count").inner_text()
    page.locator("button", has_text="Show all cells").click()
    page.keyboard.press("Escape")
    page.select_option("#order", "axes")
    page.locator("[aria-label='Values of seed that are shown'] button").nth(1).click()
    assert numbers() == [1, 3, 5] and "seed 1" in page.locator("#count").inner_text()
    page.select_option("#metric", "identity_face")
    assert f"Face has no value for 5 of 6 cells: {NO_FACE}" in page.locator("#why-empty").inner_text()
    assert page.locator("[data-cell='1'] .score").inner_text() == "–"


def test_charts_lead_to_cells(page):
    page.locator(".square").nth(3).click()
    assert page.evaluate("document.activeElement.dataset.cell") == "3"
    assert page.locator(".square.here").count() == 1
    page.locator("#tab-map").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-curves").get_attribute("aria-selected") == "true"
    assert page.locator(".chart .stroke").count() == 1 and page.locator(".chart .band").count() == 1
    assert "95% interval over 2 seeds" in page.locator("#side").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".spot").count() == 5 and page.locator(".spot.recommended").count() == 2
    page.locator(".spot").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.cell") == "1"


def test_two_cells_are_wiped_against_each_other(page):
    for number in (0, 3):
        page.locator(f"[data-cell='{number}']").focus()
        page.keyboard.press("c")
    dialog = page.locator("dialog#compare")
    assert dialog.is_visible() and page.locator(".wiper:focus").count() == 1
    parts = lambda: (pixels(page, "#compare canvas")[:3], pixels(page, "#compare canvas")[-4:-1])  # noqa: E731
    first, last = parts()
    page.keyboard.press("End")
    left = parts()
    page.keyboard.press("Home")
    right = parts()
    # At the end all is A, at the beginning all is B, in the middle one half each.
    assert (first, last) == (left[0], right[1]) and left != right
    assert page.locator(".wiper").get_attribute("aria-valuenow") == "0"
    page.locator("#compare button", has_text="Difference").click()
    gap = [abs(a - b) for a, b in zip(left[0], right[0], strict=True)]
    assert all(abs(a - b) <= 1 for a, b in zip(parts()[0], gap, strict=True))
    table = dialog.inner_text()
    assert "guidance" in table and "seed" in table and "+1.10" in table
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and page.evaluate("document.activeElement.dataset.cell") == "3"


def test_the_control_video_lies_over_the_cells(page):
    before = pixels(page, "[data-cell='0'] canvas")
    page.keyboard.press("o")
    page.wait_for_timeout(100)
    over = pixels(page, "[data-cell='0'] canvas")
    assert min(over[0::4]) > 240 and over[1::4] == pytest.approx(before[1::4], abs=12)
    page.keyboard.press("o")
    page.wait_for_timeout(100)
    assert pixels(page, "[data-cell='0'] canvas") == before
    page.keyboard.press("i")
    assert not page.locator("#inputs").is_visible()


def test_settings_are_copied_in_three_forms(page, result):
    page.locator("[data-cell='2']").click()
    other = page.context.new_page()
    other.set_content(
        "<textarea></textarea><script>document.onpaste = event => { const data = event.clipboardData;"
        "window.pasted = {text: data.getData('text/plain'), html: data.getData('text/html')}; }</script>"
    )

    def copied(name):
        page.bring_to_front()
        page.locator("#details button", has_text=name).click()
        other.bring_to_front()
        other.locator("textarea").focus()
        other.keyboard.press("Control+v")
        return other.evaluate("window.pasted")

    assert json.loads(copied("JSON")["text"])["settings"]["guidance"] == 2.0
    assert copied("Command")["text"].startswith("s2v sample --transformer TRANSFORMER")
    node = copied("ComfyUI node")
    graph = json.loads(node["text"])
    assert graph["nodes"][0]["widgets_values"][:4] == [2, 2.0, 5.0, 0] and graph["version"] == 0.4
    # As the frontend itself reads it out of the clipboard's HTML.
    items = other.evaluate(
        """html => JSON.parse(new TextDecoder().decode(Uint8Array.from(
            atob(html.match(/data-metadata="([A-Za-z0-9+/=]+)"/)[1]), sign => sign.charCodeAt(0))))""",
        node["html"],
    )
    assert items["nodes"] == graph["nodes"] and items["reroutes"] == []


def test_light_and_dark_follow_the_system_and_the_switch(browser, path):
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, path, color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.keyboard.press("t")
        light = page.evaluate(ground)
        assert page.locator("#theme").inner_text() == "Theme: light"
        page.keyboard.press("t")
        assert page.evaluate(ground) == dark != light


def test_hovering_enlarges(page):
    page.locator("[data-cell='0']").hover()
    page.locator("#hover").wait_for(state="visible", timeout=3000)
    assert page.locator("#hover canvas").bounding_box()["width"] >= 320
    page.mouse.move(5, 5)
    page.locator("#hover").wait_for(state="hidden", timeout=3000)


class Levels:
    """Renders clips whose frame t is grey with level 20 t."""

    fingerprint = {"model": "levels"}  # noqa: RUF012 (as renderers have it)

    def lora_sha256(self, file):
        raise AssertionError

    def render(self, prompt, settings, **_):
        levels = np.arange(settings.frames, dtype=np.uint8)[:, None, None, None] * 20
        shape = (settings.frames, settings.height, settings.width, 3)
        return Clip(np.ascontiguousarray(np.broadcast_to(levels, shape)), Fraction(16))


def test_the_large_view_shows_the_very_frame_out_of_the_video(browser, tmp_path):
    settings = replace(TINY, width=320, height=160, frames=9)
    sweep = Sweep(Prompt("grey"), settings, (make_axis("guidance", [1, 2]),), "levels")
    made = run_sweep(sweep, Levels(), CellStore(tmp_path / "cells"))
    path = write_report(made, tmp_path / "report.html", options=ReportOptions(tile=96))
    with opened(browser, path) as page:
        if not page.evaluate("""document.createElement("video").canPlayType('video/mp4; codecs="avc1.64001f"')"""):
            pytest.skip("this Chromium was built without H.264")
        page.locator("[data-cell='0']").click()
        page.locator("#details .large[data-full='true']").wait_for(state="attached", timeout=20_000)
        canvas = "#details canvas"
        assert page.eval_on_selector(canvas, "canvas => [canvas.width, canvas.height]") == [320, 160]
        for frame in (0, 8, 3, 5, 4):
            page.locator("#scrubber").fill(str(frame))
            page.wait_for_timeout(40)
            level = page.eval_on_selector(
                canvas, "canvas => canvas.getContext('2d').getImageData(160, 80, 1, 1).data[0]"
            )
            assert abs(level - 20 * frame) <= 3, frame


def test_clips_beside_the_page_and_in_full_size(browser, pictures, tmp_path):
    """A page on a disk may not read its neighbours, only show them: this is how far that goes."""
    larger = replace(TINY, width=320, height=160)
    sweep = Sweep(Prompt("a dancer"), larger, (make_axis("guidance", [1, 2]),), "one axis")
    made = run_sweep(sweep, pictures.PictureRenderer(), CellStore(tmp_path / "cells"))
    path = write_report(made, tmp_path / "out" / "report.html", options=ReportOptions(beside=True, tile=96))
    (tmp_path / "out" / "report_clips" / f"cell-{made.cells[1].id[:16]}.webp").unlink()
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(path.as_uri())
    ready(page)
    assert page.locator(".list .cell").count() == 2, "one axis makes a list"
    assert page.locator(".place.lost").count() == 1, "a clip that is gone is said, and the rest goes on"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("[data-cell='0']").click()
    assert page.locator("#details canvas").evaluate("canvas => [canvas.width, canvas.height]") == [320, 160]
    page.wait_for_timeout(800)
    page.screenshot(path=tmp_path / "shot.png")
    context.close()
