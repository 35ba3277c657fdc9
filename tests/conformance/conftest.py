"""A shared bench, and generated plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_plugins import Copy, write

from kdbench.conformance.bench import Bench
from kdbench.conformance.runner import Conformance
from kdbench.conformance.target import targets
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

Install = Callable[[str, Copy], None]


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="session")
def written() -> dict[str, tuple[Copy, str]]:
    """Name -> the copy with this name, and its folder."""
    return {}


@pytest.fixture
def install(
    sites: Path, written: dict[str, tuple[Copy, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Install]:
    """Install a copy of the good plugin as the only plugin."""

    def put(name: str, copy: Copy) -> None:
        if name not in written:
            written[name] = (copy, write(sites, name, copy))
        first, site = written[name]
        assert first == copy, f"{name} is the name of another test's copy: use a different name"
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv(ENVIRONMENT, name)
        registry.cache_clear()

    yield put
    registry.cache_clear()


@pytest.fixture(scope="session")
def looked_at() -> dict[str, Conformance]:
    """Conformance of each generated plugin, shared by tests so that checks are not repeated."""
    return {}


@pytest.fixture
def conformance(
    install: Install, bench: Bench, looked_at: dict[str, Conformance]
) -> Callable[[str, Copy], Conformance]:
    """Return the conformance of a copy of the good plugin, by its name."""

    def made(name: str, copy: Copy) -> Conformance:
        install(name, copy)
        if name not in looked_at:
            (target,) = targets(name)
            looked_at[name] = Conformance(target, lambda: bench)
        return looked_at[name]

    return made
