"""Which folder may import which: one table, and what follows from it."""

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

from pairbench.plugin import hooks
from pairbench.store.record import core_files
from pairbench.store.store import Store

ROOT = Path(__file__).parents[1]

# The folders of pairbench/, and the files beside them, from the bottom up: each imports only what stands above it here.
# True marks those that import torch; nothing else loads them at start-up.
FOLDERS = {
    "errors": False,
    "text": False,
    "seeds": False,
    "environment": False,
    "plugin": False,
    "config": False,
    "store": False,
    "results": False,
    "data": True,
    "model": True,
    "training": True,
    "timing": True,
    "execution": False,
    "worker": True,
    "testing": False,
    "testing.network_checks": True,
    "cli": False,
    "__main__": False,
}
ORDER = list(FOLDERS)
TORCH = {folder for folder, torch in FOLDERS.items() if torch}

# Imports inside a function of a folder that stands below. Each needs a reason.
LATE = {
    ("execution", "worker"): "training in this process needs torch, which is loaded only then",
}

HEAVY = {"torch", "torchvision", "timm", "torchmetrics", "numpy", "scipy", "sklearn", "pandas", "matplotlib", "mlxtend"}
HEAVY |= {"llvmlite"}
NETWORKS = {"torch", "torchvision", "timm", "torchmetrics"}
# What a folder without torch may import of other people's when it is loaded.
OTHERS = {"pluggy", "pydantic", "pydantic_core", "annotated_types", "rich"}
ONLY = {"cli": {"typer"}, "testing": {"pytest"}}


