"""What the tests of the page in a browser share: how they are marked, and what they do and look at."""

import importlib.util
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.studio.client import png

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LACKING = importlib.util.find_spec("playwright") is None or CHROMIUM is None
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKING, reason="needs playwright (pip install playwright) and a chromium of the system"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
SIZES = {"wide": (1280, 860), "narrow": (390, 844)}
BOTH = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
IDS = ["-".join(one) for one in BOTH]
READY = "/\\d s/.test(document.getElementById('loupe-time').textContent)"
PATIENCE = 90_000  # milliseconds

LOOKS = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > 0.7) return found;
    }
    return [255, 255, 255];
  };
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    if (!one.getClientRects().length || one.disabled || one.closest("option, .divider, noscript")) continue;
    if (one.matches("button, select, input, a, summary, [role=slider], [role=application]")) {
      const label = one.labels?.[0]?.textContent || one.getAttribute("aria-label") || one.textContent
        || document.getElementById(one.getAttribute("aria-labelledby"))?.textContent;
      if (!label?.trim()) found.push(`no name: ${one.outerHTML.slice(0, 90)}`);
    }
    if (!own(one)) continue;
    const [a, b] = [light(numbers(getComputedStyle(one).color)), light(behind(one))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${one.outerHTML.slice(0, 90)}`);
  }
  return found;
}"""


def until(page, expression: str) -> None:
    """Wait until an expression is true. The page's policy forbids playwright's own way, which is `eval`."""
    for _ in range(PATIENCE // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def upload(page, size=(150, 110), name="holiday.png") -> bytes:
    data = png(size)
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})
    until(page, READY)
    return data


def make(page, results: int = 1) -> None:
    before = page.locator("#results li").count()
    page.click("#make")
    until(page, f"document.querySelectorAll('#results li').length === {before + results}")


def shown(page) -> np.ndarray:
    """Return the pixels of the stage."""
    page.wait_for_timeout(400)
    with Image.open(BytesIO(page.locator("#stage-canvas").screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def saved(page, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as started:
        page.click(selector)
    return started.value.suggested_filename, Path(started.value.path()).read_bytes()


def rows_that_overflow(page) -> list[str]:
    return page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width && box.right > innerWidth + 1 && !one.closest(".linked-row, .stage, .hidden-input, .skip");
        }).map((one) => `${one.tagName} ${one.id} ${one.className}`)"""
    )
