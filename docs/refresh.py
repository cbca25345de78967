"""Runs every command whose output a page shows, and writes what it really printed: `python docs/refresh.py [PAGE]...`.

In a page, `<!-- run -->` stands before a console block, whose `$` lines are run; `<!-- run python -->` before a Python
block, whose output goes into the text block after it; `<!-- file: NAME -->` before a block that is written to a file
first, and a `pyproject.toml` among these is installed for the rest of its page. A page has a folder, and so a store, of
its own below `--work` (else a temporary one); those that show the same runs share one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
COLUMNS = 112
SHARED = "readme"
LIGHT = ("pairbench list", "pairbench show")
BLOCK = re.compile(
    r"^(?P<indent> *)<!-- (?P<mark>run|run python|file: (?P<file>[\w./-]+)) -->\n+(?P=indent)```(?P<kind>\w+)\n"
    r"(?P<body>.*?)^(?P=indent)```\n(?:\n(?P=indent)```text\n(?P<after>.*?)^(?P=indent)```\n)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Marked:
    """A marked block of a page: its mark ("run", "run python", "file"), file name, text, and where that text stands."""

    mark: str
    file: str
    body: str
    span: tuple[int, int]
    after: tuple[int, int] | None

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with the output that is shown."""
        parts = re.split(r"^\$ (.*)\n", self.body, flags=re.M)
        return [(command, tidy(shown)) for command, shown in zip(parts[1::2], parts[2::2], strict=True)]


def marked(text: str) -> Iterator[Marked]:
    """The marked blocks of a page, in their order."""
    for found in BLOCK.finditer(text):
        mark = "file" if found["file"] else found["mark"]
        after = found.span("after") if mark == "run python" and found["after"] is not None else None
        yield Marked(mark, found["file"] or "", found["body"], found.span("body"), after)


def page_files() -> list[Path]:
    """The pages that may show output, in the order in which they are run."""
    places = [[ROOT / "README.md", DOCS / "index.md", DOCS / "tutorial.md"]]
    places += [sorted((DOCS / part).glob("*.md")) for part in ("how-to", "reference", "explanation")]
    return [file for place in places for file in place]


def install(project: Path) -> None:
    """Make the plugin in `project` one that is installed for whoever has that folder on the path, as pip -e would."""
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = project / f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: {told['version']}\n")
    lines = [f"{name} = {value}" for name, value in told["entry-points"]["pairbench"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pairbench]", *lines, ""]))


def place(work: Path, page: Path) -> Path:
    """The folder that the commands of `page` run in; it is made where it is not there."""
    shared = page.name in ("README.md", "index.md", "report.md") or page.parent.name == "explanation"
    folder = work / (SHARED if shared else page.stem)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(command: str, folder: Path, plugins: Sequence[Path] = ()) -> str:
    """What `command` prints: standard output, and, where it fails, its error and exit code."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": str(COLUMNS)}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, plugins))
    for name in ("PAIRBENCH_STORE", "PAIRBENCH_DATA", "FORCE_COLOR"):
        environment.pop(name, None)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(f"{done.returncode}  {command}", flush=True)
    shown = done.stdout
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if not line.startswith(("training ", "["))]
        shown += "\n".join([*errors, f"[exit code {done.returncode}]", ""])
    return tidy(shown)


def tidy(text: str) -> str:
    """`text` without spaces at the end of lines, empty lines at its ends, or two of them in a row."""
    plain = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip("\n")
    return f"{plain}\n" if plain else ""


def refreshed(text: str, folder: Path, *, light: bool = False) -> str:
    """The page with every shown output replaced by a new one; `light` leaves out commands that train."""
    changes: list[tuple[tuple[int, int], str]] = []
    plugins: list[Path] = []
    for block in marked(text):
        if block.mark == "file":
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body)
            if file.name == "pyproject.toml":
                install(file.parent)
                plugins.append(file.parent)
        elif block.mark == "run":
            shown = [
                f"$ {command}\n{old if light and not command.startswith(LIGHT) else run(command, folder, plugins)}"
                for command, old in block.outputs
            ]
            changes.append((block.span, "\n".join(shown)))
        elif not light:
            (folder / "example.py").write_text(block.body)
            shown = run("python example.py", folder, plugins)
            if block.after:
                changes.append((block.after, shown))
    for (start, stop), new in reversed(changes):
        text = text[:start] + new + text[stop:]
    return text


def examples(folder: Path) -> None:
    """Write the record and the timing that the reference shows."""
    store = folder / "example-store"
    run(f"pairbench run encoder=cnn loss=aux train.rounds=1 train.epochs=2 --store {store}", folder)
    for suffix, name in (("json", "record"), ("timing", "timing")):
        value = json.loads(next(store.rglob(f"*.{suffix}")).read_text())
        (DOCS / "assets" / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    """Refresh the named pages, or all of them and the examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--light", action="store_true", help="only outputs of commands that train nothing")
    parser.add_argument("--work", type=Path, help="a folder to work in and to leave as it is")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not chosen.pages and not chosen.light:
            examples(folder)
        for file in chosen.pages or page_files():
            text = file.read_text()
            new = refreshed(text, place(folder, file), light=chosen.light)
            if new != text:
                file.write_text(new)
                print(f"refreshed {file}")


if __name__ == "__main__":
    main()
