"""Duplicate Max-pooling put into networks of timm and torchvision: which blocks, what they answer, what is saved."""

import pytest
import torch
from convertible_networks import MAKERS, PLAIN, SIZE, batch, inputs_of, layers, original, reference
from registered_networks import with_history
from torch import nn

from leannet import fuse, replace_linear_bottlenecks
from leannet.blocks import ChannelMaxPool, Duplicate, DuplicateBranches, DuplicatePlanes, PlaneMaxPool
from leannet.measure import count_macs, count_parameters

WAYS = [("duplicate", "max"), ("duplicate", "conv"), ("conv", "max")]
ways = pytest.mark.parametrize(("expansion", "projection"), WAYS)
# The fused networks are large, and their blocks are those of their smaller sisters.
makers = pytest.mark.parametrize("maker", PLAIN)
ONE_OF_EACH_BLOCK = [
    "timm efficientnet_b0",
    "timm tf_efficientnetv2_b0",
    "torchvision mobilenet_v2",
    "torchvision mobilenet_v3_small",
    "torchvision mnasnet0_5",
]
# Both replacements in every network, each alone in one of each kind of block.
every_way = pytest.mark.parametrize(
    ("maker", "expansion", "projection"),
    [
        *((maker, "duplicate", "max") for maker in PLAIN),
        *((maker, *way) for way in WAYS[1:] for maker in ONE_OF_EACH_BLOCK),
    ],
)


def expected_reasons(table):
    """What the paper's condition says of each block of a table of hidden channels, output channels, stride."""
    channels, reasons = table[0][1], []
    for hidden, out_channels, stride in table:
        if not hidden:
            reasons.append("it has no expansion")
        elif channels != out_channels:
            reasons.append(f"it has {channels} input and {out_channels} output channels")
        elif stride != 1:
            reasons.append(f"its stride is {stride}")
        elif hidden % channels:
            reasons.append(f"its hidden width {hidden} is no multiple of its {channels} channels")
        else:
            reasons.append("")
        channels = out_channels
    return reasons


def channels_before_first_row(maker):
    return {"torchvision mnasnet0_5": 8}.get(maker)


@pytest.mark.parametrize("maker", PLAIN)
def test_the_blocks_that_the_paper_means_are_replaced_and_no_others(maker):
    table = PLAIN[maker][1]
    conversion = replace_linear_bottlenecks(original(maker), input_size=SIZE)
    expected = expected_reasons(table)
    if first := channels_before_first_row(maker):  # its first block has no row, for it is no inverted residual
        expected[0] = f"it has {first} input and {table[0][1]} output channels"
    assert [block.reason for block in conversion.blocks] == expected
    assert [block.replaced for block in conversion.blocks] == [not reason for reason in expected]
    assert len(conversion.replaced) == expected.count("")
    for block, (hidden, out_channels, _) in zip(conversion.blocks, table, strict=True):
        if hidden:
            assert (block.hidden_channels, block.out_channels) == (hidden, out_channels)


# Of EfficientNetV2's tables: blocks with a fused expansion, then inverted residuals that are not first in their stage.
@pytest.mark.parametrize(
    ("maker", "fused", "replaced"),
    [("timm tf_efficientnetv2_b0", 2 + 2, 2 + 4 + 7), ("torchvision efficientnet_v2_s", 2 + 4 + 4, 5 + 8 + 14)],
)
def test_blocks_with_a_fused_expansion_are_left_alone(maker, fused, replaced):
    conversion = replace_linear_bottlenecks(original(maker), input_size=SIZE)
    reasons = [block.reason for block in conversion.blocks]
    assert reasons[:fused] == ["its expansion is fused with the spatial convolution"] * fused
    assert reasons[fused:].count("") == len(conversion.replaced) == replaced
    assert conversion.predicted == conversion.counted
    assert len(reasons) == fused + replaced + 3  # the first block of each of the three last stages


