"""Test the tiles that are chosen for an image: each side padded by itself, few computed pixels, the released tool's."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from jaxsr.imaging.tiling import cut
from jaxsr.models.presets import PRESETS
from jaxsr.options import Options, options_like
from jaxsr.upscaling.tile_choice import (
    AUTO_PIXELS,
    auto_sides,
    choose_tiles,
    computed_pixels,
    origin_unit,
    smaller_tiles,
    tile_unit,
    whole_tile,
)
from tests.small_model import small_preset

GOLDEN = Path(__file__).parents[1] / "golden" / "tiling.npz"
RELEASED = PRESETS["realsr_s4_v3"]
NOMINAL = {"realsr_s4_v3": 64, "bicsr_s4": 64, "sinsr_v1": 64, "inpainting_face_s4": 256, "faceir_s4": 512}
SIZES = list(product(range(1, 131, 7), repeat=2))


def chosen(preset, size, **options):
    """Return the plan, and check that its tiles cover the image without a row or column of tiles too many."""
    plan = choose_tiles(preset, size, Options(**options))
    for starts, side, n in ((plan.tops, plan.tile[0], size[0]), (plan.lefts, plan.tile[1], size[1])):
        assert side % tile_unit(preset) == 0
        ends = [start + side for start in starts]
        assert starts[0] == 0
        assert all(start <= end for start, end in zip(starts[1:], ends, strict=False))
        assert ends[-1] >= n > (ends[-2] if len(ends) > 1 else 0)
        assert len(ends) == 1 or ends[-1] - n < origin_unit(preset)  # pads no more than the whole image has
    return plan


@pytest.mark.parametrize("name", NOMINAL)
def test_each_side_is_padded_to_its_own_multiple_of_the_nominal_size(name):
    unit, preset = NOMINAL[name], PRESETS[name]
    for height, width in SIZES:
        own = (-(-height // unit) * unit, -(-width // unit) * unit)
        for options in ({}, {"tile": "off"}, {"tile": 512}, options_like("resshift")):
            plan = chosen(preset, (height, width), **options)
            assert (plan.tile, len(plan)) == (own, 1)


@pytest.mark.parametrize("options", [{}, {"tile": "off"}, {"tile": 32}, {"tile": (48, 16), "blend": "mean"}], ids=str)
def test_tiles_of_networks_that_do_not_see_the_whole_image(options):
    for size in SIZES:
        plan = chosen(small_preset(), size, **options)
        if options.get("tile") == "off":
            assert (plan.tile, len(plan)) == ((-(-size[0] // 8) * 8, -(-size[1] // 8) * 8), 1)
        elif options:
            assert plan.tile[0] <= 48
        else:
            assert set(plan.tile) <= {32, 64, 96, *range(104, 136, 8)}
            assert len(plan) == 1


@pytest.mark.parametrize("size", [(1, 1), (50, 60), (64, 128), (129, 1), (97, 40)])
def test_padding_is_reflection_at_the_right_and_the_bottom(size):
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    plan = chosen(RELEASED, size)
    padding = [(0, side - n) for side, n in zip(plan.tile, size, strict=True)]
    np.testing.assert_array_equal(cut(image, plan, 0), np.pad(image, [*padding, (0, 0)], mode="reflect"))


@pytest.mark.parametrize("overlap", [None, 64])
@pytest.mark.parametrize("preset", [PRESETS["tiny_x4"], PRESETS["photo_x4"]], ids=lambda preset: preset.name)
def test_auto_takes_the_cheapest_of_all_its_shapes(preset, overlap):
    """The oracle plans with every pair of sides."""
    for size in ((97, 250), (133, 385), (500, 375), (391, 1021)):
        every = []
        heights, widths = (auto_sides(tile_unit(preset), n) for n in size)
        for height, width in product(heights, widths):
            if min(height, width) <= (overlap or 24):
                continue
            plan = choose_tiles(preset, size, Options(tile=(height, width), overlap=overlap))
            every.append((computed_pixels(plan), len(plan)))
        plan = chosen(preset, size, overlap=overlap)
        assert (computed_pixels(plan), len(plan)) == min(every)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("tiny_x4", 1.139), ("photo_x4", 1.13)])
def test_padding_is_small_from_100_pixels_on_and_shapes_are_few(name, most):
    """What a picture costs above its own pixels. The windows of tiny-x4 alone make 1.138 of 105x105 pixels."""
    preset, rng = PRESETS[name], np.random.default_rng(0)
    for low, high, mean in ((100, 256, 1.05), (256, 2000, 1.1)):
        ratios = []
        for size in np.exp(rng.uniform(np.log(low), np.log(high), (500, 2))).astype(int).tolist():
            plan = chosen(preset, tuple(size))
            ratios.append(computed_pixels(plan) / (size[0] * size[1]))
        assert 1 <= np.mean(ratios) <= mean
        assert max(ratios) <= (most if high == 256 else 1.2)
    small = {chosen(preset, size).tile for size in product(range(1, 97, 5), repeat=2)}
    assert len(small) == 9


@pytest.mark.parametrize(
    ("size", "options", "tile", "overlap", "tiles"),
    [
        ((1, 1), {}, (32, 32), 16, 1),
        ((64, 65), {}, (64, 96), 24, 1),
        ((120, 100), {}, (120, 104), 24, 1),
        ((180, 125), {}, (184, 128), 24, 1),
        ((250, 250), {}, (256, 256), 24, 1),
        ((300, 200), {}, (304, 200), 24, 1),
        ((500, 200), {}, (264, 200), 24, 2),
        ((40, 30), {"overlap": 64}, (64, 32), 0, 1),
        ((50, 20), {"tile": "off"}, (56, 24), 8, 1),
        ((300, 17), {"tile": "off"}, (304, 24), 8, 1),
        ((50, 20), {"tile": 16}, (16, 16), 8, 12),
        ((50, 20), {"tile": 32}, (32, 32), 16, 3),
        ((50, 20), {"tile": 96}, (96, 96), 24, 1),
        ((50, 20), {"tile": (32, 64)}, (32, 64), 16, 3),
        ((50, 20), {"tile": 32, "overlap": 0}, (32, 32), 0, 2),
        ((50, 20), {"tile": 32, "overlap": 5, "blend": "mean"}, (32, 24), 5, 2),
        ((50, 20), {"tile": 96, "overlap": 5, "blend": "mean"}, (56, 24), 5, 1),
        ((50, 20), {"tile": 24, "overlap": 8}, (24, 24), 8, 3),
    ],
)
def test_tiles_of_an_image(size, options, tile, overlap, tiles):
    plan = chosen(small_preset(), size, **options)
    assert (plan.tile, plan.overlap, len(plan)) == (tile, overlap, tiles)


@pytest.mark.parametrize(("preset", "least"), [("tiny_x4", 16), ("photo_x4", 8)])
def test_a_tile_without_room_for_an_overlap_is_refused(preset, least):
    preset = PRESETS[preset]
    assert chosen(preset, (50, 20), tile=least).overlap == least // 2
    for tile in (least // 2, (64, least // 2)):
        with pytest.raises(ValueError, match=rf"^tile: {least // 2} leaves no room for an overlap.* give {least} or"):
            choose_tiles(preset, (50, 200), Options(tile=tile))
        assert chosen(preset, (50, 200), tile=tile, overlap=0).overlap == 0
        assert len(chosen(preset, (least // 2, 1), tile=tile)) == 1


@pytest.mark.parametrize("name", ["tiny_x4", "photo_x4"])
def test_tiles_for_less_memory_keep_an_overlap(name):
    preset, plan = PRESETS[name], choose_tiles(PRESETS[name], (300, 50), Options())
    while (smaller := smaller_tiles(preset, Options(), plan)) is not None:
        assert smaller.overlap > 0 or len(smaller) == 1
        assert computed_pixels(smaller) // len(smaller) <= computed_pixels(plan) // len(plan)
        plan = smaller
    assert plan.tile == (2 * tile_unit(preset),) * 2


@pytest.mark.parametrize(
    ("size", "least"),
    [((64, 64), 1.0), ((50, 60), 1.37), ((64, 128), 1.0), ((200, 300), 1.37), ((512, 512), 1.25), ((1000, 700), 1.41)],
)
def test_released_networks_compute_few_pixels_twice(size, least):
    """A square of 128 with the former overlap of half a tile computed 1, 1.4, 2, 3.3, 3.1 and 3.5 times the image."""
    plan = chosen(RELEASED, size)
    assert computed_pixels(plan) <= least * size[0] * size[1]
    assert 16 * plan.tile[0] * plan.tile[1] <= AUTO_PIXELS
    assert len(plan) == 1 or min(plan.tile) >= 128


def test_the_whole_image_is_one_tile_up_to_the_limit():
    side = int(AUTO_PIXELS**0.5) // 4
    assert chosen(RELEASED, (side, side)).tile == (side, side)
    assert len(chosen(RELEASED, (side + 1, side))) > 1
    assert chosen(RELEASED, (2 * side, side // 2)).tile == (2 * side, side // 2)
    wide = chosen(RELEASED, (1000, 700), overlap=64)
    assert min(wide.tile) > wide.overlap == 64


@pytest.mark.parametrize(
    ("name", "tile", "overlap"), [("faceir_s4", 512, 64), ("inpainting_face_s4", 256, 32), ("realsr_s4_v3", 128, 16)]
)
def test_a_default_overlap_is_an_eighth_of_the_tile(name, tile, overlap):
    preset = PRESETS[name]
    plan = chosen(preset, (2 * tile + 8, tile), tile=tile)
    assert (plan.tile, plan.overlap) == ((tile, tile), overlap)
    assert plan.tops[:2] == (0, tile - overlap)
    assert chosen(preset, (tile + 1, tile + 1), tile=tile).overlap == overlap


@pytest.mark.parametrize("name", PRESETS)
def test_units_hold_whole_windows_and_latent_positions(name):
    preset = PRESETS[name]
    latent = tile_unit(preset) * preset.scale // preset.latent_factor
    window = getattr(preset.network, "window_size", 1)
    assert latent % preset.network.align == 0
    assert origin_unit(preset) * preset.scale % (preset.latent_factor * window) == 0
    assert tile_unit(preset) % origin_unit(preset) == 0
    own = {"tiny_x4": 8, "photo_x4": 4}
    assert whole_tile(preset, (1, 1))[0] == (own.get(name) or preset.network.lq_size)
    if name in own:
        assert origin_unit(preset) * preset.scale // preset.latent_factor % preset.network.align == 0


@pytest.mark.parametrize("case", ["a", "c"])
def test_like_the_released_tool_has_its_starts(case):
    """The golden file has tiles of 32 every 24 pixels, half of what `resshift-64` has."""
    fields = options_like("resshift-64")
    with np.load(GOLDEN) as golden:
        tile, stride, scale = golden[f"{case}/patch_stride_scale"].tolist()
        assert (2 * tile, 2 * stride) == (fields["tile"], fields["tile"] - fields["overlap"])
        size, boxes = golden[f"{case}/x"].shape[2:], golden[f"{case}/boxes_hr"] // scale
    plan = choose_tiles(RELEASED, (2 * size[0], 2 * size[1]), Options(**fields))
    starts = [[2 * int(start) for start in sorted(set(boxes[:, axis]))] for axis in (0, 2)]
    assert [list(plan.tops), list(plan.lefts)] == starts


@pytest.mark.parametrize(("like", "tile", "stride"), [("resshift", 512, 448), ("resshift-256", 256, 224)])
def test_like_the_released_tool_has_its_two_other_sizes(like, tile, stride):
    plan = choose_tiles(RELEASED, (tile + 1, 3 * tile), Options(**options_like(like)))
    assert (plan.tile, plan.tops, plan.lefts) == ((tile, tile), (0, 1), (0, stride, 2 * stride, 2 * tile))


def test_like_the_released_tool_only_long_axes_are_cut():
    assert options_like("resshift-64") == {
        "tile": 64,
        "overlap": 16,
        "blend": "mean",
        "tile_noise": "fresh",
    }
    for preset in (RELEASED, small_preset()):
        plan = chosen(preset, (600, 300), **options_like("resshift"))
        wide = 320 if preset is RELEASED else 304
        assert (plan.tile, plan.tops, plan.lefts) == ((512, wide), (0, 88), (0,))
    with pytest.raises(ValueError, match=r"^tile: must be a multiple of 512 for this model, got 256"):
        choose_tiles(PRESETS["faceir_s4"], (9, 9), Options(**options_like("resshift-256")))
    with pytest.raises(ValueError, match=r"^like: no 'sinsr'"):
        options_like("sinsr")
