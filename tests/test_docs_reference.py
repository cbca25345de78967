"""The reference pages: current, complete, and written by a script that refuses what nobody describes."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

import pairbench
from pairbench import cli
from pairbench.cli.catalogue import catalogue, described
from pairbench.config.run_config import PAIRINGS
from pairbench.config.train_options import TrainOptions
from pairbench.plugin import hooks
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import installed
from pairbench.store.store import Store

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import commands  # noqa: E402
import generate  # noqa: E402
import python_examples  # noqa: E402
import python_page  # noqa: E402
import texts  # noqa: E402
from words import UndescribedError, sentence, table  # noqa: E402


def page(path: str) -> str:
    return (DOCS / path).read_text()


@pytest.fixture
def bundled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No third-party plugin of this environment in the reference."""
    monkeypatch.setenv("PAIRBENCH_PLUGINS", "")
    installed.cache_clear()


@pytest.mark.usefixtures("bundled_alone")
def test_the_reference_pages_are_current() -> None:
    made = generate.pages()
    stale = [path for path, text in made.items() if not (DOCS / path).is_file() or page(path) != text]
    assert stale == [], "run: python docs/generate.py"
    marked = [file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md") if generate.MARK in file.read_text()]
    assert sorted(marked) == sorted(made)


BUNDLED = [
    (slot, claim.component)
    for slot in INTERFACES
    for claims in installed().components[slot].values()
    for claim in claims
    if claim.origin.distribution == "pairbench"
]


@pytest.mark.parametrize(("slot", "component"), BUNDLED, ids=[component.name for _, component in BUNDLED])
def test_every_component_and_option_is_described(slot: str, component: Any) -> None:
    text = page(f"reference/{slot}.md")
    assert f"## `{component.name}`" in text
    for option in component.option_fields():
        assert re.search(rf"^- \*\*`{slot}\.{option}`\*\*: \S.{{8,}} \*.+; .+\*$", text, re.M), option


def test_every_training_option_is_described() -> None:
    for option in TrainOptions.option_fields():
        assert re.search(rf"^- \*\*`train\.{option}`\*\*: \S.{{8,}} \*.+; .+\*$", page("reference/train.md"), re.M), (
            option
        )


def test_every_pairing_is_explained() -> None:
    for name in PAIRINGS:
        assert f"pairing={name}" in page("explanation/pairings.md")
        assert f"`{name}`" in page("reference/spec.md")


def test_every_bundled_suite_and_entry_is_listed() -> None:
    text = page("reference/suites.md")
    for row in catalogue(installed(), "suite")["components"]:
        (shown,) = described(installed(), [f"suite={row['name']}"])["shown"]
        assert f"## `{row['name']}`" in text
        assert all(f"**{entry['name']}**" in text for entry in shown["entries"])


def test_every_hook_is_described() -> None:
    names = [name for name, value in vars(hooks).items() if hasattr(value, "pairbench_spec")]
    assert len(names) >= 6
    assert all(f"## `{name}`" in page("reference/hooks.md") for name in names)


def leaves(group: Any, words: str = "") -> list[tuple[str, Any]]:
    if not hasattr(group, "commands"):
        return [(words, group)]
    return [leaf for name, inner in group.commands.items() for leaf in leaves(inner, f"{words} {name}".strip())]


def test_every_check_of_the_conformance_kit_is_described() -> None:
    from pairbench.testing import CHECKS

    assert all(f"| `{check.name}` |" in page("reference/conformance.md") for check in CHECKS)


def test_every_command_and_each_of_its_options_is_described() -> None:
    text = page("reference/command-line.md")
    for words, command in leaves(typer.main.get_command(cli.app)):
        section = text.partition(f"## `{words}`\n")[2].partition("\n## ")[0]
        assert section, words
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            for spelling in (*parameter.opts, *parameter.secondary_opts):
                if spelling.startswith("-"):
                    assert f"`{spelling}`" in section, f"{words} {spelling}"


def is_int(function: ast.FunctionDef) -> bool:
    """Whether a function says that it returns a whole number, as each command does."""
    return isinstance(function.returns, ast.Name) and function.returns.id == "int"


def test_every_exit_code_that_the_command_line_gives_is_described() -> None:
    constants = {name: value for name, value in vars(cli).items() if isinstance(value, int)}
    codes = {0}
    for file in (ROOT / "pairbench/cli").glob("*.py"):
        functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
        for given in (node for function in functions if is_int(function) for node in ast.walk(function)):
            if isinstance(given, ast.Return) and given.value is not None:
                codes |= {item.value for item in ast.walk(given.value) if isinstance(item, ast.Constant)}
                codes |= {
                    constants[item.id]
                    for item in ast.walk(given.value)
                    if isinstance(item, ast.Name) and item.id in constants
                }
    found = {code for code in codes if type(code) is int and code < 256}
    assert found == {0, 1, 2, 130}
    assert all(f"| `{code}` |" in page("reference/exit-codes.md") for code in found)
    readme = (ROOT / "README.md").read_text().partition("**Exit codes**")[2].partition("\n\n")[0]
    assert all(re.search(rf"\b{code}\b", readme) for code in found)


def test_every_environment_variable_is_described() -> None:
    sources = [file.read_text() for folder in ("pairbench", "plugins") for file in (ROOT / folder).rglob("*.py")]
    names = {found for source in sources for found in re.findall(r"\bPAIRBENCH_[A-Z]+\b", source)}
    assert {"PAIRBENCH_STORE", "PAIRBENCH_DATA"} <= names
    assert all(f"| `{name}` |" in page("reference/environment.md") for name in names)


EXAMPLES = {
    name: example
    for examples in (*(found for _, found in python_examples.SECTIONS.values()), python_examples.TESTING)
    for name, example in examples.items()
    if name in pairbench.__all__ or examples is python_examples.TESTING
}


def test_everything_that_pairbench_exports_is_on_the_python_page_once() -> None:
    assert sorted(re.findall(r"^### `(\w+)`$", page("reference/python.md"), re.M)) == sorted(pairbench.__all__)


def test_every_example_is_of_a_public_name() -> None:
    examples = {name for _, found in python_examples.SECTIONS.values() for name in found}
    assert examples - set(pairbench.__all__) <= COMING


# Names of branches that are not merged yet.
COMING = {*python_examples.EVENTS, *python_examples.METRICS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example of `run` has been run."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("PAIRBENCH_STORE", raising=False)
        exec(compile(EXAMPLES["run"], "run", "exec"), {})
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_on_the_python_page_runs_and_prints_what_it_says(
    name: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("PAIRBENCH_STORE")
    capsys.readouterr()
    assert f"pairbench.{name}" in EXAMPLES[name] or f"pairbench.testing.{name}" in EXAMPLES[name] or name in RETURNED
    exec(compile(EXAMPLES[name], name, "exec"), {"__name__": name})
    printed = capsys.readouterr().out.splitlines()
    for said in re.findall(r"# -> (.*)$", EXAMPLES[name], re.M):
        assert said in printed


# Names whose example gets one from elsewhere instead of naming it.
RETURNED = {"Result", "Results"}


@pytest.fixture
def tiny_run(tiny_registry: Any, store: Store) -> pairbench.Results:
    """A run of two tiny configs."""
    import tiny

    words = [*tiny.SPECS, "encoder.embedding_dim=2,3", "train.rounds=2", "train.epochs=1"]
    return pairbench.run(*words, workers=0, store=store.root, timing=False)


def test_every_field_of_a_real_record_and_timing_is_described(tiny_run: pairbench.Results, store: Store) -> None:
    text = page("reference/record.md")
    timing = pairbench.run(tiny_run[0].name, workers=0, store=store.root)[0].timing
    for known, value in ((generate.record_fields(), tiny_run[0].records[0]), (texts.TIMING_FIELDS, timing)):
        rows = generate.described_paths(value, known)
        assert len(rows) >= 10
        assert all(f"| {field} |" in text for field, _ in rows)


def test_the_example_of_a_record_has_the_fields_of_a_real_one(tiny_run: pairbench.Results) -> None:
    def fields(record: dict[str, Any]) -> set[str]:
        # Which figures there are follows from the task and the loss, and who computed them from the network.
        aside = ("metrics", "curves", "provenance.accelerators")
        return {path for path in generate.flattened(record) if not path.startswith(aside)}

    example = json.loads(page("assets/record.json"))
    assert fields(example) == fields(tiny_run[0].records[0]), "run: python docs/refresh.py"


def test_every_field_of_the_json_documents_is_described(tiny_run: pairbench.Results) -> None:
    text = page("reference/output.md")
    compared = pairbench.compare(*(item.config_id for item in tiny_run), store=tiny_run.store).to_dict()
    results = tiny_run.to_dict()
    listed, shown = catalogue(installed()), described(installed(), ["encoder=mlp", "suite=report"])
    found = [results, *results["results"], compared, *compared["comparisons"], listed, *listed["components"][:1]]
    found += [shown, *shown["shown"], shown["shown"][0]["options"][0], shown["shown"][1]["entries"][0]]
    for key in {key for document in found for key in document}:
        assert re.search(rf"`[^`\n]*\b{key}\b[^`\n]*`", text), key


# What the generator refuses.


def test_a_public_name_without_an_example_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(python_examples.RESULTS, "Result")
    with pytest.raises(UndescribedError, match=r"pairbench\.Result$"):
        python_page.page()


def test_an_exit_code_without_a_description_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(texts.EXIT_CODES, "130")
    with pytest.raises(UndescribedError, match="exit code 130"):
        generate.exit_codes()


def test_an_environment_variable_without_a_description_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(texts.ENVIRONMENT, "PAIRBENCH_STORE")
    with pytest.raises(UndescribedError, match="PAIRBENCH_STORE"):
        generate.environment()


def test_a_record_field_without_a_description_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(texts.RECORD_FIELDS, "seed")
    with pytest.raises(UndescribedError, match="record field seed"):
        generate.record()


def test_a_command_option_without_a_description_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(loud: bool = typer.Option(False, "--loud")) -> None:
        """Do a thing."""

    monkeypatch.setattr(commands, "commands", lambda: iter([("bare", bare)]))
    with pytest.raises(UndescribedError, match="loud of pairbench bare"):
        commands.page()


def test_a_component_option_without_a_description_stops_the_generator(install_plugin: Any) -> None:
    install_plugin(
        "bare",
        '''
        import pairbench


        class Bare(pairbench.Encoder):
            """Says nothing of its option."""

            name = "bare"
            depth: pairbench.PositiveInt = 1

            def build(self, image_shape):
                raise NotImplementedError


        @pairbench.hookimpl
        def pairbench_components():
            return [Bare]
        ''',
        distribution="pairbench",
    )
    with pytest.raises(UndescribedError, match=r"encoder\.depth"):
        generate.components("encoder")


def test_an_option_is_shown_as_it_is_written_with_what_it_takes() -> None:
    from pairbench.cli.measure import run

    shown = {name: (commands.spellings(name, kind, info), commands.expects(kind, info), default)
             for name, kind, info, default in commands.parameters(run)}  # fmt: skip
    assert shown["form"][0] == ["--format", "-f"]
    assert shown["timing"] == (["--timing", "--no-timing"], "nothing", True)
    assert shown["workers"][1] == "a whole number of at least 0 and at most 1024"


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x | y"]]).splitlines()[-1] == r"| x \| y |"


@pytest.mark.parametrize(
    ("given", "told"),
    [("the  size\n of it", "The size of it."), ("none leaves it.", "None leaves it."), ("a=b, as is", "a=b, as is.")],
)
def test_a_description_becomes_a_sentence(given: str, told: str) -> None:
    assert sentence(given, "it") == told


def test_a_docstring_becomes_prose_and_lists() -> None:
    given = (
        "What it is.\n\nOne thing:\n\nsize: how large\n    it is.\nlow, high: its ends.\n\nRaises:\n    Error: never."
    )
    told = "What it is.\n\nOne thing:\n\n- `size`: how large\n    it is.\n- `low`, `high`: its ends."
    told += "\n\nRaises:\n\n- `Error`: never."
    assert python_page.described(given, "it") == told
