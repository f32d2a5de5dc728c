"""The pipeline: exact sizes and pixels, what may and may not change a result, seams, and memory."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxsr
from jaxsr.errors import NotFiniteError
from jaxsr.hub import checkpoint
from jaxsr.imaging import noise, tiling
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime import cpu, onednn
from jaxsr.storage import sha256_file
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest, save_small, small_preset

SIZES = [(1, 1), (1, 7), (7, 1), (33, 50), (64, 64), (65, 129)]


@pytest.fixture(scope="module")
def channel(small_upscalers) -> Upscaler:
    return small_upscalers["channel"]


@pytest.fixture
def exact(channel, monkeypatch) -> Upscaler:
    """The upscaler with `nearest` in place of its network."""
    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: nearest)
    return channel


def _noise(height: int, width: int, dtype=np.uint8, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, *channels), dtype)


IMAGE = _noise(40, 30, np.uint8, 3)


@pytest.mark.parametrize("blend", ["feather", "mean"])
@pytest.mark.parametrize("size", [*SIZES, *((n, 61 - 3 * n) for n in range(1, 21))])
def test_every_size_gives_exactly_its_pixels(exact, size, blend):
    image = _noise(*size, np.uint8, 3)
    for tile in (16, 32, "off"):
        result = exact.upscale(image, tile=tile, blend=blend, batch=2)
        np.testing.assert_array_equal(result, enlarged(image), strict=True)


@pytest.mark.parametrize("channels", [(3,), ()])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_every_type_comes_back_as_itself(exact, dtype, channels):
    image = _noise(20, 35, np.uint16 if dtype == np.uint16 else np.uint8, *channels)
    if np.issubdtype(dtype, np.floating):
        image = (image / 255).astype(dtype)
        np.testing.assert_allclose(exact.upscale(image, tile=16), enlarged(image), atol=1e-7)
    else:
        np.testing.assert_array_equal(exact.upscale(image, tile=16), enlarged(image), strict=True)
    assert exact.upscale(image, tile=16).dtype == dtype


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((4, 4, 4), np.uint8), r"without the alpha channel, image\[..., :3\], .* keeps transparency"),
        (np.zeros((4, 4, 2), np.uint8), r"image\[..., 0\]"),
        ("photo.png", r"open photo\.png first .* NumPy array or a Pillow image"),
        (Path("photo.png"), r"open photo\.png first"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.full((4, 4, 3), 1.5), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
    ],
)
def test_other_images_are_refused(exact, image, message):
    with pytest.raises(ValueError, match=f"^image: .*{message}"):
        exact.upscale(image)


def test_pillow_images_and_lists_are_arrays_too(exact):
    for image in (IMAGE, IMAGE[..., 0]):
        np.testing.assert_array_equal(exact.upscale(Image.fromarray(image), tile=16), exact.upscale(image, tile=16))
    ramp = [[0.0, 0.25], [0.5, 1.0]]
    np.testing.assert_array_equal(exact.upscale(ramp), enlarged(np.array(ramp)), strict=True)


@pytest.mark.parametrize("mode", ["P", "YCbCr", "HSV", "LAB", "RGBA", "1"])
def test_pillow_images_whose_numbers_are_not_rgb_are_refused(exact, mode):
    with pytest.raises(ValueError, match=rf"^image: .* not {mode}; use image\.convert"):
        exact.upscale(Image.new(mode, (4, 4)))


def test_unknown_options_seeds_and_models_with_masks_are_refused(exact):
    with pytest.raises(TypeError, match=r"no option stepz; it has steps, "):
        exact.upscale(IMAGE, stepz=4)
    with pytest.raises(ValueError, match="seed"):
        exact.upscale(IMAGE, seed=-1)
    with pytest.raises(ValueError, match="mask"):
        replace(exact, preset=small_preset(cond_mask=True)).upscale(IMAGE)


def test_progress_counts_tiles(exact):
    calls = []
    exact.upscale(IMAGE, tile=16, batch=4, progress=lambda *call: calls.append(call))
    assert calls == [(4, 6), (6, 6)]


def test_each_call_is_started_before_the_one_before_it_is_fetched(channel, monkeypatch):
    events = []

    class Lazy:
        def __init__(self, number, value):
            self.number, self.value = number, value
            events.append(f"start {number}")

        def __array__(self, dtype=None, copy=None):
            events.append(f"fetch {self.number}")
            return self.value

    monkeypatch.setattr(Upscaler, "compiled", lambda *_: lambda p, k, tiles, o: Lazy(o[0, 0], nearest(p, k, tiles, o)))
    np.testing.assert_array_equal(channel.upscale(IMAGE[:, :16], tile=16), enlarged(IMAGE[:, :16]))
    assert events == ["start 0", "start 16", "fetch 0", "start 32", "fetch 16", "fetch 32"]


def test_memory_is_the_result_and_a_few_tiles(exact):
    image = np.zeros((2048, 32, 3), np.float32)
    out = np.empty((8192, 128, 3), np.uint8)
    tracemalloc.start()
    exact.enlarge(image, out, Options(tile=32), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 128 * 128 * 3 * 4  # bytes of sixteen enlarged tiles; the image as float would be 64


@pytest.mark.parametrize("size", SIZES)
def test_the_network_gives_the_exact_size(channel, size):
    result = channel.upscale(_noise(*size, np.uint8, 3), tile=32, seed=1)
    assert result.shape == (4 * size[0], 4 * size[1], 3)
    assert result.std() > 1


def test_the_same_call_gives_the_same_pixels_whatever_the_layout(channel):
    first = channel.upscale(IMAGE, seed=3, tile=32)
    channel.upscale(IMAGE[::-1].copy(), seed=3, tile=32)  # an image between changes nothing
    np.testing.assert_array_equal(channel.upscale(IMAGE, seed=3, tile=32), first)
    np.testing.assert_array_equal(channel.upscale(np.asfortranarray(IMAGE), seed=3, tile=32), first)


def test_seed_sample_and_content_each_change_the_noise(channel):
    one_pixel = IMAGE.copy()
    one_pixel[0, 0, 0] ^= 1
    changed = [channel.upscale(IMAGE, seed=s, sample=n, tile=32) for s, n in ((0, 0), (1, 0), (0, 1))]
    changed.append(channel.upscale(one_pixel, tile=32))
    for i, first in enumerate(changed):
        for second in changed[:i]:
            assert (first[-40:] != second[-40:]).mean() > 0.5  # far from the pixel, too


def test_the_batch_does_not_change_the_result(channel):
    image = IMAGE / np.float32(255)
    one, three = (channel.upscale(image, tile=32, batch=batch, seed=5) for batch in (1, 3))
    np.testing.assert_allclose(one, three, atol=1e-6)
    one, three = (channel.upscale(IMAGE, tile=32, batch=batch, seed=5) for batch in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_the_order_of_tiles_does_not_change_them(channel):
    image = IMAGE / np.float32(255)
    run = plan_run(channel.preset, (40, 30), Options(tile=32))
    key = noise.image_key(0, noise.content_hash(image), 0)
    tiles = np.stack([tiling.cut(image, run.plan, i) for i in (0, 1, 0)])
    origins = np.array([run.plan.origin(i) for i in (0, 1, 0)], np.int32)
    enlarge = channel.compiled(run.options)
    forth, back = (enlarge(channel.params, key, tiles[::step], origins[::step]) for step in (1, -1))
    np.testing.assert_allclose(forth, back[::-1], atol=1e-6)
    assert np.abs(forth[0] - forth[1]).max() > 0.1


@pytest.mark.parametrize(
    "options", [{"tile": 96}, {"overlap": 0}, {"blend": "mean"}, {"precision": "bf16"}, {"seed": 2}], ids=str
)
def test_every_option_changes_the_result(channel, options):
    default = channel.upscale(IMAGE, tile=32, seed=1)
    assert (channel.upscale(IMAGE, **{"tile": 32, "seed": 1} | options) != default).mean() > 0.01


def test_every_option_of_the_sampler_changes_the_result(channel, monkeypatch):
    """With a pointwise map in place of the network, which would take seconds to compile for each."""
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(2 * x))
    choices = [{}, {"steps": 3}, {"sampler": "deterministic"}, {"sampler": "heun"}, {"thinning": "released"}]
    fresh = replace(channel)
    results = [fresh.upscale(IMAGE, tile=32, **options) for options in choices]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first != second).mean() > 0.3


@pytest.mark.usefixtures("way")
def test_bf16_is_close_to_fp32(channel):
    image = IMAGE / np.float32(255)
    low = replace(channel).upscale(image, tile=32, seed=1, precision="bf16")
    full = channel.upscale(image, tile=32, seed=1)
    assert np.sqrt(np.mean((low - full) ** 2)) < 0.02


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_those_of_the_precision(channel, monkeypatch, precision):
    monkeypatch.setattr(onednn, "active", lambda: False)  # no oneDNN of a CPU that may lack bfloat16
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: True)
    dtype, given, compiled = DTYPES[precision], [], Upscaler.compiled

    def noting(self, options, *rest):
        program = compiled(self, options, *rest)
        return lambda params, *more: given.append(params) or program(params, *more)

    monkeypatch.setattr(Upscaler, "compiled", noting)
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(2 * x))
    replace(channel).upscale(IMAGE, tile=32, precision=precision)
    kernels = {value.dtype for params in given for name, value in params.items() if name.endswith(".kernel")}
    assert kernels == {jnp.dtype(dtype)}


# Seams


HEIGHT, WIDTH, TILE = 72, 96, 32
GRADIENT = np.broadcast_to(np.linspace(0.1, 0.9, WIDTH, dtype=np.float32)[None, :, None], (HEIGHT, WIDTH, 3))
NOISE = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
EDGES = np.arange(64, 4 * WIDTH, 64)  # columns of the result where tiles of 32 that overlap by 16 begin and end


def _column_energy(image: np.ndarray) -> np.ndarray:
    """Mean square of the step from each column to the next; index i belongs to the step into column i + 1."""
    return np.square(np.diff(image.astype(np.float64), axis=1)).mean((0, 2))


@pytest.mark.parametrize("picture", [GRADIENT, NOISE], ids=["gradient", "noise"])
def test_a_tiled_result_is_close_to_the_whole_and_has_no_seams(channel, picture):
    """With the channel norm only the border of a tile differs from the whole: `feather` gives it no weight."""
    whole = channel.upscale(picture, tile="off", seed=1)
    feather, mean = (channel.upscale(picture, tile=TILE, blend=blend, seed=1) - whole for blend in ("feather", "mean"))
    assert np.sqrt(np.mean(feather**2)) < 0.005
    assert _column_energy(feather).max() < _column_energy(mean)[EDGES - 1].max() / 10


def test_feather_hides_the_seams_of_group_norm_on_noise(small_upscalers):
    """Steps across the edges of tiles, against steps in between at the same place in the pixel-shuffle's grid."""
    between = np.setdiff1d(np.arange(4, 4 * WIDTH, 4), EDGES)
    ratio = {}
    for blend in tiling.BLENDS:
        energy = _column_energy(small_upscalers["group"].upscale(NOISE, tile=TILE, blend=blend, seed=1))
        ratio[blend] = energy[EDGES - 1].mean() / energy[between - 1].mean()
    assert 0.8 < ratio["feather"] < 1.2
    assert ratio["mean"] > 2


