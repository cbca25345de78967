"""The README and the pages: commands that work, code that compiles, links that lead somewhere, a site that builds."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import pairbench
from pairbench import InputError
from pairbench.cli import app, invoke, with_executor_options
from pairbench.cli.catalogue import catalogue, described, models
from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import expand, parse, split_specs
from pairbench.config.suite import find_suite
from pairbench.plugin.metrics import known_metrics
from pairbench.plugin.registry import installed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import refresh  # noqa: E402

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    for _, kind, body in FENCE.findall(page.read_text()):
        if kind in kinds:
            yield body


def commands(page: Path) -> Iterator[str]:
    """Every command of pairbench that a page shows to be typed, without the redirection after it."""
    for body in blocks(page, "sh", "console"):
        console = any(line.startswith("$ ") for line in body.splitlines())
        for line in body.splitlines():
            if console and not line.startswith("$ "):
                continue
            for part in re.split(r"&&|\||;", line.removeprefix("$ ").partition(" #")[0]):
                words = part.partition(">")[0].strip()
                if re.match(r"([A-Z_]+=\S* )*(\S*/)?pairbench( |$)", words):
                    yield words[words.index("pairbench") :] if "/" not in words else words.partition("/bin/")[2]


COMMANDS = sorted({(name(page), command) for page in PAGES for command in commands(page)})
SHOWN = [
    (name(page), command, output)
    for page in refresh.page_files()
    for block in refresh.marked(page.read_text())
    if block.mark == "run"
    for command, output in block.outputs
]


@pytest.fixture
def page_files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page of this case tells to write or to have, its plugins installed."""
    install = request.getfixturevalue("install_plugin")
    work = tmp_path / "work"
    text = (ROOT / request.node.callspec.params["page"]).read_text()
    for folder in re.findall(r"export PYTHONPATH=(\S+)", text):
        monkeypatch.syspath_prepend(str(work / folder))
    found = list(refresh.marked(text))
    for block in found:
        if block.mark != "file":
            continue
        file = work / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.body)
        if file.name == "pyproject.toml":
            told = tomllib.loads(block.body)["project"]
            ((plugin, module),) = told["entry-points"]["pairbench"].items()
            source = next(item.body for item in found if item.file == f"{file.parent.name}/{module}.py")
            install(plugin, source, distribution=told["name"], version=told["version"], value=module)
    work.mkdir(exist_ok=True)
    if "pretrained=weights.safetensors" in request.node.callspec.params.get("command", ""):
        import timm
        from safetensors.torch import save_file

        save_file(timm.create_model("resnet18").state_dict(), work / "weights.safetensors")
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", str(refresh.COLUMNS))


def parsed(command: str) -> tuple[str, dict[str, Any]]:
    """The words of a command and the values of its parameters, as the command line itself reads them."""
    words = [word for word in with_executor_options(shlex.split(command)[1:]) if word != "--no-plugins"]
    if not words or words[0].startswith("-"):
        return "", {}
    group, called = typer.main.get_command(app), ""
    while hasattr(group, "commands"):
        assert words, f"{command}: names no command"
        assert words[0] in group.commands, f"{command}: there is no command {words[0]}"
        called, group = f"{called} {words[0]}".strip(), group.commands[words.pop(0)]
    context = group.make_context(called, words)
    return called, context.params


def configs(called: str, values: dict[str, Any]) -> list[RunConfig]:
    """The configs that a command is about, from its words."""
    if called == "run" and values["suite"]:
        suite = find_suite(values["suite"], installed())
        chosen = suite.only([item.strip() for item in values["only"].split(",")]) if values["only"] else suite
        return [config for _, _, config in chosen.configs(values["words"] or [], installed())]
    if called == "compare":
        specs = [spec.split() for spec in values["specs"] if "=" in spec]
    elif called == "timing":
        specs = split_specs(values["specs"])
    else:
        specs = [values.get("words") or []]
    return [resolve(settings) for words in specs for settings in expand(parse(words))]


def problem(command: str) -> str:
    """What is wrong with a command before anything trains; "" where it can be run."""
    called, values = parsed(command)
    try:
        if called == "show":
            described(installed(), values["words"])
        elif called == "list":
            if values["encoder"]:
                models(installed(), values["encoder"], values["slot"])
            else:
                catalogue(installed(), values["slot"])
        elif called in ("run", "compare", "timing", "ablate"):
            from pairbench.training.complexity import profile
            from pairbench.worker.devices import choose_device

            for config in configs(called, values):
                choose_device(config.train.device if config.train.device != "cuda" else "cpu")
                profile(config)
    except InputError as error:
        return " ".join(str(error).split())
    return ""


@pytest.mark.usefixtures("page_files")
@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_on_a_page_can_be_run_or_is_shown_to_be_refused(page: str, command: str) -> None:
    shown = [output for where, line, output in SHOWN if (where, line) == (page, command)]
    refused = [output for output in shown if "[exit code 2]" in output]
    found = problem(command)
    if refused:
        assert found
        assert found in " ".join(refused[0].split())
    else:
        assert found == ""


