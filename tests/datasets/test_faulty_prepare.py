"""A dataset of a plugin whose ``prepare`` misbehaves: it is blamed by name, in one line, and hurts nothing."""

from __future__ import annotations

import sys

import pytest

from kdbench import errors
from kdbench.cli import main
from kdbench.datasets import locate
from kdbench.errors import PluginError
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

SOURCE = """
import os, sys, time
from pathlib import Path
from kdbench.api import Dataset, Split, UserError

PART = (Split("names.txt", "images", "labels"),)

@hookimpl
def kdbench_datasets():
    return [Dataset(name="screws", title="Screws", task="detection", classes=("ok",), metric="AP50",
                    splits={"train": PART, "test": PART}, image_suffix=".png", prepare="PREPARE",
                    folder="screws", license="", link="", citation="")]

def prepare(folder, source):
    BODY
"""
HERE = "their_data:prepare"
WHO = "dataset 'screws' of their-data 2.5"


@pytest.fixture
def prepared(add_plugin, tmp_path, monkeypatch, capsys):
    """Runs ``kdbench data prepare screws`` with this body of ``prepare``: code, stdout and lines of stderr."""

    def call(body: str, prepare: str = HERE) -> tuple[int, str, list[str]]:
        source = SOURCE.replace("BODY", body.replace("\n", "\n    ")).replace("PREPARE", prepare)
        add_plugin("their-data", source, version="2.5")
        monkeypatch.setenv(ENVIRONMENT, "kdbench,their-data")
        registry.cache_clear()
        monkeypatch.delitem(sys.modules, "their_data", raising=False)
        code = main(["data", "prepare", "screws", "--root", str(tmp_path / "data")])
        said = capsys.readouterr()
        return code, said.out, said.err.splitlines()

    return call


FILLS = """
for name in ("images", "labels"):
    (folder / name).mkdir(parents=True)
(folder / "names.txt").write_text("a")
(folder / "images" / "a.png").touch()
(folder / "labels" / "a.xml").touch()
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "raise ValueError('no\\nluck')",
            f"{WHO} failed in prepare(): ValueError: no luck. Tell its authors.",
        ),
        ("sys.exit(3)", f"{WHO} failed in prepare(): SystemExit: 3. Tell its authors."),
        (
            "open(folder / 'missing')",
            f"cannot prepare {WHO} in FOLDER: No such file or directory: FOLDER/missing.",
        ),
        ("raise UserError('say where it is.')", "say where it is."),
        ("return 'done'", f"{WHO} put nothing into FOLDER in prepare(). Tell its authors."),
        (
            "folder.mkdir(parents=True)\n(folder / 'names.txt').write_text('a')",
            f"prepare() of {WHO} has ended, and yet dataset 'screws' in FOLDER is incomplete (images: missing "
            "folder; and 1 more): move it away",
        ),
    ],
)
def test_what_it_does_is_told_in_one_line(prepared, tmp_path, body, told):
    code, out, err = prepared(body)
    assert (code, out) == (2, "")
    (line,) = err
    assert line.startswith(f"error: {told}".replace("FOLDER", str(tmp_path / "data" / "screws")))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nowhere_at_all:prepare", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("their_data:make", "AttributeError: module 'their_data' has no attribute 'make'"),
    ],
)
def test_one_that_cannot_be_imported_is_blamed(prepared, target, told):
    code, _, err = prepared("pass", target)
    assert (code, err) == (2, [f"error: {WHO} failed in the import of {target}: {told}. Tell its authors."])


def test_what_it_prints_is_no_output_and_what_it_returns_is_nothing(prepared):
    code, out, err = prepared(f"print('hello')\n{FILLS}\nreturn 7")
    assert (code, len(out.splitlines())) == (0, 1)
    assert out.startswith("screws is ready in ")
    assert err == ["hello"]


def test_one_that_is_slow_is_named(prepared, monkeypatch):
    monkeypatch.setattr(errors, "SECONDS", 0.2)
    _, _, err = prepared("time.sleep(0.6)")
    assert err[0] == f"{WHO} is still at work in prepare(): Ctrl-C ends it."


def test_a_module_that_is_slow_to_import_is_named(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "SECONDS", 0.2)
    (tmp_path / "slow_data.py").write_text("import time\ntime.sleep(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = prepared("pass", "slow_data:prepare")
    assert (code, err[0]) == (2, f"{WHO} is still being imported: Ctrl-C stops waiting for it.")


def test_a_run_blames_it_too(prepared, tmp_path, monkeypatch):
    """An embedded dataset is prepared by a run: what its prepare does wrong is no fault of the run's."""
    prepared("1 / 0")
    card = registry().dataset("screws").value
    with pytest.raises(PluginError, match=r"screws' of their-data 2\.5 failed in prepare\(\): ZeroDivision"):
        locate.prepare(card, tmp_path, None)
