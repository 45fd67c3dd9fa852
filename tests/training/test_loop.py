"""The loop against a hand-written one, the schedule against its formula, the judging against plain PyTorch."""

import copy
import math

import pytest
import timm
import torch
import torch.nn.functional as F
from noise import CLASSES, eval_batches, pixels, train_batches
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from leannet import UserError
from leannet.training import Recipe, Trainer, evaluate, make_accelerator, seed_everything, train_network

PLAIN = Recipe(epochs=1, batch_size=6, opt="sgd", lr=0.05, weight_decay=0.0, warmup_epochs=0, sched="cosine")


def network(name="resnet20_cifar"):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=CLASSES)


def train(model, recipe, batches=None, **observers):
    trainer = Trainer(model, batches or train_batches(), recipe, CLASSES, make_accelerator("cpu"))
    return train_network(trainer, **observers)


def rates(recipe, count=12):
    """Return the learning rate of each step, as the optimizer has it when the step is made."""
    seen = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    try:
        train(nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)), recipe, train_batches(count))
    finally:
        handle.remove()
    return seen


def cosine(step, steps, peak):
    return peak / 2 * (1 + math.cos(math.pi * step / steps))


def test_rate_follows_the_cosine():
    steps = 5 * 2  # two batches in each epoch
    recipe = Recipe(epochs=5, batch_size=6, opt="sgd", lr=0.05, warmup_epochs=0)
    assert rates(recipe) == pytest.approx([cosine(step, steps, 0.05) for step in range(steps)])


def test_rate_warms_up_first():
    recipe = Recipe(epochs=5, batch_size=6, opt="sgd", lr=0.05, warmup_epochs=2)
    rising = [0.0005 + step / 4 * (0.05 - 0.0005) for step in range(4)]  # from a hundredth to the peak
    falling = [cosine(step, 10, 0.05) for step in range(4, 10)]  # timm's cosine has gone on meanwhile
    assert rates(recipe) == pytest.approx(rising + falling)


def test_warm_up_takes_half_of_a_short_training_at_most():
    recipe = Recipe(epochs=2, batch_size=6, opt="sgd", lr=0.05, warmup_epochs=5)
    expected = [0.0005, 0.0005 + 0.5 * 0.0495, cosine(2, 4, 0.05), cosine(3, 4, 0.05)]
    assert rates(recipe) == pytest.approx(expected)


def by_hand(model, recipe, steps=2):
    """Make the first steps of SGD with Nesterov momentum, in PyTorch's own words."""
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
    model.train()
    losses = []
    for step, (images, labels) in enumerate(train_batches().epoch(0)):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, steps, recipe.lr)
        log_probabilities = F.log_softmax(model(images), dim=1)
        wanted = F.one_hot(labels, CLASSES) * (1 - recipe.smoothing) + recipe.smoothing / CLASSES
        loss = -(wanted * log_probabilities).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_grad is not None:
            norm = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
            for parameter in model.parameters():
                parameter.grad *= min(1.0, recipe.clip_grad / float(norm))
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("changes", [{}, {"smoothing": 0.0}, {"clip_grad": 0.1}])
def test_two_steps_are_those_of_a_plain_loop(changes):
    recipe = PLAIN.override(**changes)
    model = network()
    expected, losses = by_hand(copy.deepcopy(model).to(memory_format=torch.channels_last), recipe)
    records, steps = [], []
    trained = train(model, recipe, on_epoch=records.append, on_batch=lambda *numbers: steps.append(numbers))
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    assert records[0].loss == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert records[0].lr == pytest.approx(cosine(1, 2, recipe.lr))
    assert steps == [(1, 1, 6), (1, 2, 12)]


def test_loss_is_the_mean_over_images_not_over_batches():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    frozen = PLAIN.override(lr=1e-12, smoothing=0.0)
    batches = train_batches(count=10)  # six images, then four
    with torch.no_grad():
        losses = [F.cross_entropy(model(images), labels, reduction="none") for images, labels in batches.epoch(0)]
    records = []
    train(model, frozen, batches, on_epoch=records.append)
    assert records[0].loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_mixup_mixes_images_and_labels():
    torch.manual_seed(0)
    seen = []

    class Witness(nn.Sequential):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    records = []
    model = Witness(nn.Flatten(), nn.Linear(192, CLASSES))
    train(model, PLAIN.override(mixup=0.5), on_epoch=records.append)
    for mixed, (images, _) in zip(seen, train_batches().epoch(0), strict=True):
        partner = images.flip(0)  # timm mixes the first with the last
        share = ((mixed - partner) * (images - partner)).sum() / (images - partner).square().sum()
        torch.testing.assert_close(mixed, share * images + (1 - share) * partner)
        assert 0 < share < 1
    assert math.isfinite(records[0].loss)


def test_loss_that_is_no_number():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    nn.init.constant_(model[1].weight, math.nan)
    with pytest.raises(UserError) as caught:
        train(model, PLAIN)
    assert str(caught.value) == "training broke down in epoch 1: the loss is no number any more. Lower --lr."


def test_device():
    assert make_accelerator("cpu").device.type == "cpu"
    with pytest.raises(UserError, match=r"unknown device tpu: .* Pass --device auto\."):
        make_accelerator("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"no device cuda: PyTorch finds no GPU. Pass --device cpu\."):
            make_accelerator("cuda")


def test_seed():
    seed_everything(3)
    one = torch.rand(2)
    seed_everything(3)
    assert torch.rand(2).equal(one)


def test_evaluate_answers_in_order():
    model = network().train()
    images = pixels().images.float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    logits = evaluate(model, eval_batches(batch_size=5))
    assert not model.training
    assert (logits.dtype, logits.shape) == (torch.float32, (12, CLASSES))
    with torch.no_grad():
        torch.testing.assert_close(logits, model((images - mean) / std), rtol=1e-4, atol=1e-5)
    # One image at a time: batches mix nothing.
    torch.testing.assert_close(evaluate(model, eval_batches(batch_size=1)), logits, rtol=1e-4, atol=1e-5)
