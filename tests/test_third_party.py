"""A method from a third-party package, installed as by a user."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = {"hatchling": "hatchling.build", "setuptools": "setuptools.build_meta"}

PLUGIN = '''"""Our own distillation."""

from pydantic import Field

from kdbench.api import MethodCard, Options, hookimpl


class NeckOptions(Options):
    """Options of ours."""

    weight: float = Field(default=0.5, ge=0)
    """Factor of the loss."""


@hookimpl
def kdbench_methods():
    """Our method."""
    return [
        MethodCard(
            name="our-neck",
            title="L2 on the neck",
            authors="Us",
            year=2026,
            link="https://example.org",
            bibtex="@misc{us}",
            tasks=("detection", "segmentation"),
            equations="L = L_task + w * mean |r(s) - t|^2",
            method="our_neck.method:OurNeck",
            options=NeckOptions,
        )
    ]
'''
METHOD = '''"""L2 on every map of the neck."""

import torch
from torch import nn

from kdbench.api import Method, adapter


class OurNeck(Method):
    captures = ("neck",)

    def build(self, shapes):
        pairs = zip(shapes.student["neck"], shapes.teacher["neck"])
        self.adapters = nn.ModuleList(adapter(student, teacher) for student, teacher in pairs)

    def losses(self, step):
        levels = zip(self.adapters, step.student["neck"], step.teacher["neck"])
        terms = [(adapt(ours, theirs.shape[-2:]) - theirs).pow(2).mean() for adapt, ours, theirs in levels]
        return {"neck": self.options.weight * torch.stack(terms).mean()}
'''


def write_package(folder: Path, backend: str) -> None:
    """Write the source tree of a third-party package."""
    package = folder / "our_neck"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "method.py").write_text(METHOD)
    (folder / "pyproject.toml").write_text(
        f"""[build-system]
requires = ["{backend}"]
build-backend = "{BACKENDS[backend]}"

[project]
name = "our-neck"
version = "3.1"
dependencies = ["kdbench"]

[project.entry-points.kdbench]
our = "our_neck"
"""
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH into which pip has installed the package."""
    backend = next((name for name in BACKENDS if importlib.util.find_spec(name)), None)
    if backend is None or not importlib.util.find_spec("pip"):
        pytest.skip("neither hatchling nor setuptools is here to build a package without the network")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    write_package(source, backend)
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def kdbench(
    installed: Path, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "kdbench", *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


def test_it_is_listed_with_its_distribution(installed, tmp_path):
    done = kdbench(installed, tmp_path, "list", "methods", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout)["methods"] if row["name"] == "our-neck"]
    assert row["distribution"] == "our-neck"


def test_it_runs_by_its_name(installed, tmp_path, small_digits):
    arguments = (
        "run",
        "--method",
        "our-neck[weight=0.25]",
        "--dataset",
        "digits",
        "--schedule",
        "smoke",
        "--json",
    )
    done = kdbench(installed, tmp_path, *arguments, KDBENCH_DATA=str(small_digits))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["spec"]["selector"]) == ("done", "our-neck[weight=0.25]")
    assert record["plugin"] == "our-neck 3.1"
    assert any(note.startswith("adapters: 1x1 convolution ") for note in record["notes"])
    assert record["cost"]["added_parameters"] > 0
