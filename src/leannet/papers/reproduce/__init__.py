"""A figure of a paper drawn again: the published points, ours beside them, and what becomes of the claims."""

from leannet.papers.reproduce.drawings import DRAWINGS, Drawing, find_drawing
from leannet.papers.reproduce.files import begin_folder, write_reproduction
from leannet.papers.reproduce.reproduction import Reproduction, Row, reproduce_figure
from leannet.papers.reproduce.rule import RULE
from leannet.papers.reproduce.verdicts import Comparison, Verdict

__all__ = [
    "DRAWINGS",
    "RULE",
    "Comparison",
    "Drawing",
    "Reproduction",
    "Row",
    "Verdict",
    "begin_folder",
    "find_drawing",
    "reproduce_figure",
    "write_reproduction",
]
