"""How exits learn together, against the papers' formulas in NumPy; and two updates by each of their recipes."""

import numpy as np
import pytest
import torch
from noise import CLASSES, SIDE, train_batches
from torch import nn

from leannet import UserError, create_network
from leannet.blocks import ChannelGate
from leannet.models import AllExits, attach_exits
from leannet.training import Recipe, Trainer, load_recipe, make_accelerator, seed_everything
from leannet.training.losses import TrainingLoss, cross_entropies, feature_distance, scan, self_distillation

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="sum")
LABELS = torch.tensor([2, 0, 1, 1])
ONE_HOT = np.eye(3)[LABELS]


def tensors(*shape, count=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_() for _ in range(count)]


def softmax(logits, temperature=1.0):
    powers = np.exp(logits / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def by_hand(logits, maps, targets, alpha, temperature, weight):
    """Cross-entropy of every exit; sums over the early ones of T^2 KL and of squared distances."""
    cross = [-(targets * np.log(softmax(z))).sum() for z in logits]
    teacher = softmax(logits[-1], temperature)
    told = sum((teacher * np.log(teacher / softmax(z, temperature))).sum() for z in logits[:-1])
    distance = sum(((each - maps[-1]) ** 2).sum() for each in maps[:-1])
    return {
        "sum": sum(cross),
        "self_distillation": (1 - alpha) * sum(cross) + alpha * temperature**2 * told + weight * distance,
        "scan": cross[-1] + (1 - alpha) * sum(cross[:-1]) + alpha * temperature**2 * told + weight * distance,
    }


def arrays(values):
    return [value.detach().numpy() for value in values]


@pytest.mark.parametrize("soft", [False, True])
def test_the_sum_of_the_cross_entropies(soft):
    logits, maps = tensors(4, 3), tensors(4, 5, 2, 2, seed=1)
    targets = torch.tensor(softmax(np.arange(12.0).reshape(4, 3) % 5)) if soft else LABELS
    found = cross_entropies(logits, maps, targets, cross_entropy=CROSS_ENTROPY)
    expected = by_hand(arrays(logits), arrays(maps), targets.numpy() if soft else ONE_HOT, 0, 1, 0)
    assert found.item() == pytest.approx(expected["sum"], rel=1e-12)


@pytest.mark.parametrize("name", ["self_distillation", "scan"])
@pytest.mark.parametrize("numbers", [None, (0.3, 2.0, 0.01), (1.0, 5.0, 0.0)], ids=["paper", "others", "all taught"])
def test_distillation_among_the_exits(name, numbers):
    """The value, and that the last exit learns from the labels alone: it teaches and is not told."""
    function, papers = {"self_distillation": (self_distillation, (0.1, 3, 1e-6)), "scan": (scan, (0.5, 3, 5e-7))}[name]
    alpha, temperature, weight = numbers or papers
    given = dict(zip(("alpha", "temperature", "feature_weight"), numbers or (), strict=False))
    logits, maps = tensors(4, 3), tensors(4, 5, 2, 2, seed=1)
    found = function(logits, maps, LABELS, cross_entropy=CROSS_ENTROPY, **given)
    values, features = arrays(logits), arrays(maps)
    expected = by_hand(values, features, ONE_HOT, alpha, temperature, weight)[name]
    assert found.item() == pytest.approx(expected, rel=1e-12)

    found.backward()
    share = 1 if name == "scan" else 1 - alpha
    np.testing.assert_allclose(logits[-1].grad, share * (softmax(values[-1]) - ONE_HOT), atol=1e-12)
    assert maps[-1].grad is None
    for number in (0, 1):
        # d/dz of T^2 KL(p || softmax(z / T)) is T (softmax(z / T) - p).
        towards = temperature * (softmax(values[number], temperature) - softmax(values[-1], temperature))
        slope = (1 - alpha) * (softmax(values[number]) - ONE_HOT) + alpha * towards
        np.testing.assert_allclose(logits[number].grad, slope, atol=1e-12)
        if weight:
            np.testing.assert_allclose(maps[number].grad, 2 * weight * (features[number] - features[-1]), atol=1e-15)


def test_maps_of_other_shapes_cannot_be_compared():
    maps = [torch.zeros(4, 5, 4, 4), torch.zeros(4, 8, 2, 2)]
    with pytest.raises(UserError) as refusal:
        feature_distance(maps)
    assert str(refusal.value) == (
        "cannot compare the features of the exits: those of exit 1 are 5 x 4 x 4, those of the last 8 x 2 x 2. "
        "Pass --exit-feature-weight 0, or choose another --exit-head."
    )
    # Maps that could be stretched to one another are no better.
    with pytest.raises(UserError, match="exit 1"):
        feature_distance([torch.zeros(4, 8, 1, 1), torch.zeros(4, 8, 2, 2)])
    logits = [torch.zeros(4, 3)] * 2
    assert self_distillation(logits, maps, LABELS, cross_entropy=CROSS_ENTROPY, feature_weight=0.0).isfinite()


@pytest.fixture(scope="module")
def network():
    """EMGNet in double precision, whose norms have seen a batch, with thresholds of all sizes; only read."""
    torch.manual_seed(0)
    model = create_network("emgnet56_cifar", num_classes=CLASSES, img_size=SIDE).double().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, ChannelGate):
            module.threshold.data.uniform_(-1, 1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train().forward_exits(batch(8, seed=1))
    return model.eval()


def batch(count=4, seed=0):
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def thresholds(model):
    return np.concatenate([tensor.detach() for name, tensor in model.named_parameters() if name.endswith("threshold")])


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("exit_loss", ["sum", "self_distillation", "scan"])
def test_loss_of_a_batch(network, exit_loss, taught):
    recipe = Recipe(
        smoothing=0.0,
        gate_alpha=0.02,
        exit_loss=exit_loss,
        exit_distill_alpha=0.3,
        exit_distill_temperature=2.0,
        exit_feature_weight=0.01,
        distill_alpha=0.6,
        distill_temperature=5.0,
    )
    told = np.random.default_rng(0).normal(size=(4, CLASSES))
    loss = TrainingLoss(recipe, CLASSES, teacher=(lambda _: torch.from_numpy(told)) if taught else None)
    found = loss(AllExits(network), batch(), LABELS).item()
    logits, maps = (arrays(each) for each in AllExits(network)(batch()))
    expected = by_hand(logits, maps, ONE_HOT, 0.3, 2.0, 0.01)[exit_loss]
    if taught:
        teacher = softmax(told, 5.0)
        divergence = sum((teacher * np.log(teacher / softmax(z, 5.0))).sum() for z in logits)
        expected = 0.4 * expected + 0.6 * 25 * divergence
    assert len(thresholds(network)) == 2 * 9 * (20 + 40 + 80)
    expected += 0.02 * 4 * np.exp(-thresholds(network)).sum()  # for each image, since the loop divides by their number
    assert found == pytest.approx(expected, rel=1e-9)


def test_every_exit_learns_from_mixed_images(network):
    seed_everything(0)
    loss = TrainingLoss(Recipe(smoothing=0.0, mixup=1.0), CLASSES)
    images = batch(5)
    labels = torch.tensor([2, 0, 1, 1, 0])
    mixed = images.clone()
    found = loss(AllExits(network), mixed, labels).item()
    share = ((mixed - images.flip(0).roll(-1, 0)) / (images - images.flip(0).roll(-1, 0)))[0].median().item()
    assert 0.01 < share < 0.99
    targets = np.eye(3)[labels]
    targets[:4] = share * targets[:4] + (1 - share) * targets[:4][::-1]
    torch.testing.assert_close(mixed[4], images[4])
    logits, maps = (arrays(each) for each in AllExits(network)(mixed))
    assert found == pytest.approx(by_hand(logits, maps, targets, 0, 1, 0)["sum"], rel=1e-6)


def trainer_of(model, recipe):
    return Trainer(model, train_batches(), recipe, CLASSES, make_accelerator("cpu"))


RECIPES = {"emgnet": "emgnet56_cifar", "sd_resnet": "sdresnet56_cifar", "scan": "scanresnet56_cifar"}


@pytest.mark.parametrize("name", RECIPES)
def test_two_updates_by_the_recipe_of_the_network(name):
    """Every weight moves, those of all exits included, and everything stays finite."""
    seed_everything(0)
    model = create_network(RECIPES[name], num_classes=CLASSES, img_size=SIDE)
    trainer = trainer_of(model, load_recipe(name).override(epochs=2, batch_size=6, img_size=SIDE))
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    positions = []
    record = trainer.run_epoch(lambda position: positions.append(position.updates))
    assert positions == [1, 2]
    assert 0 < record.loss < 100
    assert [key for key, tensor in model.named_parameters() if tensor.equal(before[key])] == []
    assert all(tensor.isfinite().all() for tensor in trainer.judged.state_dict().values())


def test_regularisation_raises_the_thresholds_whatever_the_size_of_the_batch():
    """One step of plain descent from t = 0: the regularisation adds rate x alpha x exp(-0) to each threshold."""
    found = {}
    for alpha in (0.0, 0.5):
        for size in (6, 12):
            seed_everything(0)
            model = create_network("emgnet56_cifar", num_classes=CLASSES, img_size=SIDE)
            plain = {"opt": "momentum", "momentum": 0.0, "lr": 0.1, "weight_decay": 0.0, "warmup_epochs": 0}
            recipe = Recipe(epochs=1, batch_size=size, hflip=0.0, padding=0, gate_alpha=alpha, **plain)
            trainer = trainer_of(model, recipe)
            trainer.batches = train_batches(12, size)
            trainer._update([next(iter(trainer.batches.epoch(0, 0)))])
            found[alpha, size] = thresholds(model)
    for size in (6, 12):
        np.testing.assert_allclose(found[0.5, size] - found[0.0, size], 0.05, atol=1e-6)


def test_linear_exits_have_no_features_to_compare():
    torch.manual_seed(0)
    model = attach_exits(create_network("resnet20_cifar", num_classes=CLASSES), head="linear", img_size=SIDE)
    recipe = Recipe(epochs=1, batch_size=6, opt="sgd", lr=0.05, exit_loss="scan")
    with pytest.raises(UserError, match="cannot compare the features"):
        trainer_of(model, recipe).run_epoch()
    trainer_of(model, recipe.override(exit_feature_weight=0.0)).run_epoch()
