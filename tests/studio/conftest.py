"""Provide a server with the small model, which has a calibration beside it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def calibrated(pointwise, small_checkpoints, tmp_path_factory):
    """Return the small model with a calibration beside its file: faithful, balanced and vivid differ."""
    from tests.upscaling.small_calibration import BY_HAND, make_calibration

    folder = tmp_path_factory.mktemp("calibrated")
    file = Path(shutil.copy(small_checkpoints["channel"], folder / "model.safetensors"))
    upscaler = replace(pointwise, source=file)
    scales = {"faithful": [-0.2, 0.0], "balanced": [0.1, 0.2], "vivid": [0.3, 0.2]}
    presets = {name: {**BY_HAND, "scale": scale} for name, scale in scales.items()}
    presets["faithful"] |= {"temperature": [1.0, 0.0], "projection": 0.5}
    keys = ("fidelity", "perception", "rows", "front")
    loop = dict.fromkeys(keys) | {"range": [[-0.2, 0.3], [0.0, 0.2]], "constant_range": [[-0.1, 0.2]]}
    more = {"presets": presets, "closed_loop": loop, "reference_variance": "posterior"}
    make_calibration(upscaler, **more).write(folder / "calibration.json")
    return upscaler


@pytest.fixture(scope="module")
def models(calibrated):
    """Return the models of a server: the small one by default, and others by their names without their weights."""
    from jaxsr.studio.models import Models

    return Models(str(calibrated.source), loader=lambda name, *, accept_license: calibrated)


@pytest.fixture(scope="module")
def client(models, tmp_path_factory):
    """Return a client of a server that runs for the tests of a module."""
    from tests.studio.client import serving

    with serving(models, tmp_path_factory.mktemp("serving")) as found:
        yield found


@pytest.fixture(scope="module")
def painting(tmp_path_factory):
    """Return a client of a server with a small inpainting network."""
    from jaxsr.studio.models import Models
    from tests.parity.inpainting_model import save_golden
    from tests.studio.client import serving

    model = save_golden(tmp_path_factory.mktemp("inpaint"))
    with serving(Models(str(model)), tmp_path_factory.mktemp("painting")) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    """Return a browser for the tests of a module."""
    from playwright.sync_api import sync_playwright

    from tests.studio.browsing import CHROMIUM

    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, client, request):
    """Open the page; whatever it writes to the console is a failure, but for the note about a refused upload."""
    from tests.studio.browsing import PATIENCE, SIZES

    size, scheme = getattr(request, "param", ("wide", "light"))
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    found, said = context.new_page(), []
    found.on("console", lambda message: said.append(message.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("dialog", lambda dialog: dialog.accept())
    found.set_default_timeout(PATIENCE)
    found.goto(f"http://127.0.0.1:{client.port}/")
    found.wait_for_selector("html[data-ready]")
    yield found
    context.close()
    assert [text for text in said if not text.startswith("Failed to load resource")] == []
