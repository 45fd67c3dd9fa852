"""MACs against arithmetic by hand and against hooks on layers, which know nothing of PyTorch's counter."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import leannet
from leannet.blocks import MultiScaleConv2d
from leannet.measure import count_macs, count_parameters

CONVOLUTIONS = (nn.Conv2d, MultiScaleConv2d)


def macs_of_layers(model, images):
    """Every output of a convolution or linear layer costs the weights that it is made of: of EMGNet's the ring too."""
    total = 0

    def note(module, _, output):
        nonlocal total
        weights = module.weight[0].numel()
        positions = (
            output.numel() // module.weight.shape[0] if isinstance(module, CONVOLUTIONS) else output.shape[:-1].numel()
        )
        total += positions * module.weight.shape[0] * weights

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return total // images.shape[0]


TIMM = [
    *("resnet18", "mobilenetv3_small_050", "tf_efficientnetv2_b0", "regnetx_002"),
    *("densenet121", "convnext_atto", "ghostnet_050"),
]


@pytest.mark.parametrize("name", TIMM)
def test_timm_networks(name):
    model, images = timm.create_model(name), torch.zeros(1, 3, 64, 64)
    count = count_macs(model, images)
    assert count.total == macs_of_layers(model, images)
    assert count.uncounted == ()


@pytest.mark.parametrize("name", leannet.leannet_networks())
def test_leannet_networks(name):
    model = timm.create_model(name, num_classes=7)
    size = min(model.pretrained_cfg["input_size"][-1], 64)
    images = torch.zeros(2, 3, size, size)
    count = count_macs(model, images)
    assert count.total == macs_of_layers(model, images)
    assert count.uncounted == ()


LAYERS = {
    # In and out channels, kernel, and the positions of the output.
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 3 * 8 * 9 * 10 * 12),
    "stride": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 10, 12), 3 * 8 * 9 * 5 * 6),
    "no padding": (nn.Conv2d(3, 8, 5), (3, 10, 12), 3 * 8 * 25 * 6 * 8),
    "dilation": (nn.Conv2d(3, 8, 3, dilation=2), (3, 10, 12), 3 * 8 * 9 * 6 * 8),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 10, 12), 8 * 9 * 10 * 12),
    "grouped": (nn.Conv2d(8, 16, 3, padding=1, groups=4), (8, 10, 12), 2 * 16 * 9 * 10 * 12),
    "multiplier": (nn.Conv2d(4, 24, 3, padding=1, groups=4), (4, 10, 12), 24 * 9 * 10 * 12),
    # Every input meets every weight.
    "transposed": (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (4, 5, 6), 4 * 6 * 16 * 5 * 6),
    "one dimension": (nn.Conv1d(3, 8, 3), (3, 10), 3 * 8 * 3 * 8),
    "linear": (nn.Linear(20, 7), (20,), 20 * 7),
    "linear over positions": (nn.Linear(20, 7, bias=False), (5, 6, 20), 5 * 6 * 20 * 7),
    "batch norm": (nn.BatchNorm2d(4), (4, 5, 5), 0),
    "activation": (nn.SiLU(), (4, 5, 5), 0),
    "pooling": (nn.AvgPool2d(2), (4, 6, 6), 0),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_layers_by_hand(layer, batch):
    module, shape, expected = LAYERS[layer]
    count = count_macs(module, torch.zeros(batch, *shape))
    assert count.total == expected
    assert count.uncounted == ()


class Product(nn.Module):
    """A product of matrices without a layer."""

    def __init__(self, product):
        super().__init__()
        self.product = product

    def forward(self, x):
        return self.product(x)


