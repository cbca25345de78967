"""What is installed and found here: versions, devices, plugins and their failures, data, store."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from pairbench.environment import machine
from pairbench.errors import PairbenchError
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import Origin, Registry
from pairbench.results.render import Document, Table
from pairbench.store.known_rounds import Known
from pairbench.store.store import Store

SHOWN = 20
_DEVICES = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"cpu": ["cpu"], "cuda": names, "mps": ["mps"] * torch.backends.mps.is_available()}))
"""


_ACCELERATORS = """
import json
from pairbench.plugin.registry import installed
from pairbench.training.acceleration import why_unavailable
found = {name: why_unavailable(claim.accelerator) for name, claim in installed().accelerators.items()}
print("\\n" + json.dumps(found))
"""


def examine(registry: Registry, store: Store) -> dict[str, Any]:
    """Everything that `pairbench doctor` reports, as plain values; torch is asked for devices in a subprocess."""
    return {
        "schema": 1,
        "machine": machine(),
        "devices": _devices(),
        "accelerators": _accelerators(registry),
        "plugins": _plugins(registry),
        "failures": [asdict(failure) for failure in registry.failures],
        "conflicts": registry.conflicts(),
        "disabled": [{"plugin": plugin, "distribution": distribution} for plugin, distribution in registry.disabled],
        "data": _data(registry),
        "store": _store(store),
    }


def healthy(findings: dict[str, Any]) -> bool:
    """Whether nothing is broken; a dataset that has not been downloaded yet does not count as broken."""
    broken = findings["failures"] or findings["conflicts"] or findings["store"]["damaged"]
    broken = broken or any(item["state"].startswith("FAILED") for item in findings["data"])
    return not (broken or "error" in findings["devices"])


def _devices() -> dict[str, Any]:
    return _asked(_DEVICES)


def _accelerators(registry: Registry) -> list[dict[str, str]]:
    """Each accelerator, where it comes from, and why it cannot be used here ("" where it can)."""
    if not registry.accelerators:
        return []
    reasons = _asked(_ACCELERATORS)
    return [
        {
            "accelerator": name,
            "distribution": claim.origin.distribution,
            "unavailable": str(reasons.get(name, reasons.get("error", "not loaded in a fresh process"))),
        }
        for name, claim in registry.accelerators.items()
    ]


def _asked(script: str) -> dict[str, Any]:
    """The last line that `script` prints in a process of its own, which may load torch; {"error"} where it fails."""
    try:
        done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=120)
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}


def _plugins(registry: Registry) -> list[dict[str, Any]]:
    found: dict[Origin, list[str]] = {origin: [] for origin in registry.plugins}
    for slot in INTERFACES:
        for name, claims in registry.components[slot].items():
            for claim in claims:
                found[claim.origin].append(f"{slot}={name}")
    return [
        {
            "plugin": origin.plugin,
            "distribution": origin.distribution,
            "version": origin.version,
            "components": sorted(names),
        }
        for origin, names in found.items()
    ]


def _data(registry: Registry) -> list[dict[str, str]]:
    found = []
    for name, claims in sorted(registry.components["dataset"].items()):
        component = claims[0].component
        if any(field.is_required() for field in component.model_fields.values()):
            continue
        try:
            found.append({"dataset": name, "digest": component().digest(), "state": "found"})  # type: ignore[attr-defined]
        except PairbenchError as error:
            found.append({"dataset": name, "digest": "", "state": str(error)})
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            found.append({"dataset": name, "digest": "", "state": f"FAILED {type(error).__name__}: {error}"})
    return found


def _store(store: Store) -> dict[str, Any]:
    scan = store.read()
    statuses = [record["status"] for record in scan.records]
    known = Known.of(scan.records)
    failed = [record for key, record in known.failed.items() if key not in known.done]
    return {
        "folder": str(store.root),
        "records": {status: statuses.count(status) for status in ("finished", "diverged", "failed")},
        "damaged": {str(path): reason for path, reason in scan.damaged.items()},
        "failures": [
            {
                "name": record["provenance"]["name"],
                "config_id": record["config_id"],
                "round": record["round"],
                **record["error"],
            }
            for record in failed
        ],
    }


def document(findings: dict[str, Any]) -> Document:
    """The findings as tables."""
    versions = [(name, str(value or "not installed")) for name, value in findings["machine"].items()]
    devices = findings["devices"]
    shown = [(kind, ", ".join(names) or "none") for kind, names in devices.items()] if "error" not in devices else []
    plugins = [
        (item["plugin"], f"{item['distribution']} {item['version']}", "works", ", ".join(item["components"]))
        for item in findings["plugins"]
    ]
    plugins += [(item["plugin"], item["distribution"], "FAILED", item["reason"]) for item in findings["failures"]]
    plugins += [(item["plugin"], item["distribution"], "left out", "") for item in findings["disabled"]]
    accelerator_columns = ("accelerator", "from", "state")
    accelerators = [
        (item["accelerator"], item["distribution"], item["unavailable"] or "works") for item in findings["accelerators"]
    ]
    data = [(item["dataset"], item["state"], item["digest"]) for item in findings["data"]]
    store = findings["store"]
    records = ", ".join(f"{count} {status}" for status, count in store["records"].items())
    notes = [f"DAMAGED {path}: {reason}" for path, reason in store["damaged"].items()]
    if notes:
        notes.append("To set damaged files aside and retrain their rounds, run the original command again")
    failures = [
        (item["name"], str(item["round"]), item["reason"], item["config_id"]) for item in store["failures"][:SHOWN]
    ]
    if len(store["failures"]) > SHOWN:
        notes.append(f"{len(store['failures']) - SHOWN} more rounds have failed")
    if failures:
        notes.append("For the tracebacks: pairbench leaderboard --failed. To train failed rounds again: --retry-failed")
    notes += [f"TAKEN {conflict}" for conflict in findings["conflicts"]]
    notes += [f"FAILED devices: {devices['error']}"] if "error" in devices else []
    notes.append("no problems found" if healthy(findings) else "problems found, see above")
    return Document(
        (
            Table("Machine and versions", ("what", "value"), tuple(versions), 2),
            Table("Devices", ("kind", "found"), tuple(shown), 2),
            Table("Plugins", ("plugin", "from", "state", "brings"), tuple(plugins), 4),
            *([Table("Accelerators", accelerator_columns, tuple(accelerators), 3)] if accelerators else []),
            Table("Data", ("dataset", "state", "digest"), tuple(data), 3),
            Table("Store", ("folder", "records"), ((store["folder"], records),), 2),
            *(
                [Table("Failed rounds", ("config", "round", "reason", "config_id"), tuple(failures), 4)]
                if failures
                else []
            ),
        ),
        tuple(notes),
    )
