"""Which networks nothing beats in accuracy and one cost."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the points that no other point dominates, the cheapest first.

    A point dominates another that is at least as costly and at most as good, and worse in one of the two. Points that
    are equal in both do not dominate each other.

    Args:
        points: Pairs of cost and accuracy.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front
