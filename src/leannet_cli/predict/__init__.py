"""The verb ``predict``."""

from leannet_cli.predict.verb import predict

__all__ = ["predict"]
