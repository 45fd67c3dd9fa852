"""The HTML report: made from the records of runs alone, in one file that needs no network."""

from leannet.report.html.pictures import keep_disagreements
from leannet.report.html.write import REPORT, write_report

__all__ = ["REPORT", "keep_disagreements", "write_report"]
