"""Which plugins are installed, what they bring, and that a bad one harms no other."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from conftest import Install, config_of

from pairbench.cli import catalogue, doctor
from pairbench.config.run_config import resolve
from pairbench.errors import SpecError
from pairbench.plugin.components import INTERFACES, Encoder
from pairbench.plugin.registry import hash_files, installed, load, source_hash
from pairbench.results.render import to_csv, to_markdown, to_text
from pairbench.store.store import Store


def plugin(body: str = "return [Shiny]", *, name: str = "shiny", before: str = "") -> str:
    """The source of a plugin with one encoder; `body` is that of pairbench_components."""
    return textwrap.dedent(
        f'''
        {before}
        import pairbench

        class Shiny(pairbench.Encoder):
            """Flattens."""

            name = "{name}"
            width: pairbench.PositiveInt = 1

            def build(self, image_shape):
                from torch import nn

                return nn.Flatten()

        @pairbench.hookimpl
        def pairbench_components():
            {body}
        '''
    )


def test_the_bundled_components_fill_every_slot() -> None:
    registry = installed()
    assert registry.failures == []
    assert registry.conflicts() == []
    assert all(registry.names(slot) == sorted(registry.names(slot)) != [] for slot in INTERFACES)


def test_a_component_is_found_with_its_origin(install_plugin: Install) -> None:
    file = install_plugin("shiny", plugin(), distribution="acme-shiny", version="2.1")
    found = installed().find("encoder", "shiny")
    assert issubclass(found.component, Encoder)
    origin = found.origin
    assert (origin.distribution, origin.version, origin.plugin) == ("acme-shiny", "2.1", "shiny")
    assert origin.source == hash_files(file.parent, [file])
    assert installed().origin_of(found.component) == origin


def test_a_component_can_be_named_with_its_distribution(install_plugin: Install) -> None:
    install_plugin("shiny", plugin(), distribution="acme-shiny")
    assert installed().find("encoder", "acme-shiny:shiny") == installed().find("encoder", "shiny")
    with pytest.raises(SpecError, match="unknown encoder 'acme-dull:shiny'"):
        installed().find("encoder", "acme-dull:shiny")


def test_a_component_is_found_in_its_own_slot_alone(install_plugin: Install) -> None:
    install_plugin("shiny", plugin())
    with pytest.raises(SpecError, match="unknown head 'shiny'"):
        installed().find("head", "shiny")


def test_the_registry_is_loaded_once() -> None:
    assert installed() is installed()


def test_a_class_that_no_plugin_brings_comes_from_its_own_module() -> None:
    class Mine(Encoder):
        name = "mine"

        def build(self, image_shape: tuple[int, int, int]) -> None:  # type: ignore[override]
            return None

    origin = installed().origin_of(Mine)
    assert (origin.distribution, origin.plugin) == ("test_registry", "")
    assert origin.source == hash_files(Path(__file__).parent, [Path(__file__)])


# A bad plugin, in every way that we could think of: its source, what the reason says, and how often it is named.
BAD = {
    "raises at import": (plugin(before="raise ValueError('no luck')"), "ValueError: no luck"),
    "raises a hostile message": (
        plugin(before="raise ValueError('\\x1b[2J[/red]\\nmore')"),
        "ValueError: \ufffd[2J[/red] more",
    ),
    "raises what cannot be told": (
        plugin(before="class Odd(Exception):\n            def __str__(self): raise RuntimeError\n        raise Odd"),
        "Odd",
    ),
    "exits": (plugin(before="raise SystemExit(3)"), "SystemExit: 3"),
    "exits quietly": (plugin(before="import sys; sys.exit()"), "SystemExit"),
    "recurses": (plugin(before="def f(): f()\n        f()"), "RecursionError: maximum recursion depth exceeded"),
    "is no Python": (plugin(before="def"), "SyntaxError: "),
    "wants what is not there": (
        plugin(before="import not_there_at_all"),
        "ModuleNotFoundError: No module named 'not_there_at_all'",
    ),
    "returns nothing": (plugin("return None"), "pairbench_components gave None: expected a list"),
    "returns text": (plugin("return 'shiny'"), "pairbench_components gave 'shiny': expected a list"),
    "returns junk": (
        plugin("return [Shiny, 3]"),
        "pairbench_components gave 3: expected classes of the four interfaces",
    ),
    "returns a recipe": (plugin("return [Shiny()]"), "pairbench_components gave "),
    "returns an interface": (plugin("return [pairbench.Encoder]"), "Encoder.name is ''"),
    "returns another class": (plugin("return [dict]"), "pairbench_components gave <class 'dict'>"),
    "raises when asked": (plugin("raise KeyError('x')"), "KeyError: 'x'"),
    "exits when asked": (plugin("raise SystemExit"), "SystemExit"),
    "has a bad name": (plugin(name="not a name"), "Shiny.name is 'not a name': expected one such as 'small_cnn'"),
    "has a hostile name": (plugin(name="[/red]\\x1b[2J"), "Shiny.name is "),
    "has no name": (plugin(name=""), "Shiny.name is ''"),
    "brings one name twice": (plugin("return [Shiny, Shiny]"), "has encoder 'shiny' twice"),
    "has a wrong hook signature": (
        plugin().replace("pairbench_components()", "pairbench_components(wrong)"),
        "PluginValidationError: ",
    ),
    "has an unknown hook": (
        plugin() + "\n@pairbench.hookimpl\ndef pairbench_nope(): pass\n",
        "PluginValidationError: ",
    ),
    "lacks a method": (plugin().replace("def build", "def construct"), "Shiny lacks build"),
    "subclasses a component": (
        plugin().replace(
            "class Shiny(pairbench.Encoder)", "from pairbench_report.encoders import Cnn\nclass Shiny(Cnn)"
        ),
        "TypeError: Shiny subclasses the component Cnn",
    ),
    "has a slot of its own": (
        plugin().replace("width:", "slot = 'judge'\n    width:"),
        "Shiny has slot 'judge': expected a subclass of PairDataset, Encoder, ComparisonHead, LossStrategy",
    ),
    "brings junk suites": (
        plugin() + "\n@pairbench.hookimpl\ndef pairbench_suites(): return [3]\n",
        "pairbench_suites gave 3",
    ),
}


@pytest.fixture(params=list(BAD))
def bad(request: pytest.FixtureRequest, install_plugin: Install) -> str:
    """A bad plugin is installed between two good ones; the reason that has to be told."""
    source, reason = BAD[request.param]
    install_plugin("early", plugin(name="early"), distribution="a-early")
    install_plugin("bad", source, distribution="b-bad")
    install_plugin("late", plugin(name="late"), distribution="z-late")
    return reason


def test_a_bad_plugin_is_named_and_the_others_work(bad: str) -> None:
    registry = installed()
    (failure,) = registry.failures
    assert (failure.plugin, failure.distribution) == ("bad", "b-bad")
    assert bad in failure.reason
    assert failure.reason.isprintable()
    assert "Traceback" in failure.traceback
    assert [plugin.distribution for plugin in registry.plugins if plugin.distribution != "pairbench"] == [
        "a-early",
        "z-late",
    ]
    assert {"early", "late", "cnn"} <= set(registry.names("encoder"))
    assert "shiny" not in registry.names("encoder")
    assert not registry.manager.has_plugin("b-bad:bad")
    assert config_of("encoder=late").encoder.name == "late"


@pytest.mark.usefixtures("devices")
def test_list_and_doctor_name_the_bad_plugin(bad: str, store: Store) -> None:
    listed = catalogue.catalogue(installed())
    findings = doctor.examine(installed(), store)
    assert [(item["plugin"], item["distribution"]) for item in listed["failures"]] == [("bad", "b-bad")]
    assert [(item["plugin"], item["distribution"]) for item in findings["failures"]] == [("bad", "b-bad")]
    assert not doctor.healthy(findings)
    json.dumps([listed, findings], allow_nan=False)
    for document in (catalogue.catalogue_document(listed), doctor.document(findings)):
        for text in (to_text(document, 400), to_markdown(document)):
            assert "b-bad" in text
            assert "\x1b" not in text
        assert "\x1b" not in to_csv(document)


def test_an_unknown_name_says_which_plugins_failed(install_plugin: Install) -> None:
    install_plugin("bad", "raise ValueError", distribution="b-bad")
    with pytest.raises(SpecError) as caught:
        installed().find("encoder", "shiny")
    assert str(caught.value).endswith(" Plugins that failed to load: bad (see 'pairbench doctor').")


def test_what_a_plugin_prints_at_import_stays_off_standard_output(
    install_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("loud", plugin(name="loud", before="print('HELLO')"))
    assert "loud" in installed().names("encoder")
    assert capsys.readouterr().out == ""


def test_ctrl_c_while_plugins_load_is_not_taken_for_a_fault(install_plugin: Install) -> None:
    install_plugin("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


def test_a_distribution_without_metadata_is_named_unknown(install_plugin: Install) -> None:
    file = install_plugin("shiny", "raise ValueError", distribution="half")
    (file.parent / "half-1.0.dist-info" / "METADATA").unlink()
    assert [failure.distribution for failure in load().failures] == ["unknown"]


# Names that two plugins claim.


@pytest.fixture
def twins(install_plugin: Install) -> None:
    """Two distributions that both bring the encoder `shiny`."""
    install_plugin("shiny", plugin(), distribution="acme")
    install_plugin("glossy", plugin(), distribution="zeta")


@pytest.mark.usefixtures("twins")
def test_a_name_that_two_plugins_claim_has_to_be_written_with_its_distribution() -> None:
    with pytest.raises(SpecError) as caught:
        config_of("encoder=shiny")
    assert str(caught.value) == (
        "encoder 'shiny' is claimed by 2 plugins. Write encoder=acme:shiny or encoder=zeta:shiny."
    )
    assert config_of("encoder=zeta:shiny").origins()["encoder"].distribution == "zeta"


@pytest.mark.usefixtures("twins")
def test_the_words_of_a_config_keep_the_distribution_of_a_name_that_two_claim() -> None:
    for name in ("acme", "zeta"):
        config = config_of(f"encoder={name}:shiny", "encoder.width=2")
        assert config.words()[0] == f"encoder={name}:shiny"
        assert config_of(*config.words()).origins() == config.origins()


@pytest.mark.usefixtures("twins", "devices")
def test_list_and_doctor_name_what_two_plugins_claim(store: Store) -> None:
    listed = catalogue.catalogue(installed(), "encoder")
    assert {"acme:shiny", "zeta:shiny"} <= {item["name"] for item in listed["components"]}
    findings = doctor.examine(installed(), store)
    message = "encoder 'shiny' is claimed by 2 plugins. Write encoder=acme:shiny or encoder=zeta:shiny"
    assert listed["conflicts"] == findings["conflicts"] == [message]
    assert message in to_text(catalogue.catalogue_document(listed), 400)
    assert message in to_text(doctor.document(findings), 400)


def test_a_plugin_that_claims_a_default_does_not_break_the_main_job(install_plugin: Install) -> None:
    install_plugin("usurper", plugin(name="deep_cnn"), distribution="usurper")
    assert config_of().origins()["encoder"].distribution == "pairbench"
    with pytest.raises(SpecError, match=r"Write encoder=pairbench:deep_cnn or encoder=usurper:deep_cnn\.$"):
        config_of("encoder=deep_cnn")
    assert resolve({}).words() == config_of("encoder=pairbench:deep_cnn").words()


# Hashes of the source.


def test_the_source_hash_of_a_package_covers_all_of_its_files(install_plugin: Install) -> None:
    parts = {"big/__init__.py": "", "big/parts.py": plugin(), "big/extra.toml": "", "big/notes.txt": ""}
    entry = "from big.parts import *\nfrom big.parts import pairbench_components\n"
    folder = install_plugin("big", "", value="big.hooks", files=parts | {"big/hooks.py": entry}).parent

    def now() -> str:
        source_hash.cache_clear()
        (origin,) = [origin for origin in load().plugins if origin.plugin == "big"]
        return origin.source

    seen = {now()}
    (folder / "big" / "notes.txt").write_text("more")
    assert now() in seen
    for name in ("parts.py", "hooks.py", "extra.toml"):
        file = folder / "big" / name
        file.write_text(file.read_text() + "\n# changed\n")
        seen.add(now())
    (folder / "big" / "deep").mkdir()
    (folder / "big" / "deep" / "new.py").write_text("")
    seen.add(now())
    assert len(seen) == 5


def test_a_plugin_that_is_an_object_is_known_by_the_source_of_its_module(install_plugin: Install) -> None:
    source = (
        plugin() + "\nclass Holder:\n    pairbench_components = staticmethod(pairbench_components)\nholder = Holder()\n"
    )
    file = install_plugin("held", source, value="held_plugin:holder")
    assert [failure.reason for failure in installed().failures] == []
    assert installed().find("encoder", "shiny").origin.source == hash_files(file.parent, [file])


def test_names_and_contents_both_count_in_a_hash(tmp_path: Path) -> None:
    def digest(files: dict[str, str]) -> str:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return hash_files(tmp_path, sorted(tmp_path.iterdir()))

    found = [
        {"a": "x", "b": "y"},
        {"a": "y", "b": "x"},
        {"a": "xb", "c": "y"},
        {"a": "x", "c": "y"},
        {"a": "xy", "b": ""},
    ]
    assert len({digest(files) for files in found}) == len(found)
