"""Normal quantile with every rounding written down: the same bits in every program, wherever float64 is IEEE's.

A compiler may compute a * b + c with one rounding (FMA) or with two. The choice depends on the processor and on the
loop that the operation was fused into. `jax.lax.erf_inv` therefore differs in its last bits between devices and, for
AVX-512 in jax 0.12, between programs.

Here all numbers are float32 values in float64 arithmetic. The product of two of them is exact, so an FMA changes
nothing. `_rounded` alone rounds to float32, at the places where XLA's float32 `erf_inv` rounds on a CPU with FMA. The
results agree with it at all 2**23 arguments. The formulas are from M. Giles, "Approximating the erfinv function"
(2010), with log and log1p of S. Moshier's Cephes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Float64, UInt32


def _float32(values: float | list[float] | list[list[float]]) -> np.ndarray:
    return np.array(values, np.float32).astype(np.float64)


# Coefficients of polynomials, from the highest power to the constant.
_ERF_INV = _float32(  # in the centre, in the tails
    [
        [2.8102264e-08, -0.00020021426],
        [3.4327394e-07, 0.00010095056],
        [-3.5233877e-06, 0.0013493432],
        [-4.3915065e-06, -0.0036734284],
        [0.00021858087, 0.0057395077],
        [-0.001253725, -0.0076224613],
        [-0.0041776816, 0.0094388705],
        [0.24664073, 1.001674],
        [1.5014094, 2.8329768],
    ]
)
_LOG1P_OVER = _float32([4.527e-05, 0.49854103, 6.5787325, 29.911919, 60.94967, 57.112965, 20.039553])
_LOG1P_UNDER = _float32([1.0, 15.062909, 83.04757, 221.7624, 309.09872, 216.42789, 60.11866])
_LOG = _float32(
    [
        [0.070376836, -0.1151461, 0.116769984],
        [-0.12420141, 0.14249323, -0.16668057],
        [0.20000714, -0.24999994, 0.3333333],
    ]
)
_LN_2 = _float32([0.693359375, -0.00021219444])  # to be added; an exponent times the first is exact
_SQRT_2, _NEAR_0 = _float32([np.sqrt(2), np.sqrt(2) - 1])
_SQRT_HALF = np.float32(np.sqrt(0.5)).view(np.int32)


def normal_quantile(bits: UInt32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Inverse normal distribution function at the odd multiple of 2**-23 in (-1, 1) that the upper 23 bits pick."""
    odd = 2 * (bits >> 9).astype(jnp.int32) + (1 - 2**23)
    # This block uses only jax.lax and operators: jax 0.12 may trace functions of jax.numpy after the context has ended.
    with jax.enable_x64(True):
        x = lax.convert_element_type(odd, np.float64) * 2.0**-23
        return lax.convert_element_type(_erf_inv(x) * _SQRT_2, np.float32)


def _erf_inv(x: Float64[Array, "*shape"]) -> Float64[Array, "*shape"]:
    w = -_log1p(-_rounded(x * x))
    central = w < 5
    argument = lax.select(central, _rounded(w - 2.5), _rounded(_rounded(lax.sqrt(w)) - 3))
    coefficients = (lax.select(central, *(lax.full_like(x, c) for c in pair)) for pair in _ERF_INV)
    return _rounded(_polynomial(argument, *coefficients) * x)


def _log1p(z: Float64[Array, "*shape"]) -> Float64[Array, "*shape"]:
    """log(1 + z) for z in (-1, 0): a rational function near 0, else by `_log`."""
    square = _rounded(z * z)
    ratio = _rounded(_polynomial(z, *_LOG1P_OVER) / _polynomial(z, *_LOG1P_UNDER))
    near = _rounded(z + _rounded(_rounded(_rounded(z * square) * ratio) - 0.5 * square))
    return lax.select(z > -_NEAR_0, near, _log(_rounded(1 + z)))


def _log(y: Float64[Array, "*shape"]) -> Float64[Array, "*shape"]:
    """log(y) by y = 2**exponent (1 + t) with 1 + t between sqrt(1/2) and sqrt(2)."""
    word = lax.bitcast_convert_type(lax.convert_element_type(y, np.float32), np.int32)
    exponent = (word - _SQRT_HALF) >> 23
    t = lax.convert_element_type(lax.bitcast_convert_type(word - (exponent << 23), np.float32), np.float64) - 1
    exponent = lax.convert_element_type(exponent, np.float64)
    square = _rounded(t * t)
    cube = _rounded(square * t)
    series = _polynomial(cube, *(_polynomial(t, *part) for part in _LOG))
    small = _rounded(series * cube + _rounded(exponent * _LN_2[1]))
    return _rounded(exponent * _LN_2[0] + _rounded(_rounded(t - 0.5 * square) + small))


def _polynomial(x: Float64[Array, "*shape"], *coefficients: Array | np.float64) -> Float64[Array, "*shape"]:
    """Evaluate a polynomial by Horner's rule, with one rounding for each product and its sum."""
    result = lax.full_like(x, 0)
    for coefficient in coefficients:
        result = _rounded(result * x + coefficient)
    return result


def _rounded(x: Float64[Array, "*shape"]) -> Float64[Array, "*shape"]:
    """Round to the nearest float32, ties to even.

    Rounding by integers runs in half the time, but takes three times the operations, whose tracing makes the first
    picture of a process 0.4 s slower.
    """
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)
