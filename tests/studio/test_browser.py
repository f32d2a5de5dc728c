"""Walk through the page as a new user does, in Debian's chromium: wide and narrow, light and dark, by keys alone."""

import json
import shlex

import numpy as np
import pytest

from tests.studio.browsing import BOTH, IDS, LOOKS, MARKS, READY, make, rows_that_overflow, saved, shown, until, upload
from tests.studio.client import SECRET, png, serving

pytestmark = MARKS


@pytest.mark.parametrize("page", BOTH, indirect=True, ids=IDS)
def test_the_way_of_a_new_user(page, client, tmp_path, monkeypatch):
    from jaxsr.cli.sample import main

    assert rows_that_overflow(page) == []
    data = upload(page)
    first = shown(page)
    assert page.locator("#knob-words").inner_text() == "Balanced"
    page.locator("#ticks button", has_text="Vivid").click()
    until(page, READY)
    make(page)
    assert rows_that_overflow(page) == []
    assert (shown(page) != first).mean() > 0.05  # the result is on the stage
    (chosen, content), (record_name, record) = saved(page, "text=Save picture"), saved(page, "text=Record")
    assert (chosen, record_name) == ("holiday-large.png", "holiday-large.png.json")
    page.click("text=Command that makes the same bytes")
    assert "in the folder of your photo; it writes out/holiday.png" in page.locator("#results li").inner_text()
    line = page.locator(".command").inner_text()
    assert json.loads(record)["command"] == line
    (tmp_path / "holiday.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[3:]) == 0
    assert (tmp_path / "out/holiday.png").read_bytes() == content
    facts = page.locator("#results li dl").inner_text()
    for name in ("LR-consistency", "Colour drift", "Weights"):
        assert name in facts


def test_a_dropped_file_is_opened(page):
    given = page.evaluate_handle(
        """(bytes) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"})); return data; }""",
        list(png((40, 30))),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": given})
    until(page, READY)
    assert "dropped.png, 40 × 30" in page.locator("#photo-name").inner_text()


@pytest.mark.parametrize("page", [("wide", "light"), ("narrow", "dark")], indirect=True)
def test_everything_works_by_keys_alone(page):
    def press_until(ident: str, key: str = "Tab", most: int = 80) -> None:
        for _ in range(most):
            if page.evaluate("document.activeElement.id") == ident:
                return
            page.keyboard.press(key)
        raise AssertionError(f"{key} does not lead to {ident}")

    press_until("sample")
    page.keyboard.press("Enter")
    until(page, READY)
    assert page.evaluate("document.activeElement.id") == "stage"
    before = shown(page)
    page.keyboard.press("ArrowRight")  # the loupe
    page.keyboard.press("+")
    assert (shown(page) != before).any()
    zoom = page.locator("#zoom").inner_text()
    page.keyboard.press("0")
    until(page, f"document.getElementById('zoom').textContent !== {zoom!r}")
    press_until("knob-range")
    page.keyboard.press("End")
    assert page.locator("#knob-range").get_attribute("aria-valuetext") == "Beyond Vivid"
    assert "outside of the calibrated range" in page.locator("#knob-warning").inner_text()
    page.keyboard.press("Home")
    assert page.locator("#knob-range").get_attribute("aria-valuetext") == "Beyond Faithful"
    press_until("make")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li")
    press_until("divider", "Shift+Tab")
    split = page.locator("#divider").get_attribute("aria-valuenow")
    page.keyboard.press("ArrowLeft")
    until(page, f"document.getElementById('divider').ariaValueNow !== '{split}'")
    press_until("stage", "Shift+Tab")
    before = shown(page)
    page.keyboard.press("d")
    assert (shown(page) != before).mean() > 0.05
    assert page.locator("#difference").get_attribute("aria-pressed") == "true"


def test_the_divider_wheel_and_difference(page):
    upload(page)
    make(page)
    box = page.locator("#stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    photo = shown(page)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, middle[1], steps=5)
    page.mouse.up()
    moved = shown(page)
    changed = np.flatnonzero((moved != photo).any((0, 2)))
    assert changed.min() > 0.4 * moved.shape[1]  # only right of the old divider
    page.mouse.wheel(0, -400)
    assert (shown(page) != moved).mean() > 0.2
    page.click("#difference")
    dark = shown(page)
    page.select_option("#left", "1")
    assert page.locator("#difference").is_disabled()  # nothing differs from itself
    assert (shown(page) != dark).any()


@pytest.mark.parametrize("page", BOTH, indirect=True, ids=IDS)
def test_names_and_contrast(page):
    """Every control has a name, and every text a contrast of 4.5 to 1 at least (WCAG 2.2, AA)."""
    assert page.evaluate(LOOKS) == []
    upload(page)
    page.keyboard.press("Home")
    page.focus("#knob-range")
    page.keyboard.press("End")
    make(page)
    for tool in ("box", "map", "loupe"):
        page.click(f"[data-tool={tool}]")
        assert page.evaluate(LOOKS) == []
    page.click("#show-card")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate(LOOKS) == []


def test_the_entrance_of_a_server_with_a_token(browser, models, tmp_path):
    with serving(models, tmp_path, secret=SECRET) as shut:
        context = browser.new_context()
        found = context.new_page()
        found.goto(f"http://127.0.0.1:{shut.port}/")
        found.fill("#token", SECRET)
        found.click("text=Enter")
        found.wait_for_selector("html[data-ready]")
        context.close()
