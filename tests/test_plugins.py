from __future__ import annotations

import pytest

from kdbench import plugins as registry_module
from kdbench.errors import UserError
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry, suggestion

GOOD = """
@hookimpl
def kdbench_methods():
    return [card("good-one")]
"""


def gives(*names: str) -> str:
    cards = ", ".join(f"card('{name}')" for name in names)
    return f"@hookimpl\ndef kdbench_methods():\n    return [{cards}]\n"


def errors() -> dict[str, str | None]:
    return {plugin.distribution: plugin.error for plugin in registry().plugins}


def test_a_plugin_is_found_with_its_origin(add_plugin):
    add_plugin("their-kd", GOOD, version="2.5")
    offer = registry().method("good-one")
    assert offer.value.title == "Title of good-one"
    assert (offer.plugin.distribution, offer.plugin.version, offer.plugin.module) == (
        "their-kd",
        "2.5",
        "their_kd",
    )
    assert offer.plugin.offers == {"method": ["good-one"]}
    assert errors() == {"their-kd": None}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        (
            "import a_module_that_is_not_there",
            "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
        ("@hookimpl\ndef kdbench_methods():\n    return ['mimic']", "TypeError: kdbench_methods gave str"),
        ("@hookimpl\ndef kdbench_methods():\n    return None", "TypeError: "),
        ("@hookimpl\ndef kdbench_methods():\n    raise KeyError('late')", "KeyError: 'late'"),
        ("@hookimpl\ndef kdbench_methods():\n    raise SystemExit", "SystemExit"),
        (
            "@hookimpl\ndef kdbench_methods():\n    return [card('Bad[Name')]",
            "ValueError: kdbench_methods gave the name",
        ),
        (
            "@hookimpl\ndef kdbench_methds():\n    return []",
            "PluginValidationError: unknown hook 'kdbench_methds'",
        ),
        ("@hookimpl\ndef kdbench_methods(extra):\n    return []", "extra"),
        ("def kdbench_methods():\n    return []", "TypeError: kdbench_methods is not marked"),
        ("def kdbench_methds():\n    return []", "TypeError: kdbench_methds is not marked"),
    ],
)
def test_a_broken_plugin_is_listed_and_hurts_nothing(add_plugin, source, told):
    add_plugin("good-kd", GOOD)
    add_plugin("broken-kd", source)
    found = errors()
    assert found["good-kd"] is None
    assert told in (found["broken-kd"] or "")
    assert "\n" not in (found["broken-kd"] or "")
    assert list(registry().methods) == ["good-one"]
    assert any("broken-kd" in line for line in registry().errors())


