"""Test tiles: geometry, padding, partition of unity, the released tool's averages, order independence and seams."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsr.imaging.tiling import TilePlan, axis_weights, blend_tiles, cut, plan_tiles

GOLDEN = Path(__file__).parents[1] / "golden" / "tiling.npz"
Tile = Callable[[np.ndarray, int], np.ndarray]


def run(image: np.ndarray, plan: TilePlan, scale: int, per_tile: Tile, order=None) -> np.ndarray:
    """Send the whole image through `per_tile(tile, index)`; check that the bands follow each other, and join them."""
    indices = range(len(plan)) if order is None else order
    rows, expected = [], 0
    for first, band in blend_tiles(plan, scale, ((i, per_tile(cut(image, plan, i), i)) for i in indices)):
        assert first == expected
        assert band.dtype == np.float32
        expected += len(band)
        rows.append(band)
    return np.concatenate(rows)


def nearest(tile: np.ndarray, scale: int) -> np.ndarray:
    return tile.repeat(scale, 0).repeat(scale, 1)


def bicubic(tile: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge bicubically: each output pixel reads the input within two pixels of it."""
    h, w, c = tile.shape
    method = jax.image.ResizeMethod.CUBIC_PYTORCH
    return np.asarray(jax.image.resize(tile, (h * scale, w * scale, c), method, antialias=False))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def padded(image: np.ndarray, plan: TilePlan) -> np.ndarray:
    """Pad the whole image by numpy's own reflection, as the oracle."""
    bottom, right = plan.tops[-1] + plan.tile[0], plan.lefts[-1] + plan.tile[1]
    return np.pad(image, ((0, bottom - image.shape[0]), (0, right - image.shape[1]), (0, 0)), mode="reflect")


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, tuple[int, int], int, int, str]:
    """Draw arguments of `plan_tiles`."""
    align = draw(st.sampled_from([1, 4, 16]))
    tile = (align * draw(st.integers(1, 64 // align)), align * draw(st.integers(1, 64 // align)))
    overlap = align * draw(st.integers(0, max(tile) // align - 1))
    # At most a few hundred tiles: the rule is the same for more. Only a single tile may be as small as the overlap.
    height, width = (draw(st.integers(1, min(300, max(16 * (side - overlap), side)))) for side in tile)
    return height, width, tile, overlap, align, draw(st.sampled_from(["feather", "mean"]))


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(1, 2), st.randoms())
def test_every_pixel_is_covered_with_weight_one(arguments, scale, random):
    plan = plan_tiles(*arguments)
    image = noise(plan.height, plan.width, 1)
    order = list(range(len(plan)))
    random.shuffle(order)
    # One channel is the image itself; the other is all ones and gives the sum of weights.
    blended = run(image, plan, scale, lambda tile, i: nearest(np.concatenate([tile, tile * 0 + 1], 2), scale), order)
    assert blended.shape == (scale * plan.height, scale * plan.width, 2)
    if plan.blend == "feather":
        np.testing.assert_array_equal(blended[..., 1], 1)
    np.testing.assert_allclose(blended[..., 1], 1, atol=1e-6)
    np.testing.assert_allclose(blended[..., :1], nearest(image, scale), atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(plans())
def test_geometry(arguments):
    plan = plan_tiles(*arguments)
    axes = ((plan.tops, plan.height, plan.tile[0]), (plan.lefts, plan.width, plan.tile[1]))
    for starts, size, side in axes:
        assert starts[0] == 0
        assert starts[-1] + side >= size
        if len(starts) == 1:
            continue
        assert list(starts[:-1]) == [k * (side - plan.overlap) for k in range(len(starts) - 1)]
        assert starts[-2] + side < size  # the last tile has pixels of the image that no other has
        unit = arguments[4] if plan.blend == "feather" else 1
        assert starts[-1] % unit == 0
        assert starts[-1] + side - size < unit


@settings(max_examples=60, deadline=None)
@given(plans())
def test_cut_equals_the_padded_image(arguments):
    plan = plan_tiles(*arguments)
    image = noise(plan.height, plan.width, 2)
    whole = padded(image, plan)
    for i in range(len(plan)):
        y, x = plan.origin(i)
        np.testing.assert_array_equal(cut(image, plan, i), whole[y : y + plan.tile[0], x : x + plan.tile[1]])


def test_one_pixel_becomes_a_tile_of_its_colour_and_keeps_its_type():
    pixel = np.array([[[1, 2, 3]]], np.uint16)
    tile = cut(pixel, plan_tiles(1, 1, 8, 4, 4), 0)
    assert tile.dtype == np.uint16
    np.testing.assert_array_equal(tile, np.broadcast_to(pixel, (8, 8, 3)))


def test_cut_of_a_huge_image_takes_the_memory_of_a_tile():
    huge = np.broadcast_to(np.float32(0.5), (10**6, 10**6 + 1, 3))
    plan = plan_tiles(huge.shape[0], huge.shape[1], 64, 16, 16)
    tracemalloc.start()
    tile = cut(huge, plan, len(plan) - 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tile == 0.5).all()
    assert peak < 10 * tile.nbytes


def test_feather_leaves_a_dead_margin_only_where_there_is_a_neighbour():
    plan = plan_tiles(112, 40, (64, 48), 16, 16)
    (above, below), (alone,) = axis_weights(plan, 4)
    assert (alone == 1).all()
    assert (above[:192] == 1).all()
    assert (above[-16:] == 0).all()
    assert (below[:16] == 0).all()
    assert (below[64:] == 1).all()
    assert (above[208:240] > 0).all()
    assert (np.diff(above[192:]) <= 0).all()
    # The ramp is sin^2 over the middle half of the overlap, at pixel centres.
    np.testing.assert_allclose(below[16:48], np.sin(np.pi / 2 * (np.arange(32) + 0.5) / 32) ** 2, atol=2**-13)


def test_a_tile_that_was_moved_back_fades_in_the_middle_of_what_it_shares():
    """With 32 shared pixels and an overlap of 24, the ramp is as long as for 24, around the shared pixels' middle."""
    plan = plan_tiles(96, 64, 64, 24, 8)
    assert (plan.tops, plan.lefts) == ((0, 32), (0,))
    (above, below), _ = axis_weights(plan, 1)
    regular = axis_weights(plan_tiles(104, 64, 64, 24, 8), 1)[0]
    np.testing.assert_array_equal(above[36:60], regular[0][40:64])
    np.testing.assert_array_equal(below[4:28], regular[1][:24])
    assert (above[60:] == 0).all()
    assert (below[28:] == 1).all()


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_mean_reproduces_the_released_tool(case):
    """The golden file's network repeats pixels and multiplies tile number k by 1 + (k + 1) / 100."""
    with np.load(GOLDEN) as golden:
        x, boxes, blended = (golden[f"{case}/{name}"] for name in ("x", "boxes_hr", "blended"))
        tile, stride, scale = golden[f"{case}/patch_stride_scale"].tolist()
    image = np.ascontiguousarray(x[0].transpose(1, 2, 0))
    plan = plan_tiles(image.shape[0], image.shape[1], tile, tile - stride, blend="mean")
    origins = [plan.origin(i) for i in range(len(plan))]
    assert [[y * scale, (y + tile) * scale, x * scale, (x + tile) * scale] for y, x in origins] == boxes.tolist()
    ours = run(image, plan, scale, lambda t, k: nearest(t, scale) * np.float32(1 + (k + 1) / 100))
    np.testing.assert_allclose(ours, blended[0].transpose(1, 2, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("blend", ["feather", "mean"])
@pytest.mark.parametrize("overlap", [8, 16, 24])
def test_any_order_gives_the_same_bits(blend, overlap):
    plan = plan_tiles(70, 90, 32, overlap, 8, blend)
    tones = np.random.default_rng(1).normal(size=len(plan)).astype(np.float32)
    image = noise(70, 90, 3)
    results = [
        run(image, plan, 2, lambda tile, i: nearest(tile, 2) + tones[i], order)
        for order in (None, range(len(plan) - 1, -1, -1), np.random.default_rng(2).permutation(len(plan)).tolist())
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_bands_come_early_and_memory_does_not_grow_with_height():
    plan = plan_tiles(1000, 600, 32, 8, 8)
    row = 32 * 600 * 3 * 4 * 2**2

    def outputs():
        for i in range(len(plan)):
            yield i, np.full((64, 64, 3), i, np.float32)

    tracemalloc.start()
    height = sum(len(band) for _, band in blend_tiles(plan, 2, outputs()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert height == 2000
    assert peak < 3 * row


def test_a_band_is_handed_out_with_the_last_tile_that_reaches_it():
    plan = plan_tiles(80, 80, 32, 8, 8)
    taken = []

    def outputs():
        for i in (2, 0, 1, 5, 4, 3, 8, 6, 7):
            taken.append(i)
            yield i, np.ones((32, 32, 3), np.float32)

    seen = [(first, len(band), len(taken)) for first, band in blend_tiles(plan, 1, outputs())]
    assert seen == [(0, 24, 3), (24, 24, 6), (48, 32, 9)]


def untiled_error(overlap: int, size: tuple[int, int]) -> float:
    plan = plan_tiles(*size, 32, overlap)
    image = noise(*size, 3)
    whole = bicubic(padded(image, plan), 4)[: 4 * size[0], : 4 * size[1]]
    return float(np.abs(run(image, plan, 4, lambda tile, i: bicubic(tile, 4)) - whole).max())


@pytest.mark.parametrize("size", [(80, 104), (70, 33), (5, 91)])
def test_a_local_network_gives_the_untiled_image(size):
    assert untiled_error(8, size) < 1e-6


def test_a_network_that_reads_past_the_dead_margin_does_not():
    assert untiled_error(4, (80, 104)) > 1e-3


def largest_seam(image: np.ndarray, blend: str, tone: Tile) -> float:
    """Return the largest step between neighbours, along either axis, that the tiles' own tones add to the image."""
    plan = plan_tiles(image.shape[0], image.shape[1], 32, 16, 16, blend)
    with_tone = run(image, plan, 4, lambda tile, i: nearest(tile, 4) + np.float32(tone(tile, i)))
    added = with_tone - nearest(image, 4)
    return max(float(np.abs(np.diff(added, axis=axis)).max()) for axis in (0, 1))


GRADIENT = np.stack(np.meshgrid(np.linspace(-1, 1, 112), np.linspace(-1, 1, 80), [0.0]), -1)[:, :, 0].astype(np.float32)
TONES = np.random.default_rng(3).choice([-0.1, 0.1], 64)


@pytest.mark.parametrize("image", [GRADIENT, noise(80, 112, 3)], ids=["gradient", "noise"])
@pytest.mark.parametrize(
    "tone", [lambda tile, i: TONES[i], lambda tile, i: -0.2 * tile.mean()], ids=["offset", "mean of tile"]
)
def test_feather_hides_the_tone_of_tiles(image, tone):
    feather, mean = largest_seam(image, "feather", tone), largest_seam(image, "mean", tone)
    assert feather < 0.2 * mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 32, 8), "at least one pixel"),
        ((5, 35, 32, 32), "overlap must be"),
        ((35, 5, (32, 48), 40), "overlap must be .* tile .32., but is 40"),
        ((5, 5, 32, -1), "overlap must be"),
        ((5, 5, (8, 0), 0), "tile must be at least 1"),
        ((5, 5, (32, 40), 16, 16), "multiples of align"),
        ((5, 5, 32, 8, 16), "multiples of align"),
        ((5, 5, 32, 8, 0), "multiples of align"),
        ((5, 5, 32, 8, 8, "gauss"), "feather, mean"),
    ],
)
def test_refuses_impossible_plans(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_tiles(*arguments)


def test_refuses_an_image_or_a_tile_of_another_plan():
    plan = plan_tiles(40, 40, 32, 8)
    with pytest.raises(ValueError, match="the image has"):
        cut(noise(40, 41, 3), plan, 0)
    for index in (-1, len(plan)):
        with pytest.raises(ValueError, match=f"tile {index} was named"):
            cut(noise(40, 40, 3), plan, index)


@pytest.mark.parametrize(
    ("indices", "side", "message"),
    [
        ([0, 1, 2], 32, "1 of 4 tiles are missing, the first is tile 3"),
        ([3, 1, 2], 32, "1 of 4 tiles are missing, the first is tile 0"),
        ([2, 2], 32, "Tile 2 was given twice"),
        ([0, 1, 0], 32, "Tile 0 was given twice"),
        ([0, 1, 2, 3, 3], 32, "Tile 3 was given twice"),
        ([], 32, "4 of 4 tiles are missing"),
        ([4], 32, "tile 4 was named"),
        ([0], 31, "must be 32 x 32 pixels"),
    ],
)
def test_refuses_tiles_that_do_not_make_the_image(indices, side, message):
    with pytest.raises(ValueError, match=message):
        list(blend_tiles(plan_tiles(40, 40, 32, 8), 1, ((i, noise(side, side, 3)) for i in indices)))
