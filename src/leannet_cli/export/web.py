"""What ``--web`` adds to an export: what is checked before it, and the page after it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from leannet_cli.numbers import bytes_text
from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from leannet.deploy.export import Exported, FileFormat, Preprocess

__all__ = ["begin_page", "check_web_options", "finish_page"]


def check_web_options(
    web: Path | None, runtime: Path | None, output: Path | None, file_format: FileFormat, preprocess: Preprocess
) -> None:
    """Refuse what does not go together.

    Raises:
        UserError: Something does not.
    """
    if web is None:
        if runtime is not None:
            raise UserError(
                "--web-runtime without --web", "it is for the page alone", "Pass --web DIR, or leave it away"
            )
        return
    if output is not None:
        raise UserError("--output with --web", "the network lies in the folder of the page", "Leave --output away")
    if file_format != "onnx":
        raise UserError(f"--format {file_format} with --web", "browsers run ONNX files", "Leave --format away")
    if preprocess != "inside":
        why = "the page gives the file the pixels of the picture"
        raise UserError("--preprocess outside with --web", why, "Leave --preprocess away")


def begin_page(web: Path, runtime: Path | None, on_step: Callable[[str], None]) -> dict[str, bytes]:
    """Make sure that the page can be written before the long export begins, and return what runs it.

    Raises:
        UserError: The folder holds something else, or the runtime cannot be had.
    """
    from leannet.deploy.web.archive import runtime_files
    from leannet.deploy.web.page import check_folder

    check_folder(web)
    return runtime_files(runtime, on_step=on_step)


def finish_page(exported: Exported, web: Path, runtime: dict[str, bytes]) -> None:
    """Write the page around the exported file, and print how large it is and how it is opened."""
    from leannet.deploy.web.page import write_page
    from leannet_cli.console import make_console

    page = write_page(exported, web, runtime)
    console = make_console()
    console.print(
        f"\nPage in {page.folder}: {bytes_text(page.model + page.runtime + page.own)}, of which network "
        f"{bytes_text(page.model)}, onnxruntime-web {bytes_text(page.runtime)}, page {bytes_text(page.own)}"
    )
    console.print("Browsers load it from a web server only, not as a file. Any server of files will do; here:")
    folder = shlex.quote(str(page.folder))
    console.print(f"Next: python -m http.server --bind 127.0.0.1 --directory {folder}, then http://localhost:8000")
