"""Test the page of the compare command in a real browser: keys, slider, linked zoom. Skipped without chromium."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli.commands import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
LOOK = """
const look = () => ({mode: state.mode, left: state.left, right: state.right, split: state.split, zoom: state.zoom,
  x: state.x, y: state.y, shown: panes.map(pane => getComputedStyle(pane).display !== "none"),
  moved: images.map(image => image.style.transform), clip: getComputedStyle(panes[state.right]).clipPath,
  pressed: document.querySelector("[aria-pressed=true]").dataset.mode, focus: document.activeElement.id});
const press = key => stage.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
addEventListener("load", () => setTimeout(() => {
  const found = [look()];
  for (const step of STEPS) {
    if (step.key) press(step.key);
    if (step.click) document.querySelector(step.click).click();
    if (step.drag) {
      const b = stage.getBoundingClientRect(), at = share => ({clientX: b.left + share * b.width, clientY: b.top + 50,
        pointerId: 1, bubbles: true});
      stage.setPointerCapture = () => null;
      document.querySelector(step.drag).dispatchEvent(new PointerEvent("pointerdown", at(step.from)));
      stage.dispatchEvent(new PointerEvent("pointermove", at(step.to)));
      stage.dispatchEvent(new PointerEvent("pointerup", at(step.to)));
    }
    if (step.wheel) stage.dispatchEvent(new WheelEvent("wheel", {deltaY: step.wheel, cancelable: true, bubbles: true,
      clientX: stage.getBoundingClientRect().left + 10, clientY: stage.getBoundingClientRect().top + 10}));
    found.push(look());
  }
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
}, 500));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    names = []
    for name, size in (("a", (96, 64)), ("b", (96, 64)), ("lr", (24, 16))):
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / f"{name}.png")
        names.append(str(folder / f"{name}.png"))
    assert main(["compare", *names, "-o", str(folder / "page.html"), "-m", "none"]) == 0
    return folder / "page.html"


def visit(page: Path, *steps: dict, size: str = "1280,900") -> list[dict]:
    """Open the page, take the steps, and return what it looked like before and after each."""
    script = f"<script>const STEPS = {json.dumps(steps)};{LOOK}</script></body>"
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", script))
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    found = subprocess.run(
        [*words, f"--window-size={size}", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    text = found.stdout.split('<pre id="found">')[1].split("</pre>")[0]
    return json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_the_slider_shows_two_pictures_and_moves(page):
    first, right, left, dragged = visit(page, {"key": "."}, {"key": ","}, {"drag": "#line", "from": 0.5, "to": 0.25})
    assert (first["mode"], first["pressed"], first["split"]) == ("slider", "slider", 50)
    assert first["shown"] == [True, True, False]
    assert "50%" in first["clip"]
    assert (right["split"], left["split"]) == (52, 50)
    assert dragged["split"] == pytest.approx(25, abs=0.1)
    assert float(dragged["clip"].split()[-1].rstrip("%)")) == pytest.approx(25, abs=0.1)


def test_zoom_and_place_are_the_same_for_all(page):
    first, _, near, moved, turned, back = visit(
        page, {"key": "+"}, {"key": "+"}, {"drag": ".pane", "from": 0.6, "to": 0.5}, {"wheel": -400}, {"key": "0"}
    )
    assert near["zoom"] == pytest.approx(1.25**2)
    assert moved["x"] > near["x"]
    assert turned["zoom"] == pytest.approx(1.25**2 * np.e, rel=0.01)
    assert (back["zoom"], back["x"], back["y"]) == (1, 0.5, 0.5)
    for look in (first, near, moved, turned, back):
        one, other, small = look["moved"]
        assert one == other  # of one size
        assert one.split("scale(")[0] == small.split("scale(")[0]
        scales = [float(text.split("scale(")[1].rstrip(")")) for text in (one, small)]
        assert scales[1] == pytest.approx(4 * scales[0], rel=1e-4)
    assert near["moved"] != first["moved"] != moved["moved"]


def test_everything_works_by_keys(page):
    looks = visit(page, *({"key": key} for key in "]x[vvv1"))
    modes = [look["mode"] for look in looks]
    assert [look["right"] for look in looks[:4]] == [1, 2, 0, 1]
    assert looks[2]["left"] == 2
    assert modes == ["slider"] * 4 + ["side", "difference", "slider", "slider"]
    assert looks[4]["shown"] == [True] * 3
    assert float(looks[-1]["moved"][0].split("scale(")[1].rstrip(")")) == pytest.approx(
        max(1, float(looks[0]["moved"][0].split("scale(")[1].rstrip(")"))), rel=0.01
    )


def test_the_buttons_work_on_a_narrow_screen(page):
    side, difference, near, fit = visit(
        page,
        {"click": "[data-mode=difference]"},
        {"click": "#in"},
        {"click": "#fit"},
        size="390,800",
    )
    assert (side["mode"], difference["mode"]) == ("slider", "difference")
    assert difference["shown"] == [True, True, False]
    assert (near["zoom"], fit["zoom"]) == (1.5, 1)
