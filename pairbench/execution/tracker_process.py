"""The process of one tracker: it reads events from standard input and hands them on; nothing it does reaches the run.

In come pickles: the path of modules, the tracker's class, then (method, event). Out go lines of JSON: the number of
events that are done, and in the end {"place": TEXT} or {"failed": METHOD, "reason": TEXT}.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import IO, Any


def main() -> None:
    """Serve the tracker that standard input names until standard input ends."""
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    # A tracker that prints writes to the log, and one that asks a question gets no answer.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said: dict[str, str] = {"failed": "start", "reason": "it ended its process"}
    method = "start"
    try:
        sys.path[:] = pickle.load(source)
        tracker = pickle.load(source)()
        for done, (method, event) in enumerate(_messages(source), start=1):
            getattr(tracker, method)(event)
            out.write(f"{done}\n")
        method = "close"
        tracker.close()
        said = {"place": str(tracker.place())}
    except BaseException as error:  # noqa: BLE001 - a tracker may raise anything, SystemExit too
        from pairbench.execution.announcing import where
        from pairbench.plugin.registry import reason_of

        said = {"failed": f"{method}{where(error)}", "reason": reason_of(error)}
    out.write(json.dumps(said) + "\n")
    out.close()


def _messages(source: IO[bytes]) -> Any:
    """Each (method, event) until the end of `source`."""
    while True:
        try:
            yield pickle.load(source)
        except EOFError:
            return


if __name__ == "__main__":
    main()
