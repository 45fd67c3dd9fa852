"""The frame of a page: style, scripts, and the promise that nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["data_uri", "page_html", "page_templates"]


def page_templates(package: str) -> Environment:
    """Return the templates that lie in a package; what they insert is escaped.

    Args:
        package: Its name, "leannet.page".
    """
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_html(title: str, body: Markup) -> str:
    """Return a page in light and dark, for screens of any width and for paper.

    Args:
        title: Plain text.
        body: What stands in it; tables of the class ``sortable`` can be sorted by their heads, and what
            `leannet.page.figure_html` made is drawn. Plotly's script is in the page if there is a figure, once.

    Returns:
        HTML, the same for the same arguments.
    """
    own = resources.files(__package__)
    scripts = [(own / "page.js").read_text(encoding="utf-8")]
    if 'class="plotted"' in body:
        plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
        scripts.insert(0, plotly.read_text(encoding="utf-8"))
    return (
        page_templates(__package__)
        .get_template("page.html")
        .render(
            title=title,
            body=body,
            style=Markup((own / "page.css").read_text(encoding="utf-8")),
            scripts=[Markup(script) for script in scripts],
            hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        )
    )


def _hash(script: str) -> str:
    """Return what a policy calls a script by: one that a name or a path smuggles in has another, and does not run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def data_uri(content: bytes, kind: str) -> str:
    """Return an address that holds a file itself.

    Args:
        content: Of the file.
        kind: "image/png".
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
