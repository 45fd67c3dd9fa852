"""Draw the table of a finished comparison as it looks in a terminal.

python docs/picture.py results/digits docs/compare.svg
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from leannet.measure import Interval, Latency
from leannet.report import ComparisonRow
from leannet_cli.compare_table import print_comparison


def main(folder: str, picture: str) -> None:
    """Read ``results.json`` of a comparison and write an SVG file."""
    rows = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))["rows"]
    console = Console(record=True, width=118, file=io.StringIO(), highlight=False)
    print_comparison(console, [_row(fields) for fields in rows])
    console.save_svg(picture, title="leannet compare")


def _row(fields: dict) -> ComparisonRow:
    latency = Latency(**fields["latency"]) if fields["latency"] else None
    return ComparisonRow(**{**fields, "top1": Interval(**fields["top1"]), "latency": latency})


if __name__ == "__main__":
    main(*sys.argv[1:])