def test_pages_show_many_commands() -> None:
    assert len(COMMANDS) > 60
    assert len(SHOWN) > 25


@pytest.mark.parametrize(("page", "command", "output"), SHOWN, ids=[f"{page}-{line}" for page, line, _ in SHOWN])
def test_the_output_of_a_command_is_shown(page: str, command: str, output: str) -> None:
    assert output or ">" in command, f"run: python docs/refresh.py {page}"


@pytest.mark.usefixtures("page_files")
@pytest.mark.parametrize(
    ("page", "command", "output"),
    [case for case in SHOWN if case[1].startswith(refresh.LIGHT)],
    ids=lambda value: value if value.count("\n") < 1 else "output",
)
def test_the_output_of_a_command_that_trains_nothing_is_current(
    page: str, command: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(shlex.split(command)[1:])
    assert refresh.tidy(capsys.readouterr().out) == output, f"run: python docs/refresh.py --light {page}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_on_a_page_compiles_and_names_what_is_there(page: Path) -> None:
    for body in blocks(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pairbench":
                there = hasattr(pairbench, node.attr) or importlib.util.find_spec(f"pairbench.{node.attr}")
                assert there, f"pairbench.{node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module == "pairbench":
                assert {alias.name for alias in node.names} <= {*dir(pairbench)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_toml_on_a_page_is_toml(page: Path) -> None:
    for body in blocks(page, "toml"):
        tomllib.loads(body)


@pytest.mark.parametrize("plugin", ["pooled", "distance", "margin"])
def test_a_plugin_on_its_page_passes_the_conformance_kit(plugin: str, install_plugin: Any) -> None:
    from pairbench.testing import examine

    found = {block.file: block.body for block in refresh.marked((DOCS / "how-to/plugin.md").read_text())}
    beside = {Path(path).name: body for path, body in found.items() if path.startswith(f"{plugin}/")}
    install_plugin(plugin, beside[f"{plugin}.py"], value=plugin, files=beside)
    (component,) = [
        claim.component
        for slot in installed().components.values()
        for claims in slot.values()
        for claim in claims
        if claim.origin.plugin == plugin
    ]
    assert [finding for finding in examine(component()) if finding.result == "failed"] == []


def test_the_metric_on_its_page_is_short_passes_the_conformance_kit_and_is_in_records(install_plugin: Any) -> None:
    from pairbench.testing import examine

    found = {block.file: block.body for block in refresh.marked((DOCS / "how-to/metric.md").read_text()) if block.file}
    assert sum(1 for body in found.values() for line in body.splitlines() if line.strip()) < 30
    install_plugin("brier", found["brier/brier.py"], value="brier")
    spec = known_metrics()["brier"].spec
    assert {finding.result for finding in examine(spec)} == {"passed"}
    data = ["dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "encoder=mlp"]
    results = pairbench.run(*data, "train.rounds=1", "train.epochs=1", workers=0, timing=False)
    assert 0 < results[0].summary["brier"].mean < 1
    assert "Brier score" in str(pairbench.leaderboard(metric="brier"))


def test_the_accelerator_on_its_page_is_short_passes_the_conformance_kit_and_is_in_records(install_plugin: Any) -> None:
    from pairbench.testing import examine
    from pairbench.training.acceleration import usable

    page = (DOCS / "how-to/accelerator.md").read_text()
    source = next(block.body for block in refresh.marked(page) if block.file == "inplace/inplace.py")
    assert sum(1 for line in source.splitlines() if line.strip()) < 30
    install_plugin("inplace", source, value="inplace")
    usable.cache_clear()
    accelerator = installed().accelerators["in_place"].accelerator
    assert {finding.result for finding in examine(accelerator)} == {"passed"}
    data = ["dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "encoder=mlp"]
    results = pairbench.run(*data, "train.rounds=1", "train.epochs=1", workers=0, timing=False)
    usable.cache_clear()
    assert set(results[0].records[0]["provenance"]["accelerators"]) == {"in_place"}


def test_the_executor_on_its_page_is_short_passes_the_conformance_kit_and_trains(
    install_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairbench.testing import examine

    page = (DOCS / "how-to/executor.md").read_text()
    source = next(block.body for block in refresh.marked(page) if block.file == "pool/pool.py")
    assert sum(1 for line in source.splitlines() if line.strip()) < 30
    file = install_plugin("pool", source, value="pool")
    # Its processes start afresh.
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    kind = installed().find_executor("pool")
    assert {finding.result for finding in examine(kind(processes=2))} == {"passed"}
    data = ["dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "encoder=mlp"]
    results = pairbench.run(*data, "train.rounds=2", "train.epochs=1", executor="pool processes=2", timing=False)
    assert results[0].summary["accuracy"].rounds == 2


def test_the_dataset_on_its_page_passes_the_conformance_kit_on_the_images_that_the_page_draws(
    install_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairbench.testing import examine

    found = list(refresh.marked((DOCS / "how-to/dataset-plugin.md").read_text()))
    monkeypatch.chdir(tmp_path)
    exec(compile(next(block.body for block in found if block.mark == "run python"), "dataset-plugin.md", "exec"), {})
    source = next(block.body for block in found if block.file.endswith(".py"))
    install_plugin("folder_pairs", source, value="folder_pairs")
    recipe = installed().find("dataset", "folder_pairs").component(root="shapes", classes=3, pairs=20)
    assert {finding.result for finding in examine(recipe)} == {"passed"}


def test_the_plugin_of_the_readme_is_the_one_of_its_page_and_short() -> None:
    files = {block.file: block.body for block in refresh.marked((ROOT / "README.md").read_text()) if block.file}
    told = {block.file: block.body for block in refresh.marked((DOCS / "how-to/plugin.md").read_text()) if block.file}
    assert files == {path: body for path, body in told.items() if path.startswith("pooled/")}
    assert sum(1 for body in files.values() for line in body.splitlines() if line.strip()) < 25


@pytest.mark.parametrize("ending", ["pairbench run encoder=deep_cnn head=concat_linear loss=aux", "pytest -n auto"])
def test_the_readme_sets_up_in_one_line(ending: str) -> None:
    lines = [body.splitlines() for body in blocks(ROOT / "README.md", "sh")]
    chosen = [only for only in lines if only[0].startswith("python3 -m venv .venv && ") and only[0].endswith(ending)]
    assert [len(only) for only in chosen] == [1]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs both make it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower())).strip("-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_pictures_of_a_page_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        assert file.is_file(), target
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.*)$", file.read_text(), re.M)}, target


# Phrases that read as translated, and what a native engineer writes instead.
ODD = {
    r"mends?": "fix",
    r"dear": "slow, expensive",
    r"for want of": "too narrow for",
    r"(chose|chooses|choose) nothing": "is not used for any choice",
    r"(is|are|was|were|be|that) told": "is reported",
    r"heard": "is reported",
    r"(installed|trained|taken|takes \w+|take \w+) along": "is a dependency, together, fails too",
    r"kin": "related functions",
    r"answers? from the store": "reads results from the store",
    r"say once": "describe in one place",
    r"beside": "next to, compared with, in addition to",
    r"rightly": "correctly",
    r"anew": "again",
    r"processor (time|seconds)": "CPU time",
    r"by the clock": "elapsed",
    r"(give|gives|given) back": "return",
    r"goes wrong": "fails",
    r"think again": "reconsider",
    r"takes? no part": "is not used",
}
# The generated pages repeat docstrings, and docs/texts.py.
WRITTEN = [page for page in PAGES if "<!-- Written by docs/generate.py" not in page.read_text()]


@pytest.mark.parametrize("page", [*WRITTEN, DOCS / "texts.py", DOCS / "python_examples/__init__.py"], ids=name)
def test_the_prose_of_a_page_has_no_odd_phrase(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`|\]\([^)]*\)", " ", FENCE.sub("", page.read_text()))
    found = {say: re.findall(rf"\b{odd}\b", prose, re.I) for odd, say in ODD.items()}
    assert {say for say, hits in found.items() if hits} == set(), "write this instead"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`((?:pairbench|plugins|tests|benchmarks|docs)/[\w/.-]*)`", page.read_text()))
    # The folder of any plugin may be deleted, with its tests.
    gone = {
        folder
        for folder in re.findall(r"`plugins/(pairbench_\w+)/", page.read_text())
        if not (ROOT / "plugins" / folder).exists()
    }
    kept = {path for path in named if not any(folder.removeprefix("pairbench_") in path for folder in gone)}
    assert [path for path in sorted(kept) if not (ROOT / path).exists()] == []


def test_the_design_page_shows_every_folder() -> None:
    shown = set(re.findall(r"^  (\w+)/ ", (DOCS / "explanation/design.md").read_text(), re.M))
    there = {path.parent.name for parent in ("pairbench", "plugins") for path in (ROOT / parent).glob("*/__init__.py")}
    # The folder of any plugin may be deleted.
    assert there <= shown
    assert {folder for folder in shown - there if not folder.startswith("pairbench_")} == set()


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_every_decision_is_in_the_list() -> None:
    records = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    assert re.findall(r"\((0\d+-[\w-]+\.md)\)", (DOCS / "decisions/index.md").read_text()) == records


@pytest.mark.parametrize("picture", sorted((DOCS / "images").iterdir()), ids=lambda path: path.name)
def test_a_picture_is_small_used_and_loads_nothing_from_elsewhere(picture: Path) -> None:
    content = picture.read_bytes()
    assert 1000 < len(content) < 200_000
    assert any(picture.name in page.read_text() for page in PAGES)
    if picture.suffix == ".svg":
        assert not re.search(r"""(?:href|src)=["']https?:|url\(["']?https?:|<script""", content.decode())


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr[-2000:]
    assert (tmp_path / "site/how-to/plugin/index.html").is_file()
