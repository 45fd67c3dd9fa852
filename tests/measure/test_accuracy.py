"""Figures of a classifier against scikit-learn, scipy, torchmetrics and counting by hand."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score, multiclass_recall

from leannet.measure import measure_accuracy


def drawn(images=60, classes=7, seed=0, strength=2.0):
    """Draw labels of unequal frequency, and logits that are right more often than not."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, images, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += strength
    return torch.from_numpy(logits), torch.from_numpy(labels)


def logits_of(predicted, classes):
    """Return logits that answer so, certainly."""
    return 9.0 * torch.nn.functional.one_hot(torch.tensor(predicted), classes)


@pytest.mark.parametrize(("images", "classes"), [(60, 7), (1, 6), (400, 20), (37, 2)])
def test_figures_are_those_of_scikit_learn_and_torchmetrics(images, classes):
    logits, labels = drawn(images, classes)
    accuracy = measure_accuracy(logits, labels)
    predicted, probabilities = logits.argmax(dim=1), logits.softmax(dim=1)
    there = sorted(set(labels.tolist()))
    assert accuracy.images == images
    assert accuracy.top1.value == pytest.approx(100 * float((predicted == labels).double().mean()))
    assert accuracy.loss.value == pytest.approx(log_loss(labels, probabilities.numpy(), labels=range(classes)))
    assert accuracy.macro_f1.value == pytest.approx(
        100 * f1_score(labels, predicted, labels=there, average="macro", zero_division=0)
    )
    recalls = multiclass_recall(predicted, labels, classes, average="none")
    assert accuracy.balanced_accuracy.value == pytest.approx(100 * float(recalls[there].mean()), rel=1e-6)
    error = multiclass_calibration_error(probabilities, labels, classes, n_bins=15)
    assert accuracy.calibration_error.value == pytest.approx(100 * float(error), rel=1e-6)
    if classes > 5:
        top5 = top_k_accuracy_score(labels, logits.numpy(), k=5, labels=range(classes))
        assert accuracy.top5.value == pytest.approx(100 * top5)


def test_balanced_accuracy_is_scikit_learns_where_all_classes_are_there():
    logits, labels = drawn(400)
    assert set(labels.tolist()) == set(range(7))
    expected = balanced_accuracy_score(labels, logits.argmax(dim=1))
    assert measure_accuracy(logits, labels).balanced_accuracy.value == pytest.approx(100 * expected)


@pytest.mark.parametrize("classes", [2, 5])
def test_no_top5_among_five_classes(classes):
    assert measure_accuracy(*drawn(20, classes)).top5 is None


def test_table_of_classes_by_hand():
    """Three images of class 0 (two found, one taken for 1), one of class 1 (found), one of class 2 (taken for 0)."""
    accuracy = measure_accuracy(logits_of([0, 0, 1, 1, 0], 3), torch.tensor([0, 0, 0, 1, 2]))
    assert accuracy.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    zero, one, two = accuracy.classes
    assert (zero.images, zero.precision, zero.recall.value, zero.f1) == pytest.approx((3, 200 / 3, 200 / 3, 200 / 3))
    assert (one.images, one.precision, one.recall.value, one.f1) == pytest.approx((1, 50, 100, 200 / 3))
    assert (two.images, two.precision, two.recall.value, two.f1) == (1, None, 0, 0)  # never answered
    assert accuracy.balanced_accuracy.value == pytest.approx((200 / 3 + 100 + 0) / 3)
    assert accuracy.macro_f1.value == pytest.approx(400 / 9)


def test_class_without_images_is_left_out_of_the_means():
    """Class 1 has no image, but is answered once; class 3 is neither there nor answered."""
    accuracy = measure_accuracy(logits_of([0, 0, 1, 2], 4), torch.tensor([0, 0, 0, 2]))
    assert accuracy.without_images == (1, 3)
    _, one, _, three = accuracy.classes
    assert (one.images, one.precision, one.recall, one.f1) == (0, 0, None, None)
    assert (three.images, three.precision, three.recall, three.f1) == (0, None, None, None)
    assert accuracy.balanced_accuracy.value == pytest.approx((200 / 3 + 100) / 2)
    assert accuracy.macro_f1.value == pytest.approx((80 + 100) / 2)
    figures = (accuracy.balanced_accuracy, accuracy.macro_f1, accuracy.loss, accuracy.calibration_error)
    assert all(0 <= figure.low <= figure.value <= figure.high < np.inf for figure in figures)


def test_calibration_error_by_hand():
    """Two images at 0.9 of which one is right, and two at 0.6 that are right: 0.4 and 0.4 away."""
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], dtype=torch.float64)
    accuracy = measure_accuracy(probabilities.log(), torch.tensor([0, 1, 0, 0]))
    assert accuracy.calibration_error.value == pytest.approx(40)
    assert accuracy.loss.value == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.6]).mean())


