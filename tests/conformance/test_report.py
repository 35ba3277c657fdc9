"""Reports on good and bad methods, by the command and by pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
from made_plugins import BROKEN, Copy, write

from kdbench import __version__
from kdbench.cli import main
from kdbench.conformance import runner
from kdbench.conformance.promises import PROMISES
from kdbench.plugins import registry
from kdbench.specs import PLAIN

PLUGIN = "kdbench.conformance.pytest_plugin"
QUICK = ("card", "light", "options", "refusal")


@pytest.fixture
def quick(monkeypatch):
    """Restrict the promises to those that need no training."""
    chosen = {name: promise for name, promise in runner.BY_NAME.items() if name in QUICK}
    monkeypatch.setattr(runner, "BY_NAME", chosen)


def test_plugin(capsys, *arguments):
    code = main(["test-plugin", *arguments])
    return code, *capsys.readouterr()


test_plugin.__test__ = False


def test_a_good_method(quick, capsys):
    code, out, err = test_plugin(capsys, "fitnets")
    assert code == 0
    assert out.rstrip().endswith(f"kdbench conformance: 4/4 (kdbench {__version__})")
    assert [line.split()[1:3] for line in err.splitlines()] == [[name, "kept"] for name in QUICK]


def test_a_broken_one_says_what_why_and_where(quick, install, capsys):
    install("made-up-options", BROKEN["options"])
    code, out, _ = test_plugin(capsys, "made-up-options")
    assert code == 1
    text = " ".join(out.split())
    assert (
        "made-up-options breaks 'options': its defaults are not valid: weight: Input should be greater"
        in text
    )
    assert "why it matters: with a mistyped or impossible option a run would train for hours" in text
    assert "where to look: kdbench.api:Options" in text
    assert text.endswith(f"kdbench conformance: 3/4 (kdbench {__version__})")


def test_as_json(quick, install, capsys):
    install("made-up-options", BROKEN["options"])
    code, out, _ = test_plugin(capsys, "made-up-options", "--json")
    assert code == 1
    (report,) = json.loads(out)
    assert (report["method"], report["distribution"], report["version"]) == (
        "made-up-options",
        "made-up-options",
        "1.0",
    )
    assert report["passed"] is False
    by_name = {row["name"]: row for row in report["promises"]}
    assert {name: row["state"] for name, row in by_name.items()} == {
        "card": "kept",
        "light": "kept",
        "options": "broken",
        "refusal": "kept",
    }
    assert set(by_name["options"]) == {"name", "says", "state", "seconds", "what", "why", "look"}


def test_a_distribution_is_all_its_methods(quick, capsys):
    code, out, _ = test_plugin(capsys, "kdbench", "--json")
    assert code == 0
    names = [report["method"] for report in json.loads(out)]
    offers = [offer for offer in registry().methods.values() if offer.plugin.distribution == "kdbench"]
    ours = [offer.value.name for offer in offers if offer.value.kind == "distillation"]
    assert names == [name for name in ours if name != PLAIN]


def test_a_selector_chooses_the_options(quick, capsys):
    code, out, _ = test_plugin(capsys, "mimic[variant=gt-boxes]", "--json")
    assert (code, json.loads(out)[0]["method"]) == (0, "mimic[variant=gt-boxes]")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fitnet", "no method and no distribution with a plugin is named 'fitnet'. Did you mean 'fitnets'?"),
        ("none", "'none' is the plain student"),
        ("channel-pruning", "'channel-pruning' is a compression, and the promises are about losses"),
        ("mimic[wieght=1]", "mimic has no option 'wieght'. Did you mean 'weight'?"),
        ("mimic[", "is not a selector"),
    ],
)
def test_bad_input_is_one_line(capsys, name, told):
    code, out, err = test_plugin(capsys, name)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


def test_a_plugin_that_does_not_load(install, capsys):
    install("made-up-loads", Copy({"from typing": "raise RuntimeError('no')\nfrom typing"}))
    code, _, err = test_plugin(capsys, "made-up-loads")
    assert code == 2
    assert err == "error: plugin made-up-loads (made_up_loads) does not load: RuntimeError: no.\n"


def test_a_distribution_without_methods(install, capsys):
    install(
        "made-up-without-methods", Copy({"    return [": "    return []\n    [", "@hookimpl": "@hookimpl"})
    )
    code, _, err = test_plugin(capsys, "made-up-without-methods")
    assert code == 2
    assert "distribution 'made-up-without-methods' gives no method" in err


def run_pytest(folder, site, *arguments):
    installed = any(point.value == PLUGIN for point in metadata.entry_points(group="pytest11"))
    early = [] if installed else ["-p", PLUGIN]
    path = os.pathsep.join(filter(None, [site, *sys.path]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *early, "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_same_in_pytest(tmp_path):
    site = write(tmp_path, "made-up-refusal", BROKEN["refusal"])
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    done = run_pytest(tmp_path, site, "--kdbench-method", "made-up-refusal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"1 failed, 4 passed, {len(PROMISES) - 4} skipped" in done.stdout
    assert "made-up-refusal breaks 'refusal':" in done.stdout
    assert "why it matters: a user must" in done.stdout
    assert "Traceback" not in done.stdout
    assert f"made-up-refusal: kdbench conformance: 3/{len(PROMISES)} (kdbench {__version__})" in done.stdout


def test_in_pytest_some_can_be_chosen(tmp_path):
    done = run_pytest(tmp_path, "", "--kdbench-method", "fitnets", "-k", "refusal", "--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    listed = [line for line in done.stdout.splitlines() if "::" in line]
    assert listed == ["::kdbench-conformance[fitnets-refusal]"]
    assert "kdbench conformance:" not in done.stdout


def test_in_pytest_a_bad_name_is_an_error(tmp_path):
    done = run_pytest(tmp_path, "", "--kdbench-method", "fitnet")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--kdbench-method: no method and no distribution" in done.stderr + done.stdout


def test_the_plugin_of_pytest_is_light(tmp_path):
    code = (
        f"import sys, {PLUGIN}; print({{'torch', 'pydantic', 'kdbench.plugins', 'numpy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