def test_ctrl_c_while_loading_is_not_a_plugin_error(add_plugin):
    add_plugin("slow-kd", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        registry()


def test_a_half_broken_plugin_leaves_nothing(add_plugin):
    add_plugin("half-kd", GOOD + "@hookimpl\ndef kdbench_pairs():\n    return [1]\n")
    assert not registry().methods
    assert registry().plugins[0].offers == {}


def test_an_unknown_name_says_which_plugins_failed(add_plugin):
    add_plugin("good-kd", GOOD)
    add_plugin("broken-kd", "raise RuntimeError('no luck')")
    with pytest.raises(UserError) as caught:
        registry().method("god-one")
    assert "Did you mean 'good-one'?" in str(caught.value)
    assert "broken-kd (RuntimeError: no luck)" in str(caught.value)


def test_two_plugins_with_one_name_are_both_named_and_others_unharmed(add_plugin):
    add_plugin("first-kd", gives("same", "only-first"))
    add_plugin("second-kd", gives("same"))
    with pytest.raises(UserError) as caught:
        registry().method("same")
    assert "first-kd" in str(caught.value)
    assert "second-kd" in str(caught.value)
    assert "write first-kd:same or second-kd:same" in str(caught.value)
    assert registry().method("only-first").plugin.distribution == "first-kd"
    assert set(registry().methods) == {"first-kd:same", "only-first", "second-kd:same"}
    assert registry().method("First_KD:same").value.name == "first-kd:same"


def test_three_plugins_with_one_name_are_all_named(add_plugin):
    for name in ("first-kd", "second-kd", "third-kd"):
        add_plugin(name, gives("same"))
    conflict = registry().conflicts["method same"]
    assert all(name in conflict for name in ("first-kd", "second-kd", "third-kd"))
    assert len(registry().methods) == 3
    assert registry().errors()[-1] == conflict


def test_what_kdbench_gives_keeps_its_name_and_another_s_is_qualified(add_plugin, monkeypatch):
    add_plugin("kdbench-foo", gives("mimic", "own"))
    monkeypatch.setenv(ENVIRONMENT, "kdbench,kdbench-foo")
    found = registry()
    assert (
        found.method("mimic").plugin.distribution
        == found.method("kdbench:mimic").plugin.distribution
        == "kdbench"
    )
    theirs = found.method("kdbench-foo:mimic")
    assert (theirs.plugin.distribution, theirs.value.name) == ("kdbench-foo", "kdbench-foo:mimic")
    assert theirs.title == "method 'kdbench-foo:mimic' of kdbench-foo 1.0"
    assert found.method("kdbench-foo:own").value.name == "own"
    assert not found.conflicts
    assert theirs.plugin.offers == {"method": ["kdbench-foo:mimic", "own"]}
    assert found.errors() == [
        "plugin kdbench-foo (kdbench_foo) gives method 'mimic', as others do: here it is 'kdbench-foo:mimic'"
    ]


def test_a_pair_is_on_its_own_distribution_s_dataset(add_plugin, monkeypatch):
    add_plugin(
        "kdbench-foo",
        """
        @hookimpl
        def kdbench_datasets():
            from kdbench.datasets.digits import detection
            return [detection]

        @hookimpl
        def kdbench_pairs():
            from kdbench.pairs.cpu import PAIRS
            return [PAIRS[0].model_copy(update={"name": "their-pair"})]
        """,
    )
    monkeypatch.setenv(ENVIRONMENT, "kdbench,kdbench-foo")
    assert registry().pair("their-pair").value.dataset == "kdbench-foo:digits"
    assert [pair.name for pair in registry().pairs_of("kdbench-foo:digits")] == ["their-pair"]


def test_a_distribution_that_gives_a_name_twice_is_refused(add_plugin):
    add_plugin("first-kd", gives("same", "same"))
    with pytest.raises(
        UserError, match=r"given 2 times, by first-kd .* and first-kd .*: uninstall all but one"
    ):
        registry().method("same")


def test_the_environment_restricts_what_loads_however_the_name_is_written(add_plugin, monkeypatch):
    add_plugin("first-kd", gives("one"))
    add_plugin("second-kd", "raise RuntimeError('must not be imported')")
    monkeypatch.setenv(ENVIRONMENT, " First_KD ,")
    assert errors() == {"first-kd": None}
    registry.cache_clear()
    monkeypatch.setenv(ENVIRONMENT, "")
    assert registry().plugins == ()


def test_a_conflict_is_mended_by_the_environment(add_plugin, monkeypatch):
    add_plugin("first-kd", gives("same"))
    add_plugin("second-kd", gives("same"))
    monkeypatch.setenv(ENVIRONMENT, "second-kd")
    assert registry().method("same").plugin.distribution == "second-kd"


def test_a_misspelt_distribution_in_the_environment_is_told(add_plugin, monkeypatch):
    add_plugin("first-kd", gives("one"))
    monkeypatch.setenv(ENVIRONMENT, "first-kd,frist-kd")
    assert f"named in {ENVIRONMENT}" in (errors()["frist-kd"] or "")
    assert list(registry().methods) == ["one"]


def test_kdbench_comes_first_and_whole_without_the_environment(add_plugin, monkeypatch):
    add_plugin("a-kd", gives("one"))
    monkeypatch.delenv(ENVIRONMENT)
    first, *_ = registry().plugins
    assert first.distribution == "kdbench"
    ours = [plugin for plugin in registry().plugins if plugin.distribution == "kdbench"]
    rooms = {"kdbench.datasets", "kdbench.pairs", "kdbench.executors"}
    assert {plugin.module for plugin in ours} == rooms | {"kdbench_papers", "kdbench_models.plugin"}
    assert [plugin.error for plugin in ours] == [None] * len(ours)
    assert registry().method("one").plugin.distribution == "a-kd"


def test_a_distribution_on_the_path_twice_counts_once(add_plugin, monkeypatch, tmp_path):
    add_plugin("their-kd", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path / "site_their-kd" / "."))
    assert list(errors()) == ["their-kd"]
    assert not registry().conflicts


def test_suggestions():
    assert suggestion("mimik", ["mimic", "hinton"]) == " Did you mean 'mimic'?"
    assert suggestion("zzz", ["mimic", "hinton"]) == " Known: hinton, mimic."
    assert suggestion("zzz", []) == " Known: none."


def test_pairs_of_a_dataset_keep_the_plugins_order(fresh_registry, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for name in {offer.value.dataset for offer in registry().pairs.values()}:
        expected = [pair for pair, offer in registry().pairs.items() if offer.value.dataset == name]
        assert [pair.name for pair in registry().pairs_of(name)] == expected
    assert registry_module.registry().pairs_of("nothing") == []
