"""Test the page of the compare command: it is whole by itself, its scores are right, and what is refused."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from jaxsr.cli.commands import main
from jaxsr.cli.compare import distinct_names
from jaxsr.evaluation import page
from jaxsr.metrics.psnr import rgb_to_y


class Tags(HTMLParser):
    """Collects the tags of a page, and its text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data) -> None:
        if self.tags:
            self.texts[self.tags[-1][0]][-1] += data.strip("\n")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    base = rng.integers(60, 200, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(base).save("hr.png")
    for name, noise in (("a.png", 5), ("b.jpg", 20), ("c.webp", 40)):
        noisy = np.clip(base + rng.normal(0, noise, base.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(name, quality=95)
    return tmp_path


def made(*words: str) -> Tags:
    assert main(["compare", *words, "-o", "page.html", "--overwrite"]) == 0
    return Tags(Path("page.html").read_text())


def test_the_page_holds_everything_itself():
    found = made("a.png", "b.jpg", "c.webp", "-m", "none")
    sources = [attrs["src"] for tag, attrs in found.tags if tag == "img"]
    assert [source.split(";")[0] for source in sources] == ["data:image/png", "data:image/jpeg", "data:image/png"]
    for source, name in zip(sources[:2], ("a.png", "b.jpg"), strict=True):
        assert base64.b64decode(source.split(",")[1]) == Path(name).read_bytes()
    with Image.open(BytesIO(base64.b64decode(sources[2].split(",")[1]))) as image, Image.open("c.webp") as own:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(own))
    text = Path("page.html").read_text()
    outside = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
    assert not re.findall(r"https?://|url\(|@import|<link|<iframe|src=\"(?!\")[^\"]", outside)
    (policy,) = (attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert "table" not in found.texts


def test_scores_against_a_reference():
    found = made("a.png", "b.jpg", "--reference", "hr.png", "-m", "psnr", "ssim")
    assert found.texts["th"] == ["picture", "pixels", "PSNR in dB ↑", "SSIM ↑", "a.png", "b.jpg"]
    cells = found.texts["td"]
    assert cells[0] == "64x48"
    for cell, name in zip((cells[1], cells[4]), ("a.png", "b.jpg"), strict=True):
        pictures = (np.asarray(Image.open(path)) / np.float32(255) for path in ("hr.png", name))
        y = [np.asarray(rgb_to_y(jnp.asarray(pixels[None])))[0, 4:-4, 4:-4] for pixels in pictures]
        assert float(cell) == pytest.approx(peak_signal_noise_ratio(*y, data_range=1), abs=0.01)
    best = [attrs.get("class") for tag, attrs in found.tags if tag == "td"]
    assert best == [None, "best", "best", None, None, None]
    assert len([tag for tag, _ in found.tags if tag == "img"]) == 3
    assert "reference" in found.texts["figcaption"]


def test_all_metrics_by_default_and_a_reason_for_a_missing_number():
    found = made("a.png", "b.jpg", "--reference", "hr.png")
    heads = found.texts["th"]
    assert {"PSNR in dB ↑", "SSIM ↑", "LPIPS ↓"} <= set(heads)
    assert any("no niqe" in note for note in found.texts["p"])  # 48 rows are no block of 96
    assert not any("LPIPS" in head for head in made("a.png", "b.jpg").texts.get("th", []))


def test_pictures_of_other_sizes_and_too_many_pixels(monkeypatch):
    with Image.open("a.png") as image:
        image.resize((16, 12)).save("small.png")
    found = made("small.png", "a.png", "--reference", "hr.png", "-m", "psnr")
    assert found.texts["td"][:2] == ["16x12", "–"]
    assert any("small.png: has not the size of the reference" in note for note in found.texts["p"])
    monkeypatch.setattr(page, "MOST_SCORED", 1000)
    found = made("a.png", "b.jpg", "--reference", "hr.png", "-m", "psnr")
    assert "td" not in found.texts
    assert any("a.png: has no scores, because it has more than" in note for note in found.texts["p"])


def test_names_and_titles_are_escaped():
    Path("a.png").rename("<b>{{panes}}.png")
    found = made("<b>{{panes}}.png", "b.jpg", "-m", "none", "--title", "<i>x & {{names}}")
    assert not {"b", "i"} & {tag for tag, _ in found.tags}
    assert found.texts["title"] == ["<i>x & {{names}}"]
    assert found.texts["figcaption"][0] == "<b>{{panes}}.png"
    found = made("b.jpg", "c.webp", "-m", "none", "--labels", "</script><i>,two words")
    assert found.texts["figcaption"] == ["</script><i>", "two words"]
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert "i" not in found.texts


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("a.png", 2, "give at least two pictures, or one and --reference"),
        ("a.png b.jpg --labels x", 2, "--labels: needs 2 names"),
        ("a.png none.png", 1, "none.png: no such file"),
        ("a.png wide.png", 1, "wide.png: 64x24 has not the proportions of a.png, 64x48"),
        ("a.png b.jpg -m psnr", 1, "psnr needs the originals"),
        ("a.png b.jpg -m maniqa", 1, "--metrics: maniqa is computed by pyiqa"),
        ("a.png b.jpg -m nothing", 1, "--metrics: no 'nothing'"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, code, message, capsys):
    Image.new("RGB", (64, 24)).save("wide.png")
    if code == 2:
        with pytest.raises(SystemExit) as stopped:
            main(["compare", *words.split(), "-o", "page.html"])
        assert stopped.value.code == 2
    else:
        assert main(["compare", *words.split(), "-o", "page.html"]) == code
    assert message in capsys.readouterr().err
    assert not Path("page.html").exists()


def test_a_page_is_not_replaced_by_accident(capsys):
    Path("page.html").write_text("mine")
    assert main(["compare", "a.png", "b.jpg", "-o", "page.html"]) == 1
    assert "page.html is there already" in capsys.readouterr().err
    assert Path("page.html").read_text() == "mine"


def test_pictures_are_named_by_what_tells_them_apart():
    paths = [Path(path) for path in ("out/plain/a.png", "out/vivid/a.png")]
    assert distinct_names(paths) == ["plain/a.png", "vivid/a.png"]
    assert distinct_names([Path("x/a.png"), Path("x/b.png")]) == ["a.png", "b.png"]
    assert distinct_names([Path("a.png"), Path("a.png")]) == ["a.png", "a.png"]


def test_sixteen_bits_and_transparency_show_as_eight_on_white():
    deep = np.full((48, 64), 40000, np.uint16)
    Image.fromarray(deep).save("deep.tif")
    Image.new("RGBA", (64, 48), (0, 0, 0, 0)).save("clear.webp", lossless=True)
    found = made("deep.tif", "clear.webp", "-m", "none")
    for (_, attrs), value in zip([one for one in found.tags if one[0] == "img"], (156, 255), strict=True):
        with Image.open(BytesIO(base64.b64decode((attrs["src"] or "").split(",")[1]))) as image:
            assert image.mode == "RGB"
            assert (np.asarray(image) == value).all()
