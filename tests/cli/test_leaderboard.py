import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from kdbench import registry as registries
from kdbench.cli.leaderboard import command
from kdbench.errors import UserError
from kdbench.results.store import Store

SAMPLES = runpy.run_path(str(Path(__file__).parents[1] / "results" / "samples.py"))
cell, cells = SAMPLES["cell"], SAMPLES["cells"]


@pytest.fixture
def root(tmp_path):
    for record in [*cells("none", {0: 0.5, 1: 0.6}), *cells("mimic[weight=2]", {0: 0.6, 1: 0.7})]:
        Store(tmp_path).write(record)
    return tmp_path


@pytest.fixture
def datasets(monkeypatch):
    """A registry that knows digits and voc."""

    def find(name):
        if name not in ("digits", "voc"):
            raise UserError(f"unknown dataset '{name}'.{registries.suggestion(name, ['digits', 'voc'])}")

    monkeypatch.setattr(registries, "registry", lambda: SimpleNamespace(dataset=find))


def call(root, *arguments):
    return CliRunner().invoke(command, [*arguments, "--results", str(root)])


def message(result):
    assert isinstance(result.exception, UserError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("table", "mimic[weight=2]"),
        ("csv", ",mimic[weight=2],2,65.0,"),
        ("markdown", "| mimic[weight=2] | 2 | 65.0 |"),
    ],
)
def test_formats(root, style, expected):
    for arguments in (["digits"], []):
        result = call(root, *arguments, "--format", style)
        assert result.exit_code == 0, result.exception
        assert expected in result.stdout


def test_unknown_dataset(root, datasets):
    assert "Did you mean 'digits'?" in message(call(root, "digit"))


def test_no_records(tmp_path, datasets):
    assert "`kdbench run --method mimic --dataset voc`" in message(call(tmp_path, "voc"))
    assert "`kdbench run" in message(call(tmp_path))
    assert "`kdbench run" in message(call(tmp_path / "absent"))


def test_smoke_only(tmp_path):
    Store(tmp_path).write(cell(schedule="smoke"))
    assert "never ranked" in message(call(tmp_path, "digits"))


def test_a_half_cut_file_is_told_on_stderr(root):
    path = Store(root).path_of(cell("none", 0.5))
    half = path.read_text()[:100]
    path.write_text(half)
    result = call(root, "digits", "--format", "csv")
    assert result.exit_code == 0
    assert str(path) in result.stderr
    assert str(path) not in result.stdout
    assert path.read_text() == half


def test_write_then_check(root):
    assert call(root, "--check").exit_code == 1
    assert "digits.md" in call(root, "--write").stdout
    assert call(root, "--check").exit_code == 0
    (root / "leaderboards/digits.md").write_text("better")
    result = call(root, "--check")
    assert result.exit_code == 1
    assert "digits.md: differs" in result.stderr


def test_write_and_check_exclude_each_other(root):
    assert "exclude" in message(call(root, "--write", "--check"))


def test_importing_the_command_is_light():
    heavy = ("pandas", "numpy", "torch", "rich", "scipy")
    code = f"import sys, kdbench.cli.leaderboard; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
