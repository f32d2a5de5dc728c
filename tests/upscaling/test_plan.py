"""Test plans: how options are resolved for an image, and what is tried when memory is short."""

from itertools import pairwise

import pytest

from jaxsr.models.presets import PRESETS, ModelPreset
from jaxsr.options import Options, options_like
from jaxsr.upscaling.plan import ImageRun, even_batch, plan_run, schedule_for, with_less_memory
from tests.small_model import small_preset

PRESET = small_preset()
LIKE = options_like("resshift-256")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5}, "^steps: .* 4 steps"),
        ({"thinning": (0, 4)}, "^thinning: this model's schedule has rows 0 to 3; leave out row 4"),
        ({"thinning": (0, 3), "temperature": (1.0,) * 3}, "^temperature: must be one number or 2"),
        ({"tile": 36}, "^tile: must be a multiple of 8"),
        ({"tile": 32, "overlap": 4}, "^overlap: must be a multiple of 8"),
        ({"tile": 32, "overlap": 32}, "^overlap: must be less than the tile .32., got 32"),
        ({"tile": (48, 36)}, "^tile: must be a multiple of 8 for this model, got 36"),
        ({"overlap": 448}, "^overlap must be .* less than the tile .448."),
        ({"alpha": (0.1, 0.2, 0.3)}, "^alpha: must be one number or 2, one per step, got 3"),
        ({"temperature": (1.0,) * 3}, "^temperature: must be one number or 2, one per step, got 3"),
        ({"temperature": 1.1, "sampler": "heun"}, "^temperature: the sampler heun draws no noise at its steps"),
    ],
)
def test_values_that_do_not_fit_the_model_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan_run(PRESET, (50, 900), Options(**options))


def test_the_rows_of_a_thinning_are_the_steps():
    run = plan_run(PRESET, (50, 900), Options(thinning=(0, 2, 3)))
    assert (run.options.steps, schedule_for(PRESET, run.options).timestep_map.tolist()) == (3, [0, 2, 3])
    assert plan_run(PRESET, (50, 900), run.options).options == run.options


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^batch:"):
        plan_run(PRESET, (50, 50), Options(), batch=0)


def test_a_batch_computes_few_copies():
    assert [even_batch(7, batch) for batch in range(1, 10)] == [1, 2, 3, 4, 4, 4, 7, 7, 7]
    assert [plan_run(PRESET, (50, 50), Options(tile=32), batch).batch for batch in (2, 3, 5, 100)] == [2, 3, 5, 9]
    for tiles in range(1, 40):
        for batch in range(1, 40):
            even = even_batch(tiles, batch)
            assert even <= min(tiles, batch)
            assert -(-tiles // even) == -(-tiles // batch)
            assert even_batch(tiles, even) == even


def test_a_run_leaves_nothing_open_and_gives_itself_again():
    run = plan_run(PRESET, (50, 20), Options(), batch=3)
    assert run.options == Options(
        steps=2, sampler="ancestral", tile=(64, 32), overlap=16, temperature=1.0, projection=0.0
    )
    for preset in (PRESET, small_preset("group")):
        for size in ((50, 20), (20, 70), (130, 500), (900, 700)):
            for options in ({}, {"tile": "off"}, {"tile": 128}, {"tile": (64, 128), "overlap": 32}, LIKE):
                run = plan_run(preset, size, Options(**options), batch=3)
                assert plan_run(preset, size, run.options, run.batch) == run


def _halvings(run: ImageRun, asked: Options, preset: ModelPreset = PRESET) -> list[tuple[int, tuple[int, int]]]:
    """Return (batch, tile) of every smaller run, until there is none."""
    steps = []
    while True:
        try:
            run = with_less_memory(run, preset, asked)
        except MemoryError:
            return steps
        assert plan_run(preset, (run.plan.height, run.plan.width), run.options, run.batch).plan == run.plan
        steps.append((run.batch, run.plan.tile))


def test_short_memory_halves_the_batch_then_the_tile_as_long_as_tiles_overlap():
    asked = Options(precision="bf16")
    run = plan_run(PRESET, (480, 480), asked, batch=5)
    assert _halvings(run, asked) == [(2, (256, 256)), (1, (256, 256)), *((1, (n, n)) for n in (128, 64, 32, 16))]
    run = plan_run(PRESET, (100, 60), asked)
    assert _halvings(run, asked) == [(1, (48, 32)), (1, (24, 16)), (1, (16, 16))]
    assert with_less_memory(run, PRESET, asked).options.precision == "bf16"


def test_short_memory_chooses_tiles_of_half_the_pixels_where_the_network_sees_all_of_them():
    preset, asked = PRESETS["realsr_s4_v3"], Options()
    run = plan_run(preset, (200, 300), asked)
    tiles = _halvings(run, asked, preset)
    assert tiles[-1] == (1, (64, 64))
    areas = [height * width for height, width in (run.plan.tile, *(tile for _, tile in tiles))]
    assert all(2 * after <= before for before, after in pairwise(areas))


def test_short_memory_never_goes_below_the_overlap():
    asked = Options(overlap=64)
    assert _halvings(plan_run(PRESET, (480, 480), asked), asked) == [(1, (136, 136))]
    group = small_preset("group")
    assert all(min(tile) > 64 for _, tile in _halvings(plan_run(group, (480, 480), asked), asked, group))


def test_a_tile_that_was_asked_for_is_not_changed():
    asked = Options(tile=64)
    assert _halvings(plan_run(PRESET, (480, 480), asked, batch=2), asked) == [(1, (64, 64))]
    with pytest.raises(MemoryError, match="--tile 32"):
        with_less_memory(plan_run(PRESET, (480, 480), asked), PRESET, asked)


def test_short_memory_first_recomputes_where_the_gradient_goes_through_the_network():
    asked = Options(through="state", alpha=0.1)
    run = with_less_memory(plan_run(PRESET, (480, 480), asked, batch=2), PRESET, asked)
    assert (run.remat, run.batch, run.plan.tile) == (True, 2, (256, 256))
    assert _halvings(run, asked)[:2] == [(1, (256, 256)), (1, (128, 128))]
    while run.plan.tile != (64, 64):
        run = with_less_memory(run, PRESET, asked)
        assert run.remat
    assert not with_less_memory(plan_run(PRESET, (480, 480), Options(), batch=2), PRESET, Options()).remat
