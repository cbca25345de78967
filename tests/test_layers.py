"""Which room may import which: a room knows those that stand before it in the list, and no other."""

from __future__ import annotations

import ast
import functools
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import config_of, fill

from pairbench.record import core_files
from pairbench.store import Store

ROOT = Path(__file__).parents[1]

# The rooms from the ground up; a folder counts as one room unless its files are named here.
LIGHT = [
    "text",
    "render",
    "errors",
    "telling",
    "templates",
    "seeds",
    "statistics",
    "spread",
    "events",
    "environment",
    "limits",
    "hookspecs",
    "admission",
    "spec",
    "transforms",
    "images",
    "interfaces",
    "options",
    "registry",
    "config",
    "locks",
    "record",
    "index",
    "store",
    "plan",
    "keeping",
    "pairs",
    "claims",
    "suite",
    "results",
    "ranking",
    "comparison",
    "history",
    "executors.local",
    "executors",
    "runner",
    "ablation",
    "tables",
    "plots",
    "page",
    "progress",
    "catalogue",
    "doctor",
    "scaffold",
    "speed",
    "testing.checks",
    "testing.kit",
    "testing.imports",
    "testing.installed",
    "testing.values",
    "testing",
    "pytest_plugin",
    "cli",
    "__main__",
]
# What builds, trains and measures; only a worker, or who asks for one, loads these.
TORCH = [
    "downloads",
    "metrics",
    "data",
    "pools",
    "model",
    "kernels.machine",
    "kernels.code",
    "kernels.matrix",
    "kernels.convolution",
    "kernels.packing",
    "kernels.panels",
    "kernels.sums",
    "kernels.winograd",
    "kernels.choice",
    "kernels.norm",
    "kernels.pooling",
    "kernels.functions",
    "kernels.layers",
    "kernels.recurrent",
    "kernels.finding",
    "kernels",
    "training.augmentation",
    "training.transforms",
    "training.shelf",
    "training.frozen",
    "training.sampling",
    "training.optim",
    "training.evaluation",
    "training.final",
    "training.gathering",
    "training.faster",
    "training.loop",
    "training.stacked",
    "training.engines",
    "training",
    "peak",
    "subject",
    "profile",
    "modes",
    "timing",
    "kept",
    "predictor",
    "answering",
    "export",
    "worker",
    "executors.inprocess",
    "executors.server",
    "testing.probes",
    "testing.networks",
    "testing.pools",
    "testing.shapes",
]
ROOMS = [*LIGHT, *TORCH]

# Below: imports inside a function, of a room that does not stand before. Each needs a reason.
LATE = {
    ("results", "tables"): "results print as tables",
    ("comparison", "tables"): "comparisons print as tables",
    ("ablation", "tables"): "ablations print as tables",
    ("executors", "executors.inprocess"): "training in this process needs torch, which is loaded only then",
    ("pytest_plugin", "subject"): "a benchmark builds the model that it measures",
    ("pytest_plugin", "worker"): "a benchmark chooses the device as a worker does",
}

HEAVY = {"torch", "torchvision", "timm", "torchmetrics", "numpy", "scipy", "sklearn", "pandas", "matplotlib", "mlxtend"}
HEAVY |= {"llvmlite"}
NETWORKS = {"torch", "torchvision", "timm", "torchmetrics"}
# What a light room may import of other people's when it is loaded.
OTHERS = {"pluggy", "pydantic", "pydantic_core", "annotated_types", "rich"}
ONLY = {"cli": {"typer"}, "pytest_plugin": {"pytest"}, "testing": {"pytest"}}


def files() -> Iterator[tuple[str, Path]]:
    """The dotted name below pairbench, and the file, of each module of the core."""
    for path in sorted((ROOT / "pairbench").rglob("*.py")):
        yield ".".join(path.relative_to(ROOT / "pairbench").with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(files())


def room_of(module: str) -> str:
    """The room that a module is in: itself where the list names it, else its folder."""
    return module if module in ROOMS else module.split(".")[0]


@functools.cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so when it is loaded; not those for type checkers alone."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, outside: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child, outside)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, outside) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            base = node.module or ""
            inner = [f"{base}.{alias.name}" for alias in node.names]
            found.extend((name if name.removeprefix("pairbench.") in MODULES else base, outside) for name in inner)
        for child in ast.iter_child_nodes(node):
            visit(child, outside and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(path.read_text()), True)
    return found


def own(path: Path) -> list[tuple[str, bool]]:
    """The rooms that a file of the core imports, and whether it does so when it is loaded."""
    found = [(name, outside) for name, outside in imports(path) if name.split(".")[0] == "pairbench"]
    return [(room_of(name.removeprefix("pairbench").removeprefix(".")), outside) for name, outside in found]


def test_every_room_stands_in_the_list_once() -> None:
    there = {room_of(module) for module in MODULES if module not in ("", "__init__")}
    assert set(ROOMS) == there, "a new room has to find its place in this file"
    assert len(ROOMS) == len(set(ROOMS))


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__init__"])
def test_a_room_imports_only_rooms_below_it(module: str) -> None:
    room = room_of(module)
    for other, outside in own(MODULES[module]):
        # "" is the package itself, which loads nothing until a name is asked for.
        if other in ("", room):
            continue
        # Torch rooms may know all light ones but the front of the house.
        below = ROOMS.index(other) < ROOMS.index(room) if (room in TORCH) == (other in TORCH) else other in LIGHT[:-2]
        assert below or (not outside and ((room, other) in LATE or room in ("cli", "pytest_plugin"))), (
            f"{module} imports {other}, which stands after it"
        )


def test_no_exception_is_left_that_nobody_needs() -> None:
    used = {(room_of(module), other) for module, path in MODULES.items() for other, outside in own(path) if not outside}
    assert set(LATE) <= used


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in LIGHT])
def test_a_light_room_loads_nothing_heavy(module: str) -> None:
    room = room_of(module)
    allowed = set(sys.stdlib_module_names) | {"pairbench"}
    allowed |= ONLY[room.split(".")[0]] | OTHERS if room.split(".")[0] in ONLY else OTHERS
    if room in ("cli", "__main__"):
        # The help has to answer at once.
        allowed -= OTHERS
    for name, outside in imports(MODULES[module]):
        package = name.split(".")[0]
        assert not outside or package in allowed, f"{module} imports {name} when it is loaded"
        assert package not in NETWORKS or room == "pytest_plugin", f"{module} imports {name}, which is for torch rooms"
        assert not outside or room_of(name.removeprefix("pairbench.")) not in TORCH, f"{module} loads {name}"