def test_feather_hides_a_tone_of_each_tile_on_a_gradient(channel, monkeypatch):
    """The worst that group norm can do: every tile is brought to one brightness and contrast of its own."""

    def normalise(params, key, tiles, origins):
        centred = tiles - tiles.mean((1, 2, 3), keepdims=True)
        return nearest(params, key, 0.5 + 0.1 * centred / tiles.std((1, 2, 3), keepdims=True), origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: normalise)
    feather, mean = (
        _column_energy(channel.upscale(GRADIENT, tile=TILE, blend=blend))[EDGES - 1].mean() for blend in tiling.BLENDS
    )
    assert feather < mean / 10


# Too little memory, and no numbers


def _failing(fails, error):
    """A compiled function that raises, or returns what `error` is, where `fails(batch, tile)`."""

    def enlarge(params, key, tiles, origins):
        if not fails(len(tiles), tiles.shape[1]):
            return nearest(params, key, tiles, origins)
        if isinstance(error, Exception):
            raise error
        return nearest(params, key, tiles * error, origins)

    return lambda self, options, *_: enlarge


FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123456789 bytes.")


@pytest.mark.parametrize(("batch", "limit", "expected"), [(1, 32, (1, 32)), (4, 64, (1, 64)), (5, 128, (2, 64))])
def test_short_memory_starts_the_image_again_with_less(channel, monkeypatch, batch, limit, expected):
    fails = lambda batch, tile: batch * tile > limit  # noqa: E731
    monkeypatch.setattr(Upscaler, "compiled", _failing(fails, FULL))
    out = np.empty((160, 120, 3), np.float32)
    run = channel.enlarge(IMAGE / np.float32(255), out, Options(), seed=0, batch=batch)
    assert (run.batch, run.options.tile) == (run.batch, run.plan.tile) == expected
    np.testing.assert_allclose(out, enlarged(IMAGE / np.float32(255)), atol=1e-7)


