"""Test what the key rules make of each kind of tensor, and that one error reports every misfit."""

import ml_dtypes
import numpy as np
import pytest

from jaxsr.torch_files.key_rules import RULES, ConversionError, KeyRule, convert
from jaxsr.torch_files.reader import Tensor
from tests.torch_files.files import random_array


def stored(*arrays: np.ndarray) -> list[Tensor]:
    return [Tensor(array.shape, array.dtype, lambda array=array: array) for array in arrays]


def state(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {key.replace("__", "."): stored(random_array(shape))[0] for key, shape in shapes.items()}


def test_every_kind_of_parameter():
    conv, point, linear = random_array((5, 4, 3, 3)), random_array((5, 4, 1, 1)), random_array((5, 4))
    codes, scale, bias, table = random_array((9, 3)), random_array((4,)), random_array((5,)), random_array((225, 6))
    keys = ["a.weight", "b.weight", "c.weight", "quantize.embedding.weight", "n.weight", "a.bias"]
    keys += ["attn.relative_position_bias_table"]
    arrays = [conv, point, linear, codes, scale, bias, table]
    shapes = {"a.kernel": (3, 3, 4, 5), "b.kernel": (4, 5), "c.kernel": (4, 5), "quantize.embedding.embedding": (9, 3)}
    shapes |= {"n.scale": (4,), "a.bias": (5,), "attn.relative_position_bias_table": (225, 6)}
    params = convert(dict(zip(keys, stored(*arrays), strict=True)), shapes, {}, source="x.pth")
    assert {name: array.shape for name, array in params.items()} == shapes
    assert all(np.asarray(param).flags.c_contiguous and param.dtype == np.float32 for param in params.values())
    params = {name: np.asarray(param) for name, param in params.items()}
    assert params["a.kernel"][2, 1, 3, 4] == conv[4, 3, 2, 1]
    assert params["b.kernel"][3, 4] == point[4, 3, 0, 0]
    assert params["c.kernel"][3, 4] == linear[4, 3]
    np.testing.assert_array_equal(params["quantize.embedding.embedding"], codes)
    np.testing.assert_array_equal(params["n.scale"], scale)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", "float16"), ("bfloat16", "bfloat16"), ("float64", "float32")]
)
def test_types(dtype, expected):
    array = random_array((4,), dtype)
    param = convert({"n.weight": stored(array)[0]}, {"n.scale": (4,)}, {}, source="x.pth")["n.scale"]
    assert param.dtype == np.asarray(param).dtype == np.dtype(getattr(ml_dtypes, expected, None) or expected)
    np.testing.assert_array_equal(np.asarray(param), array.astype(param.dtype))
    np.testing.assert_array_equal(np.asarray(param, np.float32), array.astype(param.dtype).astype(np.float32))


def test_all_misfits_are_in_one_error():
    tensors = state(a__weight=(5, 4, 3, 3), b__weight=(5, 5, 5), odd__key=(2,), n__weight=(4,), n__scale=(4,))
    tensors |= {"i.bias": stored(np.arange(3))[0], "d.mask": stored(np.zeros(3))[0], "e.mask": stored(np.zeros(4))[0]}
    shapes = {"a.kernel": (3, 3, 5, 4), "b.kernel": (4, 5), "n.scale": (4,), "i.bias": (3,), "gone.bias": (2,)}
    twice = KeyRule(r"(n\.scale)", (None,), r"\1", (0,))
    derived = {"d.mask": np.ones(3), "e.mask": np.ones(3)}
    with pytest.raises(ConversionError) as caught:
        convert(tensors, shapes, derived, source="x.pth", rules=(*RULES, twice))
    message = str(caught.value)
    assert message.startswith("x.pth: does not fit the network (")
    for part in (
        "wrongly shaped: a.weight [5, 4, 3, 3] for [3, 3, 5, 4], b.weight [5, 5, 5] for [4, 5], e.mask [4] for [3]",
        "unmatched: odd.key [2]",
        "not floating-point: i.bias int64",
        "written several times: n.scale",
        "never written: gone.bias",
        "buffers with other values than ours: d.mask",
    ):
        assert part in message


def test_two_rules_for_one_key():
    with pytest.raises(ConversionError, match=r"matched by several rules: n\.weight\)"):
        convert(state(n__weight=(4,)), {"n.scale": (4,)}, {}, source="x.pth", rules=(*RULES, RULES[4]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad):
    array = random_array((4,))
    array[2] = bad
    with pytest.raises(ConversionError, match=r"not finite: n\.weight"):
        convert({"n.weight": stored(array)[0]}, {"n.scale": (4,)}, {}, source="x.pth")


def test_buffers_may_be_missing_and_are_not_parameters():
    derived = {"d.mask": np.float32([0, -100]), "e.mask": np.ones(3)}
    half = {"d.mask": stored(np.float16([0, -100]))[0]}
    assert convert(state(n__weight=(4,)) | half, {"n.scale": (4,)}, derived, source="x.pth").keys() == {"n.scale"}