@every_way
def test_what_is_saved_is_what_was_predicted(maker, expansion, projection):
    model = original(maker)
    images = torch.zeros(1, *SIZE)
    before = count_parameters(model), count_macs(model, images).total
    conversion = replace_linear_bottlenecks(model, expansion, projection, input_size=SIZE)
    assert (conversion.before.parameters, conversion.before.macs) == before
    assert conversion.predicted == conversion.counted
    after = count_parameters(model), count_macs(model, images).total
    assert (conversion.counted.parameters, conversion.counted.macs) == after
    assert after < before
    assert conversion.before.macs - conversion.counted.macs == sum(block.saved.macs for block in conversion.blocks)
    assert (conversion.expansion, conversion.projection, conversion.input_size) == (expansion, projection, SIZE)


@every_way
def test_a_replaced_block_is_the_papers(maker, expansion, projection):
    model, untouched = original(maker), original(maker)
    conversion = replace_linear_bottlenecks(model, expansion, projection, input_size=SIZE)
    inputs = inputs_of(model, [block.name for block in conversion.replaced], batch())
    assert inputs
    for block in conversion.replaced:
        x, copies = inputs[block.name], block.hidden_channels // block.in_channels
        converted = model.get_submodule(block.name)
        kinds = {type(m) for m in converted.modules()}
        assert (Duplicate in kinds, ChannelMaxPool in kinds) == (expansion == "duplicate", projection == "max")
        expected = reference(untouched.get_submodule(block.name), x, expansion, projection, copies)
        torch.testing.assert_close(converted(x), expected, rtol=1e-5, atol=1e-5)


@makers
def test_weights_that_stay_are_the_same_bits(maker):
    model, untouched = original(maker), original(maker)
    conversion = replace_linear_bottlenecks(model, input_size=SIZE)
    before, after = untouched.state_dict(), model.state_dict()
    assert [key for key, tensor in after.items() if not torch.equal(tensor, before[key])] == []
    gone = set()
    for block in conversion.replaced:
        prefixed = {id(m): name for name, m in untouched.named_modules()}
        expand, _, project = layers(untouched.get_submodule(block.name))
        for layer in (*expand, *project):
            gone |= {f"{prefixed[id(layer)]}.{key}" for key in layer.state_dict()}
    assert before.keys() - after.keys() == gone


@pytest.mark.parametrize("maker", ONE_OF_EACH_BLOCK)
@ways
def test_converting_twice_changes_nothing_more(maker, expansion, projection):
    model = original(maker)
    first = replace_linear_bottlenecks(model, expansion, projection, input_size=SIZE)
    with torch.no_grad():
        answer = model(batch())
    second = replace_linear_bottlenecks(model, input_size=SIZE)
    with torch.no_grad():
        assert torch.equal(model(batch()), answer)
    assert second.replaced == ()
    assert second.before == second.predicted == second.counted == first.counted
    again = {block.name for block in second.blocks if block.reason == "it has been converted before"}
    assert again == {block.name for block in first.replaced}


@pytest.mark.parametrize("maker", ONE_OF_EACH_BLOCK)
@pytest.mark.parametrize(
    ("form", "projection"),
    [("planes", "max"), ("planes", "conv"), ("grouped", "max"), ("branches", "max"), ("branches", "conv")],
)
def test_a_fused_network_answers_as_before(maker, form, projection):
    model, images = original(maker), batch()[:, :, ::2, ::2].double()
    conversion = replace_linear_bottlenecks(model, "duplicate", projection, input_size=SIZE)
    # The converted network has other means and variances; with the old ones its values grow beyond any precision.
    with_history(model.double(), batch(seed=1)[:, :, ::2, ::2].double())
    with torch.no_grad():
        expected, before, before_parameters = model(images), model.state_dict(), list(model.parameters())
        assert fuse(model, form) == len(conversion.replaced)
        torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)
    assert not any(isinstance(m, Duplicate) for m in model.modules())
    planes, branches = (
        len(conversion.replaced) if (form, projection) == (each, "max") else 0 for each in ("planes", "branches")
    )
    assert sum(isinstance(m, DuplicatePlanes) for m in model.modules()) == planes
    assert sum(isinstance(m, PlaneMaxPool) for m in model.modules()) == planes
    assert sum(isinstance(m, DuplicateBranches) for m in model.modules()) == branches
    after = model.state_dict()
    if not branches:
        assert after.keys() - before.keys() == {key for key in after if key.endswith("planes")}
        assert len(after) == len(before) + planes
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in before_parameters)
    assert fuse(model, form) == 0
    assert replace_linear_bottlenecks(model.float(), input_size=SIZE).counted == conversion.counted


