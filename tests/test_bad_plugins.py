"""Errors of a plugin name it and affect no other. For lanes, see tests/openmmlab/test_bad_lanes.py."""

from __future__ import annotations

import json
import sys

import pytest

from kdbench import errors
from kdbench.errors import PluginError, UserError, running
from kdbench.guests import Interruption
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import load_method, make_method, registry, title_of
from kdbench.runs.plan import plan
from kdbench.runs.request import Request

METHOD = "from kdbench.api import Method\nclass Bad(Method):\n    pass\n"
GOOD = "@hookimpl\ndef kdbench_methods():\n    return [card('good-one')]\n"


def gives(changes: str) -> str:
    return f"@hookimpl\ndef kdbench_methods():\n    return [card('bad-one', {changes})]\n"


def plugin(distribution: str):
    (found,) = [found for found in registry().plugins if found.distribution == distribution]
    return found


def add_method(add_plugin, tmp_path, monkeypatch, source: str, version: str = "1.5"):
    """Install a plugin with a valid card and this module for its method, ``bad-one``, beside kdbench's own."""
    add_plugin("bad-kd", gives("tasks=('detection',), method='bad_kd_method:Bad'"), version=version)
    (tmp_path / "site_bad-kd" / "bad_kd_method.py").write_text(source)
    monkeypatch.delitem(sys.modules, "bad_kd_method", raising=False)
    monkeypatch.setenv(ENVIRONMENT, "kdbench,bad-kd")
    registry.cache_clear()
    return registry().method("bad-one").value


# While it is imported


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("class Odd(BaseException): pass\nraise Odd('very')", "Odd: very"),
        ("@hookimpl\ndef kdbench_methods():\n    raise KeyError('late')", "KeyError: 'late'"),
        (gives("options=dict"), "the options of 'bad-one' are not a subclass"),
        (gives("tasks='detection'"), "the tasks of 'bad-one' are detection: give a tuple"),
        (
            gives("reported=__import__('pathlib').Path('no.csv')"),
            "reported numbers of 'bad-one' are not there",
        ),
    ],
)
def test_what_it_does_while_it_is_imported_is_told_and_hurts_nothing(add_plugin, source, told):
    add_plugin("good-kd", GOOD)
    add_plugin("bad-kd", source)
    assert told in plugin("bad-kd").error
    assert plugin("bad-kd").state == "error"
    assert list(registry().methods) == ["good-one"]


@pytest.mark.parametrize(
    "source", ["time.sleep(1)", "@hookimpl\ndef kdbench_methods():\n    time.sleep(1)\n    return []\n"]
)
def test_one_that_is_slow_to_import_is_named(add_plugin, monkeypatch, caplog, source):
    monkeypatch.setattr(errors, "SECONDS", 0.2)
    add_plugin("slow-kd", f"import time\n{source}")
    assert plugin("slow-kd").error is None
    named = "plugin slow-kd (slow_kd) is still being imported: Ctrl-C stops waiting for it."
    assert caplog.messages == [named]


def test_what_it_prints_is_no_output_of_a_command(add_plugin, capsys):
    add_plugin("noisy-kd", "print('hello,\\nworld')\n" + GOOD)
    assert list(registry().methods) == ["good-one"]
    assert plugin("noisy-kd").state == "warning"
    assert plugin("noisy-kd").warnings == ["prints while it is imported: 'hello, world'"]
    assert registry().errors() == ["plugin noisy-kd (noisy_kd) prints while it is imported: 'hello, world'"]
    assert capsys.readouterr().out == ""


def test_one_for_another_python_is_not_imported(add_plugin, tmp_path):
    add_plugin("future-kd", "raise RuntimeError('must not be imported')")
    metadata = next((tmp_path / "site_future-kd").glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Python: >=3.99\n")
    error = plugin("future-kd").error
    assert error.startswith("is for Python >=3.99, and this is 3.")


def test_list_plugins_shows_them_all(kdbench_lists, add_plugin):
    add_plugin("good-kd", GOOD, version="2.5")
    add_plugin("noisy-kd", "print('hello')")
    add_plugin("bad-kd", "raise RuntimeError('no luck')")
    rows = {row["distribution"]: row for row in kdbench_lists("plugins")}
    assert (rows["good-kd"]["version"], rows["good-kd"]["offers"]) == ("2.5", {"method": ["good-one"]})
    assert {name: row["state"] for name, row in rows.items()} == {
        "good-kd": "ok",
        "noisy-kd": "warning",
        "bad-kd": "error",
    }
    assert rows["bad-kd"]["error"] == "RuntimeError: no luck"


@pytest.fixture
def kdbench_lists(capsys):
    from kdbench.cli import main

    def lists(kind):
        assert main(["list", kind, "--json"]) == 0
        return json.loads(capsys.readouterr().out)[kind]

    return lists


# When its method is imported


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "import a_module_that_is_not_there",
            "import of bad_kd_method:Bad: ModuleNotFoundError: No module named",
        ),
        ("raise SystemExit(3)", "import of bad_kd_method:Bad: SystemExit: 3"),
        (
            "Good = 1",
            "Bad: AttributeError: module 'bad_kd_method' has no attribute 'Bad'",
        ),
        ("class Bad: pass", "bad_kd_method:Bad is not a subclass of kdbench.api.Method"),
    ],
)
def test_a_method_that_cannot_be_imported_is_blamed(add_plugin, tmp_path, monkeypatch, source, told):
    card = add_method(add_plugin, tmp_path, monkeypatch, source)
    with pytest.raises(PluginError) as failed:
        load_method(card)
    assert str(failed.value).startswith("method 'bad-one' of bad-kd 1.5")
    assert told in str(failed.value)


