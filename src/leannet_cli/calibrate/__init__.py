"""The verb ``calibrate``."""

from leannet_cli.calibrate.verb import calibrate

__all__ = ["calibrate"]
