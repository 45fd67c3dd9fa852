"""``leannet train`` and ``leannet search-alpha``: the verbs, their progress and their results."""

from leannet_cli.train.search_alpha import search_alpha
from leannet_cli.train.verb import NEWEST, train

__all__ = ["NEWEST", "search_alpha", "train"]
