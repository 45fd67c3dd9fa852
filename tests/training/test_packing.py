"""Nested states as tensors and JSON: what comes back is what went in, to the last bit and the last type."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from leannet.training.checkpoints.packing import pack, unpack

KEYS = st.integers() | st.text(max_size=3)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


def through_files(value):
    """Pack, write both files and read them again."""
    tensors = {}
    text = json.dumps(pack(value, tensors, "state"))
    return unpack(json.loads(text), load(save(tensors)))


def exact(value):
    """Return the value with the type and the bits of each part, since 1 == 1.0 == True in Python."""
    if isinstance(value, dict):
        return "dict", [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [exact(item) for item in value]
    return type(value).__name__, value.hex() if isinstance(value, float) else value


@settings(max_examples=200, derandomize=True, deadline=None)
@given(NESTED)
def test_plain_values_come_back(value):
    assert exact(through_files(value)) == exact(value)


@pytest.mark.parametrize(
    "number", [math.inf, -math.inf, 5e-324, 2.2e-308, 1e-310, 0.1, 1 / 3, -0.0, 1.7976931348623157e308]
)
def test_extreme_numbers_come_back(number):
    assert through_files({"lr": number})["lr"].hex() == number.hex()


def test_no_number_comes_back():
    assert math.isnan(through_files([math.nan])[0])


def test_the_state_of_an_optimizer_comes_back():
    """Integer keys, tuples of betas, and tensors of every kind that a state holds."""
    torch.manual_seed(0)
    weights = [torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last).requires_grad_(), torch.randn(5)]
    optimizer = torch.optim.AdamW([weights[0]], betas=(0.8, 0.9))
    weights[0].square().sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    found = through_files(state)
    assert exact(found["param_groups"]) == exact(state["param_groups"])
    assert list(found["state"]) == [0]
    for name, tensor in state["state"][0].items():
        assert found["state"][0][name].equal(tensor)
        assert (found["state"][0][name].dtype, found["state"][0][name].shape) == (tensor.dtype, tensor.shape)


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (4, 1, 3, 3), (2, 3, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_comes_back(shape, layout):
    """Sums over another layout come in another order, so the training would not go on bit by bit."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    found = through_files((tensor,))[0]
    assert found.equal(tensor)
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_kinds_of_numbers_come_back(dtype):
    tensor = torch.tensor([0, 1, 1]).to(dtype)
    found = through_files([tensor, tensor.new_zeros(()), tensor.new_zeros(0)])
    assert [part.dtype for part in found] == [dtype] * 3
    assert found[0].equal(tensor)
    assert [part.shape for part in found[1:]] == [(), (0,)]


def test_bits_of_numbers_come_back():
    """Denormal numbers, both zeros, infinities and a NaN with a payload."""
    bits = torch.tensor([1, -(2**31), 0, 0x7F800000, 0x7FC00123, 0x007FFFFF], dtype=torch.int32)
    assert through_files([bits.view(torch.float32)])[0].view(torch.int32).equal(bits)


def test_tensors_that_share_memory_are_kept_apart():
    tensor = torch.arange(6.0)
    first, second, rows = through_files([tensor, tensor[2:4], tensor.view(2, 3)[:, 1]])
    assert (first.tolist(), second.tolist(), rows.tolist()) == ([0, 1, 2, 3, 4, 5], [2, 3], [1, 4])


def test_what_no_file_can_hold_is_refused():
    with pytest.raises(TypeError, match=r"state\.a\.1 is a set, which no checkpoint can hold"):
        pack({"a": [1, {2}]}, {}, "state")
