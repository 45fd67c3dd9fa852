"""``leannet train``: the verb, its progress and its results."""

from leannet_cli.train.verb import NEWEST, train

__all__ = ["NEWEST", "train"]