def test_weights_of_one_order_do_not_load_into_the_other():
    converted, fused = original("timm mobilenetv2_100"), original("timm mobilenetv2_100")
    replace_linear_bottlenecks(converted, input_size=SIZE)
    replace_linear_bottlenecks(fused, input_size=SIZE)
    fuse(fused)
    for source, target in ((converted, fused), (fused, converted)):
        with pytest.raises(RuntimeError, match="planes"):
            target.load_state_dict(source.state_dict())


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="form must be planes, grouped or branches, not folded"):
        fuse(original("timm mobilenetv2_100"), "folded")


def test_nothing_to_fuse_without_duplication():
    model = original("timm mobilenetv2_100")
    assert fuse(model) == 0
    replace_linear_bottlenecks(model, "conv", "max", input_size=SIZE)
    assert fuse(model) == 0


# One of each way of building blocks; scripting takes seconds.
@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
@pytest.mark.parametrize(
    ("maker", "form"),
    [
        ("timm mobilenetv2_100", None),
        ("timm efficientnet_b0", "planes"),
        ("torchvision mobilenet_v3_small", "grouped"),
        ("torchvision mnasnet0_5", "planes"),
        ("torchvision mobilenet_v3_small", "branches"),
    ],
)
def test_a_converted_and_fused_network_is_scripted(maker, form):
    model = original(maker)
    replace_linear_bottlenecks(model, input_size=SIZE)
    with_history(model, batch(seed=1))
    if form:
        fuse(model, form)
    scripted = torch.jit.script(model)
    with torch.no_grad():
        torch.testing.assert_close(scripted(batch()), model(batch()), rtol=1e-4, atol=1e-4)


def test_modes_and_sizes_are_left_as_they_were():
    model = original("timm mobilenetv2_100").train()
    model.blocks[2].eval()
    modes = {name: m.training for name, m in model.named_modules()}
    replace_linear_bottlenecks(model, input_size=SIZE)
    for name, module in model.named_modules():
        assert module.training == modes[name] or isinstance(module, nn.Identity)  # whose mode means nothing
        assert not module._forward_hooks


def test_macs_are_counted_for_the_networks_own_size():
    assert replace_linear_bottlenecks(MAKERS["timm mobilenetv2_100"]()).input_size == (3, 224, 224)
    assert replace_linear_bottlenecks(MAKERS["timm mobilenetv2_100"](in_chans=1)).input_size == (1, 224, 224)
    assert replace_linear_bottlenecks(MAKERS["torchvision mobilenet_v3_small"]()).input_size == (3, 224, 224)


def test_two_convolutions_are_nothing_to_replace():
    model = original("timm mobilenetv2_100")
    with pytest.raises(ValueError, match="nothing to replace"):
        replace_linear_bottlenecks(model, "conv", "conv", input_size=SIZE)
    assert not any(isinstance(m, Duplicate | ChannelMaxPool) for m in model.modules())


def test_a_network_without_bottlenecks_has_an_empty_record():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    conversion = replace_linear_bottlenecks(model, input_size=(3, 8, 8))
    assert conversion.blocks == ()
    assert conversion.before == conversion.counted
