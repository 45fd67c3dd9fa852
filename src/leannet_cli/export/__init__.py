"""The verb ``export``."""

from leannet_cli.export.verb import export

__all__ = ["export"]
