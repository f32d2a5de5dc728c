"""Test the tools of the page in a browser: linked crops, samples, brush, reference, cancelling."""

from io import BytesIO

import numpy as np
from PIL import Image

from tests.studio.browsing import MARKS, READY, make, saved, until, upload
from tests.studio.client import png

pytestmark = MARKS


def test_five_linked_crops_in_one_call(page):
    upload(page)
    looks = []
    page.on("request", lambda request: looks.append(request.url) if request.url.endswith("/api/looks") else None)
    page.click("#five")
    page.wait_for_selector("#linked canvas")
    assert len(looks) == 1
    names = page.locator("#linked button").all_inner_texts()
    assert names == ["Faithful", "25", "Balanced", "75", "Vivid"]

    def crops() -> list[bytes]:
        page.wait_for_timeout(300)
        return [canvas.screenshot() for canvas in page.locator("#linked canvas").all()]

    before = crops()
    assert len(set(before)) == 5
    page.locator("#linked canvas").nth(2).hover()
    page.mouse.wheel(0, -500)
    assert all(now != then for now, then in zip(crops(), before, strict=True))  # all zoom
    page.locator("#linked button").last.click()
    assert page.locator("#knob-words").inner_text() == "Vivid"


def test_samples_side_by_side_and_their_disagreement(page):
    upload(page)
    page.select_option("#samples", "3")
    make(page, results=4)
    assert page.locator("#linked canvas").count() == 4
    assert "grey levels on average" in page.locator("#results").inner_text()
    assert page.locator("#right option").count() == 5
    name, content = saved(page, "text=Save the map")
    assert name == "disagreement.png"
    with Image.open(BytesIO(content)) as image:
        assert (image.mode, image.size) == ("L", (600, 440))


def test_the_brush_limits_the_knob(page):
    upload(page)
    page.click("[data-tool=map]")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.wait_for_selector("#map-save:not([hidden])")
    name, content = saved(page, "#map-save")
    assert name == "holiday-alpha-map.png"
    with Image.open(BytesIO(content)) as image:
        values = np.asarray(image.convert("L"))
    assert values.shape == (110, 150)
    assert (values == 255).any()
    assert (values == 0).any()
    page.wait_for_timeout(500)
    make(page)
    page.click("text=Command that makes the same bytes")
    assert "--alpha-map=holiday-alpha-map.png" in page.locator(".command").inner_text()
    assert "needs holiday-alpha-map.png" in page.locator("#results").inner_text()
    page.click("[data-tool=map]")
    page.click("#brush-clear")
    page.wait_for_selector("#map-save", state="hidden")


def test_a_reference_is_placed_and_used(page):
    data = upload(page)
    page.click("[data-tool=box]")
    with Image.open(BytesIO(data)) as image:
        part = image.crop((40, 30, 80, 62)).resize((160, 128), Image.Resampling.BICUBIC)
    stream = BytesIO()
    part.save(stream, "PNG")
    page.set_input_files("#reference-file", {"name": "tele.png", "mimeType": "image/png", "buffer": stream.getvalue()})
    page.wait_for_selector("#reference-remove:not([hidden])")
    assert page.locator("#box-w").input_value() == "40"
    assert page.locator("#box-w").is_disabled()
    page.fill("#box-x", "40")
    page.fill("#box-y", "30")
    page.locator("#box-y").press("Tab")
    page.click("#plain")  # the strength is fitted
    make(page)
    page.click("text=Command that makes the same bytes")
    line = page.locator(".command").inner_text()
    assert "--reference=tele.png" in line
    assert "--reference-box=40,30,40,32" in line


def test_a_job_can_be_cancelled_and_errors_are_shown(page):
    upload(page, (320, 300))
    page.select_option("#samples", "8")
    page.click("#make")
    page.wait_for_selector("#cancel")
    until(page, "/left|tiles|preparing/.test(document.getElementById('progress-words').textContent)")
    page.click("#cancel")
    page.wait_for_selector("#progress", state="hidden")
    assert page.locator("#results li").count() == 0
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    page.wait_for_selector("#error:not([hidden])")
    assert page.locator("#error").inner_text().startswith("a.png: no readable")


def test_the_mask_is_painted_by_keys_where_the_model_inpaints(page, painting):
    upload(page)
    assert page.locator("[data-tool=mask]").is_hidden()  # the small model enlarges
    page.goto(f"http://127.0.0.1:{painting.port}/")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#file", {"name": "old.png", "mimeType": "image/png", "buffer": png((64, 64))})
    page.wait_for_selector("[data-tool=mask]:not([hidden])")
    until(page, "document.getElementById('stage-note').textContent.startsWith('Paint what is to be filled in')")
    page.focus("#stage")
    page.keyboard.press("k")
    for key in ("ArrowRight", "Space"):
        page.keyboard.press(key)
    until(page, READY)
    make(page)
    page.click("text=Command that makes the same bytes")
    assert "--mask=old-mask.png" in page.locator(".command").inner_text()
