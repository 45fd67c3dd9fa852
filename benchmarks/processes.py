"""Objects that live in processes of their own: what is timed must not find the process as something else left it."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, set_start_method
from typing import Any

from clocks import processor_seconds


class OwnProcess:
    """An object in a new process, which waits in a read until it is asked something.

    Args:
        make: Called in the new process; a function of a module.
        arguments: Its arguments.
    """

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self.pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))
        try:
            self.pool.submit(_make, make, arguments).result()
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, *arguments: object) -> tuple[Any, float]:
        """Call a method and wait for what it returns.

        Returns:
            The answer, and the seconds of processor time that the process and its children took for it.
        """
        return self.pool.submit(_ask, method, arguments).result()

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()


def unset_allocator_settings() -> list[str]:
    """Take everything out of the environment that chooses how memory is allocated; return the names.

    New processes then begin with the defaults of the system, and `leannet.training.devices.keep_freed_memory` does what
    it says, which it leaves when the user chose.
    """
    names = [name for name in os.environ if name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD")]
    for name in names:
        del os.environ[name]
    return names


_resident: object = None  # what lives in this process


def _make(make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    global _resident
    # Loaders start their workers as they do in a program of their own, not the way this process was started.
    set_start_method(None, force=True)
    _resident = make(*arguments)
    _rest()


def _ask(method: str, arguments: tuple[object, ...]) -> tuple[Any, float]:
    begin = processor_seconds()
    answer = getattr(_resident, method)(*arguments)
    _rest()
    return answer, processor_seconds() - begin


def _rest() -> None:
    """End what runs on, and give the system the free memory, so that the other processes have cores and memory."""
    gc.collect()  # ends workers of loaders that nobody reads any more
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
