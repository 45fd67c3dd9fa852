"""The verb ``serve``."""

from leannet_cli.serve.verb import serve

__all__ = ["serve"]