def files() -> Iterator[tuple[str, Path]]:
    """The dotted name below pairbench, and the file, of each module of the core."""
    for path in sorted((ROOT / "pairbench").rglob("*.py")):
        yield ".".join(path.relative_to(ROOT / "pairbench").with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(files())


def folder_of(module: str) -> str:
    """The folder that a module is in, or the module itself where it stands beside the folders."""
    return max((name for name in ORDER if f"{module}.".startswith(f"{name}.")), key=len, default=module)


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
    """The folders that a file of the core imports from, and whether it does so when it is loaded."""
    found = [(name, outside) for name, outside in imports(path) if name.split(".")[0] == "pairbench"]
    return [(folder_of(name.removeprefix("pairbench").removeprefix(".")), outside) for name, outside in found]


INSIDE = [module for module in MODULES if module != "__init__"]


def test_the_table_has_every_folder_once() -> None:
    assert {folder_of(module) for module in INSIDE} == set(ORDER), "a new folder has to find its place in the table"


@pytest.mark.parametrize("module", INSIDE)
def test_a_folder_imports_only_folders_above_it(module: str) -> None:
    folder = folder_of(module)
    for other, outside in own(MODULES[module]):
        # "" is the package itself, which loads nothing until a name is asked for.
        if other in ("", folder):
            continue
        above = ORDER.index(other) < ORDER.index(folder)
        assert above or (not outside and (folder, other) in LATE), f"{module} imports {other}, which stands below it"


def test_no_exception_is_left_that_nobody_needs() -> None:
    used = {(folder_of(module), other) for module in INSIDE for other, outside in own(MODULES[module]) if not outside}
    assert set(LATE) <= used


def test_each_folder_says_its_duty_in_a_sentence() -> None:
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            duty = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()
            assert duty, module
            assert duty[0].endswith((".", "?")), f"{module} does not say its duty in its first line"


@pytest.mark.parametrize("module", [module for module in INSIDE if folder_of(module) not in TORCH])
def test_a_folder_without_torch_loads_nothing_heavy(module: str) -> None:
    top = module.split(".")[0]
    allowed = set(sys.stdlib_module_names) | {"pairbench"} | OTHERS | ONLY.get(top, set())
    if folder_of(module) in ("cli", "__main__") and module in ("__main__", "cli", "cli.output"):
        # The help has to answer at once.
        allowed -= OTHERS
    for name, outside in imports(MODULES[module]):
        package = name.split(".")[0]
        assert not outside or package in allowed, f"{module} imports {name} when it is loaded"
        assert package not in NETWORKS or module == "testing.pytest_plugin", f"{module} imports {name}"
        inner = folder_of(name.removeprefix("pairbench."))
        assert not (outside and package == "pairbench" and inner in TORCH), f"{module} loads {name}"


def test_there_is_no_circle_among_what_is_loaded() -> None:
    """Between files, inside of a folder too."""
    loads = {
        module: {name.removeprefix("pairbench.") for name, outside in imports(path) if outside} & set(INSIDE) - {module}
        for module, path in MODULES.items()
        if module != "__init__"
    }
    done: set[str] = set()
    while len(done) < len(loads):
        free = [module for module, others in loads.items() if module not in done and others <= done]
        assert free, f"a circle among {sorted(set(loads) - done)}"
        done |= set(free)


PLUGINS = sorted((ROOT / "plugins").glob("*/"))


@pytest.mark.parametrize("folder", PLUGINS, ids=[folder.name for folder in PLUGINS])
def test_a_plugin_imports_pairbench_and_nothing_below_it_and_no_other_plugin(folder: Path) -> None:
    others = {other.name for other in PLUGINS} - {folder.name}
    for path in folder.rglob("*.py"):
        for name, _ in imports(path):
            assert not name.startswith("pairbench."), f"{path.name} imports {name}: import it from pairbench"
            assert name.split(".")[0] not in others, f"{path.name} imports {name}, another plugin"


@pytest.mark.parametrize("folder", PLUGINS, ids=[folder.name for folder in PLUGINS])
def test_the_core_names_no_plugin(folder: Path) -> None:
    for module, path in MODULES.items():
        # A hook may have the name of the bundled plugin that uses it.
        named = [name.split(".")[0] for name, _ in imports(path)] if hasattr(hooks, folder.name) else path.read_text()
        assert folder.name not in named, f"{module} names {folder.name}"


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
@pytest.mark.attack
@pytest.mark.parametrize(("arguments", "limit"), [(["--help"], 0.4), (["list"], 0.8), (["leaderboard"], 0.8)])
def test_what_only_looks_answers_at_once(arguments: list[str], limit: float) -> None:
    assert best(*arguments, limit=limit) < limit


def test_what_training_computes_with_is_part_of_the_key_of_a_result() -> None:
    known = core_files()
    inside = {module for module, path in MODULES.items() if path in known}
    used = {name.removeprefix("pairbench.") for path in known for name, _ in imports(path) if "pairbench." in name}
    assert {module for module in used if folder_of(module) in TORCH} <= inside


# Each is done in one place; a second copy would forget what the first has learnt.
ONCE = {
    ".fsync(": {"store/atomic.py"},
    "os.link(": {"store/atomic.py"},
    ".flock(": {"store/locks.py"},
    "os.replace(": set(),
    "mkstemp(": set(),
    '" ".join(str(': {"text.py"},
    '"XDG_CACHE_HOME"': {"environment.py"},
    '"PAIRBENCH_CACHE"': {"environment.py"},
    "torch.onnx.export(": {"model/onnx_graph.py"},
}


SOURCES = {
    path.relative_to(top).as_posix(): path
    for top in (ROOT / "pairbench", ROOT / "plugins")
    for path in sorted(top.rglob("*.py"))
}


@pytest.mark.parametrize("call", ONCE)
def test_what_is_done_in_one_place_has_no_second_copy(call: str) -> None:
    assert {name for name, path in SOURCES.items() if call in path.read_text()} == ONCE[call]


def renames_over(path: Path) -> bool:
    """Whether a file calls `Path.replace`, which takes one argument where `str.replace` takes two."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "replace"
        and len(call.args) == 1
        and not call.keywords
        for call in calls
    )


def test_a_draft_takes_its_final_name_in_one_place() -> None:
    assert {name for name, path in SOURCES.items() if renames_over(path)} == {"store/atomic.py"}


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def patches_inside(path: Path) -> list[str]:
    """The private names and constants of pairbench and its plugins that a test file replaces by `setattr`."""
    tree = ast.parse(path.read_text())
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pairbench"):
            ours |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            names = [alias.asname or alias.name.split(".")[0] for alias in node.names]
            ours |= {name for name, alias in zip(names, node.names, strict=True) if alias.name.startswith("pairbench")}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr") and node.args:
            target = ast.unparse(node.args[0]).strip("'\"")
            name = ast.literal_eval(node.args[1]) if isinstance(node.args[1], ast.Constant) else ""
            if isinstance(node.args[0], ast.Constant):
                target, _, name = target.rpartition(".")
            inside = (name.startswith("_") and not name.endswith("__")) or name.isupper()
            if inside and (target.split(".")[0] in ours or target.startswith("pairbench")):
                found.append(f"{target}.{name}")
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_no_test_replaces_what_is_private(path: Path) -> None:
    """A parameter, an environment variable or a value that is passed in lets a test choose, and a user too."""
    assert patches_inside(path) == []


def test_a_patch_of_something_private_is_found(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(
        "import pairbench\nfrom timm import models\nfrom pairbench.cli import doctor as room\n"
        "def test(monkeypatch):\n"
        "    monkeypatch.setattr(room, '_devices', 1)\n"
        "    monkeypatch.setattr('pairbench.store.index.LEAST', 1)\n"
        "    monkeypatch.setattr(room.inner, 'MANY', 1)\n"
        "    monkeypatch.setattr(room, 'examine', 1)\n"
        "    monkeypatch.setattr(models, '_hub', 1)\n"
        "    monkeypatch.setattr(room.Kind, '__call__', 1)\n"
    )
    assert patches_inside(file) == ["room._devices", "pairbench.store.index.LEAST", "room.inner.MANY"]
