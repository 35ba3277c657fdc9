"""Fixtures for all tests. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import lacking
import pytest

from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

ROOT = Path(__file__).parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in one process per core

CARDS = """
from kdbench.cards import MethodCard, Options
from kdbench.hookspecs import hookimpl

def card(name, **changes):
    fields = dict(title=f"Title of {name}", authors="A. Author", year=2020, link="https://example.org",
                  bibtex="@x{y}", tasks=("detection",), equations="L = 0", method="nowhere:Nothing")
    return MethodCard(name=name, **{**fields, **changes})
"""
"""Beginning of a generated plugin's module: ``card(name)``, ``hookimpl`` and ``Options``."""

AddPlugin = Callable[..., None]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with BCCD and CamVid, from KDBENCH_TEST_DATA."""
    folder = Path(os.environ.get("KDBENCH_TEST_DATA", ""))
    if not (folder / "BCCD").is_dir():
        lacking.skip("data", "set KDBENCH_TEST_DATA to the folder with BCCD and CamVid")
    return folder.resolve()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Put hashes of files into a separate cache for the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a few scenes of digits, which runs accept as the complete dataset."""
    from kdbench.datasets.digits_files import STAMP, write

    root = tmp_path_factory.mktemp("data")
    write(root / "digits", {"train": 12, "test": 6}, 0)
    (root / "digits" / "scenes.json").write_text(json.dumps(STAMP))
    return root


@pytest.fixture(autouse=True)
def torch_threads() -> None:
    """Limit torch, if a test's module imported it, to OMP_NUM_THREADS threads, or two."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or min(2, os.cpu_count() or 1)))


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Make the registry load anew in the test and after it."""
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def add_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> Iterator[AddPlugin]:
    """Install a generated distribution: ``add_plugin("their-kd", source, module="their_kd", version="1.0")``.

    The source is appended to ``CARDS``. Only generated distributions are loaded unless the test sets
    KDBENCH_PLUGINS.
    """
    modules: list[str] = []
    names: list[str] = []

    def add(distribution: str, source: str, module: str | None = None, version: str = "1.0") -> None:
        name = module or distribution.replace("-", "_")
        folder = tmp_path / f"site_{distribution}"
        write_distribution(folder, distribution, version, name, CARDS + textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(folder))
        modules.append(name)
        names.append(distribution)
        monkeypatch.setenv(ENVIRONMENT, ",".join(names))

    yield add
    for name in modules:
        sys.modules.pop(name, None)


def write_distribution(folder: Path, distribution: str, version: str, module: str, source: str) -> None:
    """Write a package as installed by pip: the module and its ``dist-info`` with one kdbench entry point."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[kdbench]\nmain = {module}\n")


@pytest.fixture(scope="session")
def local_records(tmp_path_factory, small_digits):
    """Records of a sweep of fake trainings with the executor ``local``."""
    from sweep_support import results, sweep_of

    folder = tmp_path_factory.mktemp("local")
    assert sweep_of(folder, small_digits).run()
    return results(folder)


@pytest.fixture
def pretend_checks(monkeypatch):
    """Replace the checks of models by fakes."""
    monkeypatch.setattr("kdbench.openmmlab.weights.checkpoints.weights_hash", lambda _model: "c" * 64)
    monkeypatch.setattr("kdbench.openmmlab.training.resuming.read_training", lambda _file: {})
    monkeypatch.setattr("kdbench.runs.refusals.check_method", lambda *_: None)
    monkeypatch.setattr(
        "kdbench.openmmlab.checks.rehearsal.check_model", lambda role, *_, **__: f"{role}: checked"
    )
    monkeypatch.setattr("kdbench.openmmlab.checks.rehearsal.check_together", lambda *_, **__: None)


@pytest.fixture
def lab(pretend_checks, small_digits, tmp_path):
    """Sessions with fake trainings."""
    from session_lab import Lab

    return Lab(small_digits, tmp_path)
