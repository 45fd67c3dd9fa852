"""``leannet reproduce``: the verb and its tables."""

from leannet_cli.reproduce.verb import reproduce

__all__ = ["reproduce"]