def test_short_memory_in_the_middle_of_an_image_leaves_nothing_of_the_first_try(channel, monkeypatch):
    calls = []
    fails = lambda batch, tile: calls.append(tile) is None and tile == 64 and calls.count(64) > 1  # noqa: E731
    monkeypatch.setattr(Upscaler, "compiled", _failing(fails, FULL))
    image = _noise(130, 20, np.uint8, 3)
    np.testing.assert_array_equal(channel.upscale(image), enlarged(image))
    assert calls[:3] == [64, 64, 32]


@pytest.mark.parametrize(("tile", "message"), [(32, "--tile 16"), ("off", "--tile 16"), (16, "more memory")])
def test_short_memory_for_a_chosen_tile_is_one_sentence(channel, monkeypatch, tile, message):
    monkeypatch.setattr(Upscaler, "compiled", _failing(lambda *_: True, FULL))
    with pytest.raises(MemoryError, match=f"^tile: .*{message}"):
        channel.upscale(IMAGE, tile=tile)


def test_other_errors_of_the_device_are_not_hidden(channel, monkeypatch):
    monkeypatch.setattr(Upscaler, "compiled", _failing(lambda *_: True, jax.errors.JaxRuntimeError("INTERNAL: bug")))
    with pytest.raises(jax.errors.JaxRuntimeError, match="bug"):
        channel.upscale(IMAGE)


