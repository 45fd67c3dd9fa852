"""The one exception for what a user can put right."""

from __future__ import annotations

__all__ = ["EXIT_INTERRUPTED", "UserError"]

EXIT_INTERRUPTED = 130
"""Of a command that a key press ended."""


class UserError(Exception):
    """A mistake in what the user gave: a file, a name, a size, an option.

    The command line prints it as one line, ``what: why. remedy``, and exits with 2. Everything else that
    is raised is a defect of leannet and may show a traceback.

    Args:
        what: The thing concerned, named exactly ("cannot read photos/cat/0012.jpg").
        why: The reason ("truncated JPEG").
        remedy: What to do now ("Remove it, or pass --bad-images skip to train without it").
    """

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.why.rstrip('.')}. {self.remedy.rstrip('.')}."
