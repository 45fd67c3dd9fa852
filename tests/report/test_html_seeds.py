"""Several seeds and several runs in one report: an image is counted once, and chance in training is known."""

from __future__ import annotations

import numpy as np
import pytest
from report_pages import make_comparison

from leannet.measure import wilson_interval
from leannet.page import style_of
from leannet.report.html import write_report
from leannet.report.html.class_plots import class_figure, class_rows, confusion_rows, confusions
from leannet.report.html.records import Answers
from leannet.report.html.sections import differences_from_the_best


def answers_of(network, right, *, seeds=1, images=100):
    """Return answers to the same images; each seed gets the first so many of them right."""
    labels = np.zeros(images, np.int64)
    names = tuple(f"{number}.png" for number in range(images))
    found = []
    for seed in range(seeds):
        count = right[seed] if isinstance(right, tuple) else right
        found.append(Answers(network, seed, names, labels, (np.arange(images) >= count).astype(np.int64), labels / 1))
    return found


def test_seeds_that_answer_alike_are_no_further_images():
    """Three times the same answers to 100 images say no more than they say once."""
    texts = []
    for seeds in (1, 3):
        matrices = confusions(answers_of("a", 80, seeds=seeds), 2)
        drawn = class_figure(matrices, ("cat", "dog"), {"a": style_of(0)}, "classes")
        texts.append(drawn.traces[0]["hovertext"][0])
        assert class_rows(matrices, ("cat", "dog")) == [("cat", (80.0,))]
        assert confusion_rows(matrices, ("cat", "dog")) == [("a", "cat", "dog", 20 * seeds)]
    alone = wilson_interval(80, 100)
    assert f"80 of 100 right<br>80.0 % ({alone.low:.1f} to {alone.high:.1f})" in texts[0]
    assert f"80 and 80 and 80 of 100 right<br>80.0 % ({alone.low:.1f} to {alone.high:.1f}, mean of 3 seeds)" in texts[1]


def test_a_class_without_images_in_one_of_the_runs_is_no_reason_to_fail(tmp_path):
    """The same name, size and classes, but other images."""
    folders = [
        make_comparison(tmp_path / name, (network,)) for name, network in (("one", "sm_v2"), ("two", "lcnet_050"))
    ]
    for path in folders[1].rglob("predictions.csv"):
        lines = path.read_text().splitlines()
        classes = sorted({line.split(",")[1] for line in lines[1:]})
        path.write_text(
            "\n".join([lines[0], *(line.replace(f",{classes[0]},", f",{classes[1]},") for line in lines[1:])])
        )
    write_report(folders, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Accuracy on each class of lcnet_050: judged on other numbers of images of the classes." in text


@pytest.mark.parametrize(
    ("first", "second", "seeds", "said"),
    [
        (700, 600, 1, "a (seed 0) is better than b (seed 0) by 10.00 points"),
        (700, 697, 1, "a (seed 0) and b (seed 0): no difference shown: -0.30 points"),
        (700, 600, 3, "a is better than b by 10.00 points (95 % interval 5.82 to 14.13; means of 3 and 3 seeds)"),
        # By their first seeds alone a is far better; by their means nobody knows.
        ((700, 600, 640), (600, 660, 650), 3, "a and b: no difference shown, +1.00 points"),
    ],
)
def test_the_best_is_held_against_the_others_with_all_their_seeds(first, second, seeds, said):
    both = (("a", first), ("b", second))
    answers = [each for name, right in both for each in answers_of(name, right, seeds=seeds, images=1000)]
    (sentence,) = differences_from_the_best(answers)
    assert sentence.startswith(said)
