"""The files that count as a plugin's own source."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdbench.source import source_hash

PACKAGE = {
    "pkg/__init__.py": "from pkg import a, b",
    "pkg/a/__init__.py": "",
    "pkg/a/method.py": "from ..shared import half\n\ndef f():\n    import pkg.late\n    from sibling import x\n",
    "pkg/a/losses.py": "",
    "pkg/a/deep/more.py": "",
    "pkg/b/__init__.py": "",
    "pkg/b/method.py": "",
    "pkg/shared.py": "import numpy, kdbench.cards\n",
    "pkg/late.py": "import pkg.further",
    "pkg/further.py": "",
    "sibling.py": "",
    "stranger.py": "",
}
OWN = {"a/__init__", "a/method", "a/losses", "a/deep/more", "shared", "late", "further"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Write the package into a folder of sys.path."""

    def write(folder: str) -> Path:
        for name, text in PACKAGE.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path / folder))
        return tmp_path / folder

    return write


def touched(root: Path, module: str, distribution: str = "") -> set[str]:
    """Return the files whose change alters the hash of a module."""
    hashed = source_hash.__wrapped__  # without the cache
    before, found = hashed(module, distribution), set()
    for name in PACKAGE:
        path = root / name
        path.write_text(PACKAGE[name] + "\n# changed")
        if hashed(module, distribution) != before:
            found.add(name.removeprefix("pkg/").removesuffix(".py"))
        path.write_text(PACKAGE[name])
    assert hashed(module, distribution) == before
    return found


def test_a_method_is_its_sub_package_and_what_that_imports_of_its_own(place):
    root = place("checkout")
    assert touched(root, "pkg.a.method") == {*OWN, "sibling"}
    assert touched(root, "pkg.b.method") == {"b/__init__", "b/method"}
    assert touched(root, "stranger") == {"stranger"}


def test_in_site_packages_the_distribution_tells_what_is_its_own(place):
    root = place("site-packages")
    assert "sibling" not in touched(root, "pkg.a.method")
    info = root / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "RECORD").write_text("pkg/__init__.py,,\nsibling.py,,\n")
    assert "sibling" in touched(root, "pkg.a.method", "theirs")


def test_nothing_is_imported_and_what_is_not_there_or_no_python_does_not_matter(place):
    root = place("checkout")
    (root / "pkg/a/method.py").write_text("def f(:\nimport nothing_like_it")
    assert source_hash.__wrapped__("pkg.a.method") != source_hash.__wrapped__("nowhere.method")
    assert "pkg" not in sys.modules