def test_a_method_that_is_slow_to_import_is_named(add_plugin, tmp_path, monkeypatch, caplog):
    card = add_method(add_plugin, tmp_path, monkeypatch, "import time\ntime.sleep(1)\n" + METHOD)
    monkeypatch.setattr(errors, "SECONDS", 0.2)
    load_method(card)
    named = "method 'bad-one' of bad-kd 1.5 is still being imported: Ctrl-C stops waiting for it."
    assert caplog.messages == [named]


def test_a_capture_that_does_not_exist_is_refused(add_plugin, tmp_path, monkeypatch):
    from kdbench.openmmlab.checks.preflight import check_family

    card = add_method(add_plugin, tmp_path, monkeypatch, f"{METHOD}    captures = ('neck', 'soul')\n")
    with pytest.raises(UserError) as refused:
        check_family(make_method(card, card.options()), "dense")
    assert str(refused.value) == "method 'bad-one' of bad-kd 1.5 asks for unknown captures: soul."


def test_options_and_stages_that_raise_are_blamed_before_anything_runs(
    add_plugin, monkeypatch, small_digits, capsys
):
    source = """
    from pydantic import field_validator

    class Moody(Options):
        weight: float = 1.0
        @field_validator("weight")
        @classmethod
        def raises(cls, value):
            print("hello")
            raise RuntimeError("not today")

    def stage(options):
        print("hello")
        return 1 / 0

    @hookimpl
    def kdbench_methods():
        return [card("moody", options=Moody), card("staged", teacher_stage=stage, method="x:Y")]
    """
    add_plugin("bad-kd", source)
    monkeypatch.setenv(ENVIRONMENT, "kdbench,bad-kd")
    registry.cache_clear()
    for method, told in [
        ("moody[weight=2]", "method 'moody' of bad-kd 1.0 failed in its options: RuntimeError: not today"),
        (
            "staged",
            "method 'staged' of bad-kd 1.0 failed in teacher_stage(): ZeroDivisionError: division by zero",
        ),
    ]:
        with pytest.raises(UserError) as failed:
            plan(Request(method, "digits", data_root=small_digits))
        assert str(failed.value) == told
        said = capsys.readouterr()
        assert (said.out, "hello" in said.err) == ("", True)


def test_the_version_of_a_plugin_is_no_part_of_a_record_s_identity(
    add_plugin, tmp_path, monkeypatch, small_digits
):
    add_method(add_plugin, tmp_path, monkeypatch, "")
    request = Request("bad-one", "digits", data_root=small_digits)
    first = plan(request)
    assert first.plugin == "bad-kd 1.5"
    metadata = next((tmp_path / "site_bad-kd").glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.5", "1.6"))
    registry.cache_clear()
    second = plan(request)
    assert second.plugin == "bad-kd 1.6"
    assert first.cell.identity() == second.cell.identity()
    assert first.plain.identity() == second.plain.identity()


# While it runs


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("two\nlines"), "failed in build(): ValueError: two lines"),
        (KeyError(), "failed in build(): KeyError"),
        (FileNotFoundError(2, "No such file", "x.pth"), "failed in build(): FileNotFoundError: [Errno 2]"),
        (SystemExit(1), "failed in build(): SystemExit: 1"),
    ],
)
def test_what_it_raises_is_blamed(error, told):
    from kdbench_papers.mimic.method import Mimic

    with pytest.raises(PluginError) as failed, running(title_of(Mimic), "build()"):
        raise error
    version = registry().method("mimic").plugin.version
    assert str(failed.value).startswith(f"method 'mimic' of kdbench {version} {told}")
    assert failed.value.__cause__ is error


def test_a_user_s_mistake_an_interruption_and_want_of_memory_are_not_its_fault():
    import torch

    for error in (
        UserError("choose another pair."),
        Interruption(),
        torch.OutOfMemoryError(),
        MemoryError(),
    ):
        with pytest.raises(type(error)) as failed, running("method 'x'", "losses()"):
            raise error
        assert failed.value is error


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (None, "it returned a NoneType, "),
        ([1.0], "it returned a list, "),
        ({1: "x"}, "it returned a dict, "),
        ({"a\x1b[31m": "ones"}, "it returned the name 'a\\x1b[31m', "),
        ({"a": 1.0}, "it returned 'a': a float, "),
        ({"a": "ones"}, "it returned 'a': a torch.float32 tensor of shape (3,), "),
        ({"a": "integer"}, "it returned 'a': a torch.int64 tensor of shape (), "),
    ],
)
def test_wrong_types_of_losses_are_told(terms, told):
    import torch

    from kdbench.distill.method import check_terms

    made = {"ones": torch.ones(3), "integer": torch.tensor(3)}
    if isinstance(terms, dict):
        terms = {name: made.get(term, term) for name, term in terms.items()}
    with pytest.raises(TypeError) as failed:
        check_terms(terms)
    assert str(failed.value) == f"{told}not a dict of scalar tensors by name"
    check_terms({})
    check_terms({"a": torch.tensor(1.0), "b": torch.ones((), dtype=torch.bfloat16)})
