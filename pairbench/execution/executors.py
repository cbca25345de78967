"""Where the work of a run happens; an executor takes a job and yields events.

Events are dictionaries: {"event": KIND, ...}. Each config is first "profiled", "invalid" or "broken"; "ready" says that
training starts; then come "epoch", "round", "timing" and "note".
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pairbench.execution.plan import Job


def execute(job: Job) -> Generator[dict[str, Any], None, None]:
    """Do `job`: in this process where it asks for no workers, else in worker processes."""
    if job.workers == 0:
        from pairbench.worker.inprocess import run_here

        return run_here(job)
    from pairbench.execution.local import run_workers

    return run_workers(job)
