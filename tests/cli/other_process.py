"""Run `leannet` in a process of its own, which may be killed; the one it is forked from has imported everything."""

import multiprocessing
import os
import signal
import sys
import time

CONTEXT = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None
PRELOADED = ["leannet.training.runs", "leannet_cli.main", "leannet_cli.train.progress", "sklearn.datasets", "datasets"]


def start(arguments, log, folder, file_limit=None):
    """Start a command in a folder; what it says goes to a file."""
    CONTEXT.set_forkserver_preload(PRELOADED)
    process = CONTEXT.Process(target=_run, args=([*map(str, arguments)], str(log), str(folder), file_limit))
    process.start()
    return process


def wait_until(happened, process, seconds=60):
    """Wait for something that another process does; it must not end before."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.is_alive(), "it ended before"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)  # polling is all one can do from outside


def _run(arguments, log, folder, file_limit):
    # A command of a shell has these; the server that this process was forked from has others.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    if file_limit is not None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = ["leannet", *arguments]
    from leannet_cli.main import main

    main()