def test_an_image_that_bf16_cannot_hold_is_made_in_fp32(channel, monkeypatch):
    broken, sound = (_failing(lambda *_, f=fails: f, np.float32(np.nan))(None, None) for fails in (True, False))
    monkeypatch.setattr(Upscaler, "compiled", lambda self, o, *_: broken if o.precision == "bf16" else sound)
    out = np.empty((160, 120, 3), np.uint8)
    run = channel.enlarge(IMAGE / np.float32(255), out, Options(precision="bf16"), seed=0)
    assert run.options.precision == "fp32"
    np.testing.assert_array_equal(out, enlarged(IMAGE))


def test_a_network_without_numbers_is_an_error(channel):
    params = {name: value * np.float32(np.nan) for name, value in channel.params.items()}
    broken = replace(channel, params=params)
    broken.__dict__["_compiled"] = channel._compiled
    with pytest.raises(NotFiniteError, match="not numbers"):
        broken.upscale(IMAGE, tile=32)


# Loading and measuring


def test_what_a_call_takes_is_measured(channel):
    weights = sum(value.nbytes for value in channel.params.values())
    run, seconds, memory = channel.measure((40, 30), Options(tile=32), 3)
    assert (run.batch, run.plan.tile) == (3, 32)
    assert seconds > 0
    assert memory > weights + 3 * 128 * 128 * 3 * 4
    assert memory < 1e9


def test_equal_models_share_their_abstract_networks():
    first, second, other = Model(small_preset()), Model(small_preset()), Model(small_preset("group"))
    assert first._abstract is second._abstract
    assert first._abstract is not other._abstract
    assert first._abstract is not Model(small_preset(), jnp.bfloat16)._abstract


def test_the_package_offers_the_call():
    assert (jaxsr.load, jaxsr.Options, jaxsr.Upscaler) == (upscaler_module.load, Options, Upscaler)
    with pytest.raises(AttributeError, match="nothing"):
        jaxsr.nothing  # noqa: B018


def test_a_model_is_loaded_by_file_or_folder(small_checkpoints, channel):
    file = small_checkpoints["channel"]
    for path in (file.parent, str(file)):
        loaded = jaxsr.load(path)
        assert (loaded.preset, loaded.source, loaded.sha256) == (channel.preset, file, sha256_file(file))
    assert loaded.params.keys() == channel.params.keys()


def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path, small_checkpoints):
    params, metadata = checkpoint.load(small_checkpoints["channel"])
    broken = checkpoint.save(tmp_path / "broken", params, {"preset": {"name": "x"}})
    with pytest.raises(checkpoint.CheckpointError, match=r"broken.*preset cannot be read"):
        jaxsr.load(broken)
    other = save_small(tmp_path / "other", small_preset())
    wider = small_preset(mlp_ratio=4).to_dict()
    checkpoint.save(other.parent, params, metadata | {"preset": wider})
    with pytest.raises(checkpoint.CheckpointError, match="shape"):
        jaxsr.load(other)