def test_there_is_no_circle_among_what_is_loaded() -> None:
    loads = {module: {other for other, outside in own(path) if outside} for module, path in MODULES.items()}
    rooms: dict[str, set[str]] = {}
    for module, others in loads.items():
        room = room_of(module)
        rooms.setdefault(room, set()).update(other for other in others if other not in ("", room))
    done: set[str] = set()
    while len(done) < len(rooms):
        free = [room for room, others in rooms.items() if room not in done and others <= done]
        assert free, f"a circle among {sorted(set(rooms) - done)}"
        done |= set(free)


PLUGINS = sorted((ROOT / "plugins").glob("*/"))


@pytest.mark.parametrize("folder", PLUGINS, ids=[folder.name for folder in PLUGINS])
def test_a_plugin_imports_pairbench_and_no_room_of_it_and_no_other_plugin(folder: Path) -> None:
    others = {other.name for other in PLUGINS} - {folder.name}
    for path in folder.rglob("*.py"):
        for name, _ in imports(path):
            assert not name.startswith("pairbench."), f"{path.name} imports {name}: import it from pairbench"
            assert name.split(".")[0] not in others, f"{path.name} imports {name}, another plugin"


@pytest.mark.parametrize("folder", PLUGINS, ids=[folder.name for folder in PLUGINS])
def test_the_core_names_no_plugin(folder: Path) -> None:
    for module, path in MODULES.items():
        assert folder.name not in path.read_text(), f"{module} names {folder.name}"


@pytest.mark.parametrize("folder", PLUGINS, ids=[folder.name for folder in PLUGINS])
def test_a_plugin_that_is_only_listed_loads_nothing_heavy(folder: Path) -> None:
    seen, waiting = set(), [folder / "__init__.py"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name, outside in imports(path):
            if not outside:
                continue
            assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name} when it is loaded"
            inner = folder.parent.joinpath(*name.split(".")).with_suffix(".py")
            waiting += [inner] if inner.is_file() and inner not in seen else []


# What the commands really load.

PROBE = """
import json, sys
from pairbench.cli import invoke
code = invoke(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command in a process of its own, and the packages that it has loaded."""
    done = subprocess.run([sys.executable, "-c", PROBE, json.dumps(arguments)], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, {name.split(".")[0] for name in modules}


def test_the_help_loads_neither_pydantic_nor_rich() -> None:
    code, packages = loaded("--help")
    assert code == 0
    assert packages & (HEAVY | {"pydantic", "rich", "pluggy"}) == set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["show", "encoder=deep_cnn", "--format", "json"], 0),
        (["leaderboard"], 0),
        (["compare", "encoder=cnn", "encoder=mlp"], 0),
        (["run", "encoder=deepcnn"], 2),
        (["run", "train.epochs=many"], 2),
        (["run", "--suite", "reprt"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_only_looks_or_is_misspelt_loads_no_torch(store: Store, arguments: Sequence[str], code: int) -> None:
    fill(store, config_of("encoder=cnn"), (0.9, 0.8))
    fill(store, config_of("encoder=mlp"), (0.8, 0.7))
    found, packages = loaded(*arguments)
    assert found == code
    # Intervals and p-values are SciPy's, and SciPy stands on NumPy.
    allowed = {"numpy", "scipy"} if arguments[0] in ("leaderboard", "compare") else set()
    assert packages & HEAVY - allowed == set()


def best(*arguments: str, limit: float, tries: int = 8) -> float:
    """The least processor time in seconds of a command, which is tried until it is within the limit."""
    shortest = float("inf")
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pairbench", *arguments], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        shortest = min(shortest, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if shortest < limit:
            break
    return shortest


# Processor time, because other processes may hold the machine while this one waits.
@pytest.mark.parametrize(("arguments", "limit"), [(["--help"], 0.4), (["list"], 0.8), (["leaderboard"], 0.8)])
def test_what_only_looks_answers_at_once(arguments: list[str], limit: float) -> None:
    assert best(*arguments, limit=limit) < limit


def test_a_room_that_training_computes_with_is_part_of_the_key_of_a_result() -> None:
    known = core_files()
    inside = {module for module, path in MODULES.items() if path in known}
    used = {name.removeprefix("pairbench.") for path in known for name, _ in imports(path) if "pairbench." in name}
    assert {module for module in used if room_of(module) in TORCH} <= inside
