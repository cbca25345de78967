"""What workers report as plain dictionaries, which travel as JSON, as the events of an executor."""

from __future__ import annotations

from typing import Any

from pairbench.plugin.executors import (
    JobBroken,
    JobData,
    JobEpoch,
    JobEvent,
    JobNote,
    JobReady,
    JobRefused,
    JobRound,
    JobTiming,
)


def typed(event: dict[str, Any]) -> JobEvent | None:
    """The event of an executor; None for what only its own workers need to know."""
    match event["event"]:
        case "ready":
            return JobReady()
        case "invalid":
            return JobRefused(event["config_index"], event["message"])
        case "broken":
            return JobBroken(event["config_index"], event["error"])
        case "data":
            return JobData(event["what"], event["done"], event["total"])
        case "epoch":
            return JobEpoch(event["config_index"], event["round"], event["epoch"], event["loss"], event["accuracy"])
        case "round":
            return JobRound(event["config_index"], event["round"], event["record"])
        case "timing":
            return JobTiming(event["config_index"], event["timing"])
        case "note":
            return JobNote(event["message"])
        case _:
            return None
