from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kdbench.cli.new_plugin import LONGEST, NAME, PREFIX

ROOT = Path(__file__).parents[2]
PYTEST_PLUGIN = "kdbench.conformance.pytest_plugin"
LINES = 150
LONG = "abcdefghij-abcdefghi-abcdefghi"


def lint(folder, *arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    from kdbench.cli import main

    folder = tmp_path_factory.mktemp("new")
    assert main(["new-plugin", "my-method", "--directory", str(folder)]) == 0
    return folder / "kdbench-my-method"


def test_it_says_what_to_do_next(kdbench, tmp_path):
    done = kdbench("new-plugin", "my-method", "--directory", str(tmp_path / "a b"))
    assert (done.code, done.err) == (0, "")
    folder = tmp_path / "a b" / "kdbench-my-method"
    assert done.out.splitlines() == [
        f"Made {folder}. Next:",
        f"  pip install -e '{folder}'",
        "  kdbench run --method my-method --dataset digits --schedule smoke",
        "  kdbench test-plugin my-method",
    ]


def test_everything_is_there(package):
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "kdbench_my_method/__init__.py",
        "kdbench_my_method/card.py",
        "kdbench_my_method/losses.py",
        "kdbench_my_method/method.py",
        "kdbench_my_method/py.typed",
        "pyproject.toml",
        "tests/test_kdbench_my_method.py",
    }
    assert not [
        path for path in package.rglob("*") if path.is_file() and "{{" in path.read_text().replace("${{", "")
    ]


def test_it_is_short(package):
    lines = [line for path in package.rglob("*.py") for line in path.read_text().splitlines()]
    assert 60 < len(lines) < LINES


def test_its_settings_are_ours(package):
    theirs, ours = ((folder / "pyproject.toml").read_text() for folder in (package, ROOT))
    for setting in ("line-length", "select", "convention", "strict"):
        pattern = re.compile(rf"^{setting} = .*", re.MULTILINE)
        assert pattern.findall(theirs) == pattern.findall(ours)[:1], setting


@pytest.mark.parametrize("name", ["a", "my-method", LONG])
@pytest.mark.parametrize("task", ["both", "detection", "segmentation"])
def test_it_passes_the_linter(kdbench, tmp_path, name, task):
    assert kdbench("new-plugin", name, "--task", task, "--directory", str(tmp_path)).code == 0
    folder = tmp_path / f"{PREFIX}{name}"
    for arguments in (["check"], ["check", "--config", str(ROOT / "pyproject.toml")], ["format", "--check"]):
        done = lint(folder, *arguments)
        assert done.returncode == 0, done.stdout
    assert all(ast.parse(path.read_text()) for path in folder.rglob("*.py"))


@pytest.mark.parametrize(
    ("task", "tasks", "dataset"),
    [
        ("both", '("detection", "segmentation")', "digits"),
        ("detection", '("detection",)', "digits"),
        ("segmentation", '("segmentation",)', "digits-seg"),
    ],
)
def test_the_task(kdbench, tmp_path, task, tasks, dataset):
    done = kdbench("new-plugin", "mine", "--task", task, "--directory", str(tmp_path))
    assert f"--dataset {dataset} --schedule smoke" in done.out
    assert f"tasks={tasks}," in (tmp_path / "kdbench-mine" / "kdbench_mine" / "card.py").read_text()
    assert f"--dataset {dataset} --schedule smoke" in (tmp_path / "kdbench-mine" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My-Method", "'My-Method' cannot be a method's name: use lower-case letters"),
        ("my_method", "cannot be a method's name"),
        ("1st", "cannot be a method's name"),
        ("my--method", "cannot be a method's name"),
        ("méthode", "cannot be a method's name"),
        ("../up", "cannot be a method's name"),
        ("a" * (LONGEST + 1), f"use at most {LONGEST} letters"),
        ("kdbench-mine", "leave 'kdbench-' out"),
        ("fitnets", "kdbench gives a method 'fitnets' already"),
        ("papers", "there is a module kdbench_papers already"),
    ],
)
def test_a_bad_name_is_one_line(kdbench, tmp_path, name, told):
    done = kdbench("new-plugin", name, "--directory", str(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_longest_name_is_one():
    assert len(LONG) == LONGEST
    assert NAME.fullmatch(LONG)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_is_overwritten(kdbench, tmp_path, kind):
    there = tmp_path / "kdbench-mine"
    if kind == "folder":
        there.mkdir()
    else:
        there.write_text("mine")
    done = kdbench("new-plugin", "mine", "--directory", str(tmp_path))
    assert done.code == 2
    assert done.err == f"error: {there} already exists: move it away, or name another --directory.\n"
    assert list(tmp_path.rglob("*")) == [there]


def test_where_nothing_can_be_written(kdbench, tmp_path):
    (tmp_path / "file").write_text("")
    done = kdbench("new-plugin", "mine", "--directory", str(tmp_path / "file" / "below"))
    assert done.code == 2
    assert done.err.startswith(f"error: cannot write {tmp_path / 'file'}")


@pytest.fixture(scope="module")
def environment(package, tmp_path_factory) -> Path:
    """The python of a virtual environment that sees what is installed here, with the package installed into it."""
    if not importlib.util.find_spec("hatchling") or not importlib.util.find_spec("pip"):
        pytest.skip("hatchling or pip is not here: a package cannot be built without the network")
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    scheme = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    here = sysconfig.get_path("purelib")
    (Path(scheme) / "parent.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [str(python), "-m", "pip", "install", *flags, "-e", str(package)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def call(environment, folder, *arguments, **variables):
    changed = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [str(environment), "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=changed, capture_output=True, text=True)


@pytest.mark.slow
def test_its_own_tests_pass(environment, package):
    done = call(environment, package, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.slow
def test_its_types_are_right(environment, package):
    done = call(environment, package, "mypy", MYPYPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    assert "no issues found in 4 source files" in done.stdout


@pytest.mark.slow
def test_it_runs_on_digits(environment, tmp_path, small_digits):
    arguments = (
        "run",
        "--method",
        "my-method[weight=2]",
        "--dataset",
        "digits",
        "--schedule",
        "smoke",
        "--json",
    )
    done = call(environment, tmp_path, "kdbench", *arguments, KDBENCH_DATA=str(small_digits))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["plugin"]) == ("done", "kdbench-my-method 0.1.0")


@pytest.mark.release
def test_it_keeps_every_promise(environment, tmp_path):
    """The two processes are left to the tests of the promises: they take longest."""
    early = (
        () if PYTEST_PLUGIN in [p.value for p in entry_points(group="pytest11")] else ("-p", PYTEST_PLUGIN)
    )
    asked = ("--kdbench-method", "my-method", "-k", "not processes")
    done = call(environment, tmp_path, "pytest", "-q", *early, *asked, "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 passed, 1 deselected" in done.stdout
