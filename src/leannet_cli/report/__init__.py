"""``leannet report``: the verb."""

from leannet_cli.report.verb import report

__all__ = ["report"]
