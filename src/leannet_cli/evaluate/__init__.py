"""``leannet evaluate``: the verb, its progress and its tables."""

from leannet_cli.evaluate.verb import evaluate

__all__ = ["evaluate"]