PRODUCTS = {
    "matmul": (lambda x: x @ x.transpose(1, 2), 4 * 6 * 4),
    "einsum": (lambda x: torch.einsum("nij,nkj->nik", x, x), 4 * 6 * 4),
    "bmm": (lambda x: torch.bmm(x, x.transpose(1, 2)), 4 * 6 * 4),
    "baddbmm": (lambda x: torch.baddbmm(x @ x.transpose(1, 2), x, x.transpose(1, 2)), 2 * 4 * 6 * 4),
    "functional convolution": (lambda x: F.conv1d(x, torch.zeros(5, 4, 3)), 5 * 4 * 3 * 4),
    "attention": (lambda x: F.scaled_dot_product_attention(*[x[:, None]] * 3), 2 * 4 * 4 * 6),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_by_hand(product):
    function, expected = PRODUCTS[product]
    count = count_macs(Product(function), torch.ones(2, 4, 6))
    assert count.total == expected
    assert count.uncounted == ()


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (torch.fft.fft2, "aten::_fft_c2c"),
        (lambda x: torch.fft.rfft2(x).real, "aten::_fft_r2c"),
        (lambda x: torch.mv(x[0], x[0, 0]), "aten::mv"),
        (lambda x: torch.dot(x[0, 0], x[0, 0]), "aten::dot"),
        (lambda x: torch.cdist(x, x), "aten::_cdist_forward"),
        (lambda x: torch.linalg.inv(x @ x.transpose(1, 2) + torch.eye(4)), "aten::linalg_inv_ex"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operator_that_is_not_counted_is_named(function, operator):
    model = nn.Sequential(nn.Linear(6, 6), Product(function))
    count = count_macs(model, torch.ones(2, 4, 6))
    assert operator in count.uncounted
    assert count.total >= 4 * 6 * 6


@pytest.mark.parametrize(
    "make",
    [
        *(torch.zeros, torch.empty, torch.rand, torch.arange),
        torch.ones,
        torch.eye,
    ],
    ids=lambda make: make.__name__,
)
def test_making_a_constant_is_no_operator_to_worry_about(make):
    assert count_macs(Product(lambda x: x + make(6).sum()), torch.ones(2, 4, 6)).uncounted == ()


@pytest.mark.parametrize(
    "function",
    [
        F.normalize,
        lambda x: F.scaled_dot_product_attention(*[x[:, None]] * 3, attn_mask=torch.zeros(4, 4) > 1),
    ],
    ids=["vector norm", "softmax of masked attention"],
)
def test_reductions_are_no_operators_to_worry_about(function):
    assert count_macs(Product(function), torch.ones(2, 4, 6)).uncounted == ()


def test_parts_of_parameters_may_be_handed_to_layers():
    # As the tokens of some vision transformers (pit_s_224) are.
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 6))
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            return self.layer(x).mean(dim=1) + self.layer(self.token.expand(len(x), 1, 6))[:, 0]

    assert count_macs(Tokens(), torch.zeros(2, 4, 6)).total == 4 * 6 * 3 + 6 * 3


@pytest.mark.parametrize("fused", [True, False])
def test_attention_of_a_vision_transformer_by_hand(fused):
    model = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=10, img_size=64)
    for block in model.blocks:
        block.attn.fused_attn = fused
    tokens, width = 4 * 4 + 1, 192
    patches = 16 * width * 3 * 16 * 16
    attention = tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width
    mlp = 2 * tokens * width * 4 * width
    count = count_macs(model, torch.zeros(1, 3, 64, 64))
    assert count.total == patches + 2 * (attention + mlp) + width * 10
    assert count.by_module["blocks.0"] == attention + mlp
    assert count.uncounted == ()


def test_modules_add_up_to_their_parents():
    model = timm.create_model("efficientnet_b0_dmp", num_classes=7)
    count = count_macs(model, torch.zeros(2, 3, 64, 64))
    assert sum(count.by_module.get(name, 0) for name, _ in model.named_children()) == count.total
    for name, module in model.named_modules():
        children = [f"{name}.{child}" for child, _ in module.named_children()]
        if name and children:
            assert count.by_module.get(name, 0) == sum(count.by_module.get(child, 0) for child in children), name
    assert count.by_module["classifier"] == 1280 * 7
    assert count.by_module["conv_stem"] == 3 * 32 * 9 * 32 * 32
    assert set(count.by_module) <= {name for name, _ in model.named_modules()}


def test_a_layer_that_runs_twice_costs_twice():
    layer = nn.Linear(6, 6)
    count = count_macs(nn.Sequential(layer, layer), torch.zeros(1, 6))
    assert count.total == 2 * 36


def test_training_mode_and_gradients_do_not_count_and_are_left_alone():
    model = timm.create_model("resnet18").train()
    model.layer1.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    running = model.bn1.running_mean.clone()
    total = count_macs(model, torch.randn(2, 3, 64, 64)).total
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(model.bn1.running_mean, running)
    assert total == count_macs(model.eval(), torch.randn(2, 3, 64, 64)).total
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_are_restored_when_the_network_fails():
    model = nn.Sequential(nn.Dropout(), nn.Linear(4, 2)).train()
    with pytest.raises(RuntimeError):
        count_macs(model, torch.zeros(1, 5))
    assert all(module.training for module in model.modules())


def test_parameters_are_numbers_not_tensors_and_only_trainable_ones():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 2, bias=False))
    assert count_parameters(model) == 3 * 8 * 9 + 8 + 2 * 8 + 4 * 2
    model[0].requires_grad_(False)
    assert count_parameters(model) == 2 * 8 + 4 * 2
    shared = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(shared, shared)) == 20
    assert count_parameters(nn.ReLU()) == 0