def test_certain_answers_share_the_last_bin():
    """0.95 and a rounded 1.0 lie in one bin: errors in opposite directions cancel there."""
    logits = torch.tensor([[200.0, 0.0], [np.log(19), 0.0]], dtype=torch.float64)
    accuracy = measure_accuracy(logits, torch.tensor([1, 0]))
    assert accuracy.calibration_error.value == pytest.approx(100 * abs((1.0 + 0.95) - 1) / 2)


def test_intervals_of_shares_are_wilsons():
    logits, labels = drawn()
    accuracy = measure_accuracy(logits, labels)
    right = logits.argmax(dim=1) == labels
    shares = [(accuracy.top1, right)]
    shares += [(figures.recall, right[labels == figures.label]) for figures in accuracy.classes]
    shares.append((accuracy.top5, (logits.argsort(dim=1)[:, 2:] == labels[:, None]).any(dim=1)))
    for interval, hits in shares:
        expected = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        assert (interval.low, interval.high) == pytest.approx((100 * expected.low, 100 * expected.high))
        assert interval.method == "Wilson"


def test_intervals_of_the_bootstrap_are_scipys():
    logits, labels = drawn(strength=1.0)
    accuracy = measure_accuracy(logits, labels)
    labels, predicted, probabilities = labels.numpy(), logits.argmax(dim=1).numpy(), logits.softmax(dim=1).numpy()

    def loss(rows):
        return 1 * log_loss(labels[rows], probabilities[rows], labels=range(7))

    def balanced(rows):
        there = np.unique(labels[rows])
        return 100 * np.mean([(predicted[rows] == label)[labels[rows] == label].mean() for label in there])

    def macro_f1(rows):
        there, rows = np.unique(labels[rows]), torch.from_numpy(rows)
        scores = multiclass_f1_score(torch.from_numpy(predicted)[rows], torch.from_numpy(labels)[rows], 7, "none")
        return 100 * float(scores[there].mean())

    for statistic, interval in (
        (loss, accuracy.loss),
        (balanced, accuracy.balanced_accuracy),
        (macro_f1, accuracy.macro_f1),
    ):
        expected = stats.bootstrap(
            (np.arange(len(labels)),), statistic, vectorized=False, method="percentile", n_resamples=1000, rng=1
        ).confidence_interval
        tolerance = 0.1 * (expected.high - expected.low)  # of two samples of a thousand resamples
        assert interval.low == pytest.approx(expected.low, abs=tolerance)
        assert interval.high == pytest.approx(expected.high, abs=tolerance)
        assert interval.method == "bootstrap over images, 1000 resamples, percentiles"


def test_interval_of_the_calibration_error_holds_the_truth():
    """The network is 5 points too sure. Chance makes it look worse, and percentiles would often miss the truth."""
    random = np.random.default_rng(0)
    images, runs, held, above = 400, 40, 0, 0
    for _ in range(runs):
        sure = random.uniform(0.55, 0.95, images)
        right = random.random(images) < sure - 0.05
        logits = torch.from_numpy(np.stack([np.log(sure), np.log(1 - sure)], axis=1))
        interval = measure_accuracy(logits, torch.from_numpy(1 - right.astype(np.int64))).calibration_error
        held += interval.low <= 5 <= interval.high
        above += interval.value > 5
        assert 0 <= interval.low <= interval.value <= interval.high
    assert above > 0.7 * runs
    assert held >= 0.8 * runs


def test_seed_decides_the_intervals():
    logits, labels = drawn()
    assert measure_accuracy(logits, labels).macro_f1 == measure_accuracy(logits, labels).macro_f1
    other = measure_accuracy(logits, labels, seed=1)
    assert other.macro_f1 != measure_accuracy(logits, labels).macro_f1
    assert other.macro_f1.value == measure_accuracy(logits, labels).macro_f1.value


def test_order_of_the_images_does_not_matter():
    logits, labels = drawn()
    backwards = measure_accuracy(logits.flip(0), labels.flip(0))
    forwards = measure_accuracy(logits, labels)
    for name in ("top1", "top5", "balanced_accuracy", "macro_f1", "loss", "calibration_error"):
        assert getattr(backwards, name).value == pytest.approx(getattr(forwards, name).value)
    assert (backwards.confusion == forwards.confusion).all()


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (torch.zeros(2, 3), torch.tensor([0]), "do not fit"),
        (torch.zeros(0, 3), torch.tensor([], dtype=torch.int64), "do not fit"),
        (torch.zeros(2, 1), torch.tensor([0, 0]), "do not fit"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"within 0\.\.2"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), r"within 0\.\.2"),
        (torch.tensor([[0.0, float("nan")]]), torch.tensor([0]), "no finite number"),
    ],
)
def test_what_cannot_be_judged_is_refused(logits, labels, words):
    with pytest.raises(ValueError, match=words):
        measure_accuracy(logits, labels)
