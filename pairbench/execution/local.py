"""The executor of worker processes, seen from the process that the user started: it starts the server and reads events.

The server pays torch's start-up once, then forks a process for each task, so that a crash takes one task with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from pairbench.errors import StoreError, WorkerError
from pairbench.execution.job_events import typed
from pairbench.execution.plan import Job, LocalJob
from pairbench.plugin.executors import JobEvent
from pairbench.text import printable

_COMMAND = (sys.executable, "-P", "-m", "pairbench.worker.fork_server")


def run_workers(job: Job, store: Path) -> Generator[JobEvent, None, None]:
    """Do `job` in worker processes; closing the iterator stops them all and keeps every finished round.

    Raises:
        StoreError: a worker could not write to the store.
        WorkerError: the server could not start or ended early.
    """
    threads = str(job.threads)
    environment = os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # Asking whether CUDA is there must not initialise it before workers are forked.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    with (
        tempfile.TemporaryDirectory(prefix="pairbench-", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile("w+") as log,
    ):
        server = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            order = {"job": LocalJob.of(job, store).to_json(), "scratch": scratch}
            yield from filter(None, map(typed, _events(server, order, log)))
        finally:
            _stop(server)


def _events(
    server: subprocess.Popen[str], order: dict[str, Any], log: IO[str]
) -> Generator[dict[str, Any], None, None]:
    assert server.stdin is not None
    assert server.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
    for line in server.stdout:
        event = json.loads(line)
        if event["event"] == "end":
            return
        if event["event"] == "store_error":
            raise StoreError(event["message"])
        yield event
    log.seek(0)
    tail = [line.strip() for line in log.read()[-4000:].splitlines() if line.strip()]
    reason = printable(tail[-1]) if tail else f"exit code {server.wait()}"
    raise WorkerError(
        f"the process that starts the workers ended early ({reason}). Finished rounds are kept: run the same command "
        "again, or see the whole error with --workers 0 --traceback."
    )


def _stop(server: subprocess.Popen[str]) -> None:
    """End the server and all its workers; the store survives any kill, so there is no need to be gentle."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(server.pid, signal.SIGKILL)
        else:
            server.kill()
    with contextlib.suppress(BrokenPipeError):
        server.communicate()
