"""Take the picture of a report that the README shows: ``python docs/report_picture.py RUN OUT.png``.

The page is made from the records of RUN, as ``leannet report RUN`` makes it, and photographed in Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 1000}  # pixels: the heading, the facts and the first plots
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main(run: str, picture: Path) -> None:
    """Make the page and photograph its beginning."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium is there")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        subprocess.run([sys.executable, "-m", "leannet_cli", "report", run, "-o", str(page_file)], check=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(page_file.as_uri())
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
