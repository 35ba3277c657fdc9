"""A plugin that misbehaves is blamed by name and hurts nobody else; in lanes: tests/openmmlab/test_bad_lanes.py."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import pytest

from kdbench import devices, isolation
from kdbench.errors import UserError
from kdbench.execution.plan import Request, plan
from kdbench.isolation import MethodError, imported, running, settings_kept
from kdbench.registry import ENVIRONMENT, registry

GOOD = "@hookimpl\ndef kdbench_methods():\n    return [card('good-one')]\n"


def gives(changes: str) -> str:
    return f"@hookimpl\ndef kdbench_methods():\n    return [card('bad-one', {changes})]\n"


def plugin(distribution: str):
    (found,) = [found for found in registry().plugins if found.distribution == distribution]
    return found


def add_method(add_plugin, tmp_path, monkeypatch, source: str, version: str = "1.5"):
    """A plugin whose card is fine, with this module of its method: ``bad-one`` beside ours."""
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
        ("import os\nos.chdir('/')", "changed the working directory from "),
        ("import torch\ntorch.set_default_dtype(torch.float64)", "changed torch's default dtype from "),
        (gives("options=dict"), "the options of 'bad-one' are no subclass"),
        (gives("tasks='detection'"), "the tasks of 'bad-one' are detection: give a tuple"),
        (
            gives("reported=__import__('pathlib').Path('no.csv')"),
            "reported numbers of 'bad-one' are not there",
        ),
    ],
)
def test_what_it_does_while_it_is_imported_is_told_and_hurts_nothing(add_plugin, source, told):
    import torch

    where = Path.cwd()
    add_plugin("good-kd", GOOD)
    add_plugin("bad-kd", source)
    assert told in plugin("bad-kd").error
    assert plugin("bad-kd").state == "error"
    assert list(registry().methods) == ["good-one"]
    assert (Path.cwd(), torch.get_default_dtype()) == (where, torch.float32)


def test_one_that_hangs_is_left_behind(add_plugin, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0.3)
    add_plugin("slow-kd", "import time\ntime.sleep(5)\n" + GOOD)
    add_plugin("good-kd", GOOD)
    begun = time.monotonic()
    assert plugin("slow-kd").error == "did not end within 0.3 s"
    assert time.monotonic() - begun < 4
    assert registry().method("good-one").plugin.distribution == "good-kd"


def test_one_that_hangs_in_its_hook_is_left_behind(add_plugin, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0.3)
    add_plugin("slow-kd", "import time\n@hookimpl\ndef kdbench_methods():\n    time.sleep(5)\n")
    assert plugin("slow-kd").error == "did not end within 0.3 s"


def test_what_it_prints_is_no_output_of_a_command(add_plugin, capsys):
    add_plugin("noisy-kd", "print('hello,\\nworld')\n" + GOOD)
    assert list(registry().methods) == ["good-one"]
    assert plugin("noisy-kd").state == "warning"
    assert plugin("noisy-kd").warnings == ["prints while it is imported: 'hello, world'"]
    assert registry().errors() == ["plugin noisy-kd (noisy_kd) prints while it is imported: 'hello, world'"]
    assert capsys.readouterr().out == ""


def test_random_states_are_as_before(add_plugin):
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    add_plugin(
        "seed-kd", "import random, numpy, torch\nrandom.seed(1)\nnumpy.random.seed(1)\ntorch.manual_seed(1)"
    )
    assert plugin("seed-kd").error is None
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


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
        ("import a_module_that_is_not_there", "cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("Good = 1", "cannot be imported: AttributeError: module 'bad_kd_method' has no attribute 'Bad'"),
        ("class Bad: pass", "bad_kd_method:Bad is no subclass of kdbench.api.Method"),
        (
            "import torch\ntorch.use_deterministic_algorithms(True)\nBad = 1",
            "cannot be imported: changed whether torch uses deterministic algorithms from 0 to 2",
        ),
    ],
)
def test_a_method_that_cannot_be_imported_is_blamed(add_plugin, tmp_path, monkeypatch, source, told):
    import torch

    card = add_method(add_plugin, tmp_path, monkeypatch, source)
    with pytest.raises(MethodError) as failed:
        card.load()
    assert str(failed.value).startswith("method 'bad-one' of bad-kd 1.5")
    assert told in str(failed.value)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_method_that_hangs_at_import_is_blamed(add_plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0.3)
    card = add_method(add_plugin, tmp_path, monkeypatch, "import time\ntime.sleep(5)")
    with pytest.raises(MethodError, match=r"method 'bad-one' of bad-kd 1\.5 .*: did not end within 0\.3 s"):
        card.load()


def test_a_capture_that_does_not_exist_is_refused(add_plugin, tmp_path, monkeypatch):
    from kdbench.openmmlab.preflight import check_family

    source = "from kdbench.api import Method\nclass Bad(Method):\n    captures = ('neck', 'soul')\n"
    card = add_method(add_plugin, tmp_path, monkeypatch, source)
    with pytest.raises(UserError) as refused:
        check_family(card.name, card.load(), card.options(), "dense")
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
            plan(Request(method, "digits", data_root=small_digits), lambda _line: None)
        assert str(failed.value) == told
        said = capsys.readouterr()
        assert (said.out, "hello" in said.err) == ("", True)


def test_the_version_of_a_plugin_is_part_of_a_record_s_identity(
    add_plugin, tmp_path, monkeypatch, small_digits
):
    add_method(add_plugin, tmp_path, monkeypatch, "")
    request = Request("bad-one", "digits", data_root=small_digits)
    first = plan(request, lambda _line: None)
    assert first.cell.plugin == "bad-kd 1.5"
    metadata = next((tmp_path / "site_bad-kd").glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.5", "1.6"))
    registry.cache_clear()
    second = plan(request, lambda _line: None)
    assert second.cell.plugin == "bad-kd 1.6"
    assert first.cell.identity() != second.cell.identity()
    assert first.plain.identity() == second.plain.identity()


# While it runs


def meddling():
    """Name -> what changes a setting, and what says whether it was put back."""
    import numpy as np
    import torch

    cudnn = torch.backends.cudnn
    return {
        "default dtype": lambda: torch.set_default_dtype(torch.float64),
        "default device": lambda: torch.set_default_device("meta"),
        "keeps gradients": lambda: torch.set_grad_enabled(False),
        "number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
        "precision of torch's matrix": lambda: torch.set_float32_matmul_precision("medium"),
        "detection of anomalies": lambda: torch.autograd.set_detect_anomaly(True),
        "autocast on cpu": lambda: torch.set_autocast_enabled("cpu", True),
        "cudnn.benchmark": lambda: setattr(cudnn, "benchmark", not cudnn.benchmark),
        "cudnn.deterministic": lambda: setattr(cudnn, "deterministic", not cudnn.deterministic),
        "cudnn.enabled": lambda: setattr(cudnn, "enabled", not cudnn.enabled),
        "error handling": lambda: np.seterr(divide="raise"),
        "working directory": lambda: os.chdir("/"),
    }


def values():
    return {setting.title: setting.read() for setting in isolation._settings()}


def meddle(name, error=None):
    """Change a setting as a method might, and see that it is changed."""
    before = values()
    with running(int, "losses()"):
        meddling()[name]()
        assert values() != before
        if error is not None:
            raise error


@pytest.mark.parametrize("name", meddling())
def test_a_setting_that_it_changes_is_put_back_and_it_is_blamed(name):
    before = values()
    with pytest.raises(MethodError, match=rf"method builtins:int changed .*{name}.* in losses\(\)"):
        meddle(name)
    assert values() == before
    with pytest.raises(MethodError, match="ZeroDivisionError"):
        meddle(name, ZeroDivisionError())
    assert values() == before


def test_every_setting_has_a_case():
    settings_of_torch = {setting.title for setting in isolation._settings()}
    without = {title for title in settings_of_torch if not any(name in title for name in meddling())}
    assert without <= {f"torch's autocast on {devices.accelerator()}"}  # the same code as on cpu


def test_a_method_may_use_what_it_undoes():
    import torch

    with settings_kept(), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.is_grad_enabled()


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

    with pytest.raises(MethodError) as failed, running(Mimic, "build()"):
        raise error
    version = registry().method("mimic").plugin.version
    assert str(failed.value).startswith(f"method 'mimic' of kdbench {version} {told}")
    assert failed.value.__cause__ is error


def test_a_user_s_mistake_an_interruption_and_want_of_memory_are_not_its_fault():
    import torch

    for error in (
        UserError("choose another pair."),
        KeyboardInterrupt(),
        torch.OutOfMemoryError(),
        MemoryError(),
    ):
        with pytest.raises(type(error)) as failed, running(int, "losses()"):
            raise error
        assert failed.value is error


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (None, "gave a NoneType in losses()"),
        ([1.0], "gave a list in losses()"),
        ({1: "x"}, "gave a dict in losses()"),
        ({"a": 1.0}, "gave 'a': a float in losses()"),
        ({"a": "ones"}, "gave 'a': a torch.float32 tensor of shape (3,) in losses()"),
        ({"a": "integer"}, "gave 'a': a torch.int64 tensor of shape () in losses()"),
    ],
)
def test_wrong_types_of_losses_are_told(terms, told):
    import torch

    from kdbench.distill.method import check_terms

    made = {"ones": torch.ones(3), "integer": torch.tensor(3)}
    if isinstance(terms, dict):
        terms = {name: made.get(term, term) for name, term in terms.items()}
    with pytest.raises(MethodError) as failed:
        check_terms(int, terms)
    assert told in str(failed.value)
    assert str(failed.value).endswith("it must give a dict of scalar tensors by name")
    check_terms(int, {})
    check_terms(int, {"a": torch.tensor(1.0), "b": torch.ones((), dtype=torch.bfloat16)})


def test_an_import_s_value_and_output_come_back():
    assert imported(lambda: print("x") or 7) == (7, "x\n")
    with pytest.raises(KeyboardInterrupt):
        imported(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_replacing_a_setting_that_torch_brings_is_seen_too(monkeypatch):
    """A plugin may be the first to import torch: what was there before is then what torch begins with."""
    known = isolation._settings()
    dtype = next(setting for setting in known if "default dtype" in setting.title)
    changed = dtype._replace(read=lambda: "float64")
    later = iter([[], [changed]])
    monkeypatch.setattr(isolation, "_settings", lambda: next(later))
    with pytest.raises(UserError, match="changed torch's default dtype"), settings_kept():
        pass
