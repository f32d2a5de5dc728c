"""Test plans: how options are resolved for an image, and what is tried when memory is short."""

import pytest

from jaxsr.models.presets import PRESETS
from jaxsr.options import Options
from jaxsr.upscaling.plan import ImageRun, plan_run, tile_unit, with_less_memory
from tests.small_model import small_preset

PRESET = small_preset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5}, "^steps: .* 4 steps"),
        ({"tile": 40}, "^tile: must be a multiple of 16"),
        ({"tile": 32, "overlap": 8}, "^overlap: must be a multiple of 16"),
        ({"tile": 32, "overlap": 32}, "^overlap must be"),
        ({"alpha": (0.1, 0.2, 0.3)}, "^alpha: must be one number or 2, one per step, got 3"),
    ],
)
def test_values_that_do_not_fit_the_model_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan_run(PRESET, (50, 50), Options(**options))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^batch:"):
        plan_run(PRESET, (50, 50), Options(), batch=0)


def test_a_model_that_needs_a_mask_is_refused():
    with pytest.raises(ValueError, match="mask"):
        plan_run(small_preset(cond_mask=True), (50, 50), Options())


@pytest.mark.parametrize(
    ("size", "options", "tile", "overlap", "tiles"),
    [
        ((1, 1), {}, 64, 16, 1),
        ((64, 40), {}, 64, 16, 1),
        ((64, 65), {}, 64, 16, 2),
        ((120, 100), {}, 128, 16, 1),
        ((180, 125), {}, 128, 16, 2),
        ((250, 250), {}, 256, 32, 1),
        ((300, 200), {}, 128, 16, 6),
        ((40, 30), {"overlap": 64}, 128, 64, 1),
        ((50, 20), {"tile": "off"}, 64, 16, 1),
        ((300, 17), {"tile": "off"}, 304, 48, 1),
        ((50, 20), {"tile": 16}, 16, 0, 8),
        ((50, 20), {"tile": 32}, 32, 16, 3),
        ((50, 20), {"tile": 32, "overlap": 0}, 32, 0, 2),
        ((50, 20), {"tile": 32, "overlap": 5, "blend": "mean"}, 32, 5, 2),
    ],
)
def test_tiles_of_an_image(size, options, tile, overlap, tiles):
    run = plan_run(PRESET, size, Options(**options))
    assert (run.plan.tile, run.plan.overlap, len(run.plan)) == (tile, overlap, tiles)
    assert (run.options.tile, run.options.overlap) == (tile, overlap)


def test_tiles_of_a_vq_model_are_smaller_unless_one_is_asked_for():
    preset = PRESETS["realsr_s4_v3"]
    sides = [plan_run(preset, (n, n), Options()).plan.tile for n in (64, 65, 128, 129, 1000)]
    assert sides == [64, 128, 128, 128, 128]
    assert plan_run(preset, (300, 300), Options(tile=256)).plan.tile == 256


def test_a_run_leaves_nothing_open_and_gives_itself_again():
    run = plan_run(PRESET, (50, 20), Options(), batch=3)
    assert run.options == Options(steps=2, sampler="ancestral", tile=64, overlap=16)
    assert plan_run(PRESET, (50, 20), run.options, batch=3) == run


@pytest.mark.parametrize("name", PRESETS)
def test_tile_units_hold_whole_windows_and_blocks_of_noise(name):
    preset, unit = PRESETS[name], tile_unit(PRESETS[name])
    latent = unit * preset.scale // preset.latent_factor
    assert latent % 16 == 0
    assert latent % preset.network.align == 0


def _halvings(run: ImageRun, asked: Options) -> list[tuple[int, int]]:
    """Return (batch, tile) of every smaller run, until there is none."""
    steps = []
    while True:
        try:
            run = with_less_memory(run, PRESET, asked)
        except MemoryError:
            return steps
        assert run.options.tile == run.plan.tile
        steps.append((run.batch, run.plan.tile))


def test_short_memory_halves_the_batch_then_the_tile_down_to_the_unit():
    asked = Options(precision="bf16")
    run = plan_run(PRESET, (480, 480), asked, batch=5)
    assert _halvings(run, asked) == [(2, 256), (1, 256), (1, 128), (1, 64), (1, 32), (1, 16)]
    assert with_less_memory(run, PRESET, asked).options.precision == "bf16"


def test_short_memory_never_goes_below_the_overlap():
    asked = Options(overlap=64)
    assert _halvings(plan_run(PRESET, (480, 480), asked), asked) == [(1, 128)]


def test_a_tile_that_was_asked_for_is_not_changed():
    asked = Options(tile=64)
    assert _halvings(plan_run(PRESET, (480, 480), asked, batch=2), asked) == [(1, 64)]
    with pytest.raises(MemoryError, match="--tile 32"):
        with_less_memory(plan_run(PRESET, (480, 480), asked), PRESET, asked)


def test_short_memory_first_recomputes_where_the_gradient_goes_through_the_network():
    asked = Options(through="state", alpha=0.1)
    run = with_less_memory(plan_run(PRESET, (480, 480), asked, batch=2), PRESET, asked)
    assert (run.remat, run.batch, run.plan.tile) == (True, 2, 256)
    assert _halvings(run, asked)[:2] == [(1, 256), (1, 128)]
    while run.plan.tile > 64:
        run = with_less_memory(run, PRESET, asked)
        assert run.remat
    assert not with_less_memory(plan_run(PRESET, (480, 480), Options(), batch=2), PRESET, Options()).remat
