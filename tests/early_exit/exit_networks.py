"""Small networks with exits, answers of such, and a rule applied the slow way."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from leannet import create_network
from leannet.early_exit import ExitAnswers, ExitPolicy, attach_exits
from leannet.models import MultiExit

CLASSES = 6
MS = (1.0, 2.0, 4.0)  # milliseconds to the exits of `answers`


class Chain(MultiExit, nn.Module):
    """Four exits that disagree often, so that every rule has something to decide."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(4))
        self.exits = nn.ModuleList(nn.ModuleDict({"classifier": nn.Linear(8, CLASSES)}) for _ in range(3))
        self.head = nn.Linear(8, CLASSES)
        self.in_chans = 3
        self.seen = [0, 0, 0, 0]

    def run_segment(self, index, x):
        if not torch.compiler.is_compiling():  # as when it is exported
            self.seen[index] += len(x)
        return torch.tanh(3 * self.layers[index](x))

    def exit_map(self, index, x):  # noqa: ARG002
        return x

    def classify(self, index, x):
        layer = self.head if index == 3 else self.exits[index]["classifier"]
        return 6 * layer(x.mean(dim=(2, 3)))

    def forward(self, x):
        return self.forward_exits(x)[-1]


def chain():
    return Chain().double().eval()


@cache
def gated():
    """EMGNet with gates that are open for some images and not for others, in double precision."""
    torch.manual_seed(0)
    network = create_network("emgnet56_cifar", num_classes=CLASSES).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one batch must be history enough
    with torch.no_grad():
        network.train().forward_exits(torch.randn(16, 3, 8, 8, dtype=torch.float64))
        for name, parameter in network.named_parameters():
            if name.endswith("threshold"):
                parameter.uniform_(0.2, 1.2)
            if name.endswith("fc.weight"):
                parameter.mul_(2)
    return network.eval().requires_grad_(False)


@cache
def attached():
    torch.manual_seed(0)
    network = attach_exits(create_network("test_resnet", num_classes=CLASSES, img_size=64), ["layer1", "layer3"])
    return network.double().eval().requires_grad_(False)


def images(count, side=8, seed=0):
    return torch.randn(count, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def answers(count=400, exits=3, seed=0, scale=2.0):
    """Exits that get better one by one, and are the surer the likelier they are right."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    hard = torch.rand(count, 1, generator=generator)
    logits = torch.randn(count, exits, CLASSES, generator=generator)
    strength = (1 + torch.arange(exits)) * (1.2 - hard)
    logits += strength[:, :, None] * F.one_hot(labels, CLASSES)[:, None]
    macs = torch.tensor([10.0, 20.0, 30.0][:exits], dtype=torch.float64).expand(count, exits)
    return ExitAnswers(scale * logits, labels, macs.clone())


def middling(network, batch, share=0.6):
    """Thresholds below which an exit is sure of this share of the images."""
    with torch.inference_mode():
        sure = torch.stack([z.softmax(dim=1).amax(dim=1) for z in network.forward_exits(batch)[:-1]])
    return ExitPolicy(tuple(sure.quantile(share, dim=1).tolist()))


def softmax(values):
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / sum(powers) for power in powers]


def sure(probabilities, rule):
    first, second = sorted(probabilities, reverse=True)[:2]
    if rule == "confidence":
        return first
    if rule == "margin":
        return first - second
    return 1 + sum(p * math.log(p) for p in probabilities if p > 0) / math.log(len(probabilities))


def slow(logits, policy):
    """The answer to one image and its exit (from 1), by a loop over the exits of plain numbers."""
    temperatures = policy.temperatures or [1.0] * len(logits)
    all_probabilities, labels = [], []
    for number, (values, temperature) in enumerate(zip(logits, temperatures, strict=True), start=1):
        probabilities = softmax([float(value) / temperature for value in values])
        all_probabilities.append(probabilities)
        labels.append(max(range(len(values)), key=lambda c: values[c]))
        if number == len(logits):
            if policy.ensemble:
                probabilities = [sum(column) / number for column in zip(*all_probabilities, strict=True)]
            return probabilities, number
        if policy.rule == "patience":
            recent = labels[-policy.patience :]
            if len(recent) == policy.patience and len(set(recent)) == 1:
                return probabilities, number
        elif sure(probabilities, policy.rule) >= policy.thresholds[number - 1]:
            return probabilities, number
    raise AssertionError("unreachable")
