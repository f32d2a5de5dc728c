"""Test schedules against the golden tables, and what is refused."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from jaxsr.diffusion import Schedule, exponential_schedule, thin

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "schedules.npz")
RELEASED = {
    "realsr_v3_s4": exponential_schedule(4, min_noise_level=0.2),
    "realsr_v1_s15": exponential_schedule(15),
    "fine_s60": exponential_schedule(60),
}


@pytest.mark.parametrize("name", RELEASED)
def test_tables_equal_the_released_ones(name: str) -> None:
    schedule = RELEASED[name]
    ours = {
        "sqrt_etas": np.sqrt(schedule.eta),
        "etas": schedule.eta,
        "etas_prev": schedule.eta_prev,
        "alpha": schedule.eta_step,
        "posterior_variance": schedule.variance,
        "posterior_log_variance_clipped": np.log(schedule.variance_clipped),
        "posterior_mean_coef1": schedule.coef_x,
        "posterior_mean_coef2": schedule.coef_x0,
        "weight_loss_mse": schedule.loss_weight,
    }
    for key, table in ours.items():
        np.testing.assert_allclose(table, GOLDEN[f"{name}/{key}"], rtol=1e-12, atol=1e-12, err_msg=key)


def test_released_thinning_keeps_the_rows_of_the_released_tool() -> None:
    thinned = thin(exponential_schedule(15), 5, keep="released")
    np.testing.assert_array_equal(thinned.timestep_map, [0, 3, 6, 9, 12])
    np.testing.assert_array_equal(thinned.eta, exponential_schedule(15).eta[[0, 3, 6, 9, 12]])


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 15, 30, 60])
def test_even_thinning_keeps_the_last_row_and_the_first(steps: int) -> None:
    thinned = thin(exponential_schedule(60), steps)
    assert thinned.steps == steps
    assert thinned.timestep_map[-1] == 59
    assert steps == 1 or thinned.timestep_map[0] == 0


def test_quadratic_thinning_keeps_the_rows_of_a_parabola_and_none_twice() -> None:
    schedule = exponential_schedule(60)
    assert thin(schedule, 4, keep="quadratic").timestep_map.tolist() == [0, 7, 26, 59]
    assert thin(schedule, 1, keep="quadratic").timestep_map.tolist() == [59]
    for steps in range(2, 61):
        rows = thin(schedule, steps, keep="quadratic").timestep_map
        assert (len(rows), rows[0], rows[-1]) == (steps, 0, 59)
        assert (np.diff(rows) > 0).all()
        assert (np.diff(rows, 2) >= -1).all()  # a rounded convex curve


def test_an_unknown_rule_is_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # users do not have the type checks of the test run
    try:
        with pytest.raises(ValueError, match=r"^keep: no 'even'; choose one of ends, quadratic, released"):
            thin(exponential_schedule(60), 4, keep="even")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_thinning_twice_still_tells_the_network_its_own_times() -> None:
    thinned = thin(thin(exponential_schedule(60), 30), 4)
    np.testing.assert_array_equal(thinned.eta, exponential_schedule(60).eta[thinned.timestep_map])


def test_input_scaling() -> None:
    scales = {s: exponential_schedule(4, input_scaling=s).input_scale for s in ("latent", "pixel", "none")}
    noise = 2 * np.sqrt(exponential_schedule(4).eta)
    np.testing.assert_allclose(scales["latent"], (noise**2 + 1) ** -0.5)
    np.testing.assert_allclose(scales["pixel"], 1 / (3 * noise + 1))
    np.testing.assert_array_equal(scales["none"], 1)


@pytest.mark.parametrize("option", [{"kappa": 1.0}, {"min_noise_level": 0.1}, {"power": 0.5}, {"sqrt_eta_end": 0.9}])
def test_every_option_changes_the_tables(option: dict[str, float]) -> None:
    assert not np.allclose(exponential_schedule(15, **option).variance, exponential_schedule(15).variance)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: exponential_schedule(1), "at least 2"),
        (lambda: exponential_schedule(4, min_noise_level=2.5), "rise strictly"),
        (lambda: exponential_schedule(4, kappa=-1.0), "kappa must be positive"),
        (lambda: thin(exponential_schedule(4), 5), "1 to 4, not 5"),
        (lambda: thin(exponential_schedule(4), 0), "1 to 4, not 0"),
        (lambda: Schedule(np.array([0.9, 0.5]), 2.0, np.arange(2)), "rise strictly"),
    ],
)
def test_nonsense_is_refused(make, names: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=names):
        make()
