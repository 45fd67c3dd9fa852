"""The one rule by which claims of papers are judged, in words and in numbers."""

from __future__ import annotations

from collections.abc import Sequence

from leannet.papers.reproduce.comparisons import ABOUT_THE_SAME
from leannet.papers.reproduce.terms import FREE_FIELDS, FREE_OF_SINGLE_NETWORKS, FREE_OF_SUMMED_LOSSES

__all__ = [
    "CONFIRMED",
    "CONTRADICTED",
    "ENOUGH",
    "FAILS_FOR_OURS",
    "HOLDS_FOR_OURS",
    "LEAST_SEEDS",
    "LINEAR",
    "NOT_AT_THIS_BUDGET",
    "NOT_CONFIRMED",
    "NOT_TESTABLE",
    "ONE_SEED",
    "RULE",
    "left_seeds_text",
]

ENOUGH = 0.5
"""Share of the recipe's image presentations (epochs times images) from which a training can decide a claim."""

LEAST_SEEDS = 2
"""Of both networks of a claim about accuracy."""

ONE_SEED = "one seed does not show how much chance there is in training"

LINEAR = (0.9, 1.1)
"""Of an exponent whose interval lies between these, growth is called linear."""

CONFIRMED, NOT_CONFIRMED, CONTRADICTED = "confirmed", "not confirmed", "contradicted"
HOLDS_FOR_OURS, FAILS_FOR_OURS = "holds for our layouts", "does not hold for our layouts"
NOT_TESTABLE, NOT_AT_THIS_BUDGET = "not testable", "not testable at this budget"

RULE = {
    "Accuracy": (
        "The seeds of a network are put together: their mean, and an interval that squares and adds (Zou and Donner "
        "2008) Student's interval of the mean over seeds, for chance in training, and Wilson's of the mean share, for "
        "the choice of test images; of one seed Wilson's alone. Two networks are compared by squaring and adding once "
        "more (Newcombe 1998), which on the same test images is rather too wide; with exits, at every exit. A claim is "
        f"{CONFIRMED} if the 95 % interval of the difference lies wholly on the claimed side of 0 at each of them. It "
        f"is {CONTRADICTED} if it lies wholly on the other side at one of them, which chance does in up to 7.5 % of "
        f"cases at three exits that do not differ. Else it is {NOT_CONFIRMED}. A claim of not losing more than a "
        "margin is held against minus the margin in the same way. The size is shown and not judged, for a printed "
        "range spans several data sets. Seeds that only one of two networks of a figure has do not count, and are "
        "named. With a network that has no exits, the exit whose MACs are nearest is compared; they may differ by a "
        f"factor of {ABOUT_THE_SAME:g}."
    ),
    "What trainings must be": (
        f"A claim about accuracy is {NOT_TESTABLE} if a record is missing, or a seed of the budget; if no exit needs "
        "about the MACs of the single network; if a network was not trained by the recipe of its paper, in one "
        "process, from no given weights and to the end of its schedule; or if any two of the trainings were for "
        "unequal epochs or numbers of images, or on other images (by the fingerprint of the data). It is "
        f"{NOT_AT_THIS_BUDGET} with fewer than {LEAST_SEEDS} seeds, or if they saw fewer than {100 * ENOUGH:.0f} % of "
        "the images (epochs times images) that the recipe goes through: then what came out is told beside it. Fields "
        f"of a recipe that are free: {', '.join(FREE_FIELDS)}; where exits learn by the sum of their losses "
        f"{', '.join(FREE_OF_SUMMED_LOSSES)}; and of networks without exits {', '.join(FREE_OF_SINGLE_NETWORKS)}. All "
        "others are compared, at the size of image and crop that is used."
    ),
    "Parameters and MACs": (
        f"These need no training. A claim is {CONFIRMED} if ours lie on the claimed side, by at least the printed "
        f"share in its printed places, and {CONTRADICTED} if not; of networks with exits {CONFIRMED} if that is so at "
        f"every exit, with all gates open, and else {NOT_CONFIRMED}. Where one of our counts that enter a claim, about "
        "counts or about networks of about the same MACs, is not the printed one, or not the plotted one within the "
        f'error of reading the plot, the claim "{HOLDS_FOR_OURS}", or it "{FAILS_FOR_OURS}". Untrained, gates may have '
        "any count between all closed and all open; trained, they have their mean on the test images. Into a claim "
        "about accuracy at the same exits no MACs enter."
    ),
    "Time": (
        f"A claim is {CONFIRMED} or {CONTRADICTED} if the 95 % interval of the ratio, measured in turns on one "
        "machine, lies wholly on one side of 1; how large the ratio is belongs to the machine and is not judged. A "
        f"claim about what a network takes on a GPU is {NOT_TESTABLE} without one; the time on the CPU is then told "
        "beside it. Networks whose times had not settled before timing began are named, and the load of the machine "
        "is told: a ratio within rounds bears both."
    ),
    "Time beside MACs": (
        f"A claim that time follows MACs, but not linearly, is {CONTRADICTED} if the rank correlation over the "
        "networks of the table is shown to be negative, or if it is shown to be positive and the 95 % interval of the "
        f"exponent in time = factor * MACs^exponent lies wholly between {LINEAR[0]:g} and {LINEAR[1]:g}. Else it is "
        f"{CONFIRMED} if the correlation is shown to be positive and the interval of the exponent excludes 1. Shown "
        "means that its bootstrap interval excludes 0, and that chance gives one as far from 0 in less than 5 % of "
        f"cases. A claim that time hardly follows MACs is {CONFIRMED} if the interval of the rank correlation lies "
        f"wholly below 0.5, and {CONTRADICTED} if it lies wholly above."
    ),
}
"""By what is judged."""


def left_seeds_text(wanted: Sequence[int], seeds: Sequence[int]) -> str:
    """Return which trainings a claim still needs, empty if none.

    Args:
        wanted: Seeds of the budget.
        seeds: With which both of its networks are trained.
    """
    left = [str(seed) for seed in wanted if seed not in seeds]
    return f"not both are trained yet with seed {' and '.join(left)}" if left else ""
