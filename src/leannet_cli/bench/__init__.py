"""The verb ``bench``: options, progress, tables."""

from leannet_cli.bench.verb import bench

__all__ = ["bench"]
