"""The method in the hooks' documentation keeps the promises of the suite."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap

import pytest

from kdbench import hookspecs
from kdbench.conformance.promises import PROMISES
from kdbench.conformance.runner import Conformance
from kdbench.conformance.target import targets
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

LONG = {"finite", "device", "processes", "pack", "resume"}
"""Promises whose checks take longest, which only `kdbench test-plugin my-package` checks."""


@pytest.fixture
def example(tmp_path, monkeypatch):
    blocks = re.findall(r"```python[^\n]*\n(.*?)```", inspect.getdoc(hookspecs.kdbench_methods), re.DOTALL)
    package, info = tmp_path / "my_package", tmp_path / "my_package-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    for name, text in zip(("__init__.py", "method.py"), blocks, strict=True):
        (package / name).write_text(textwrap.dedent(text))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdbench]\nmain = my_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(ENVIRONMENT, "my-package")
    registry.cache_clear()
    yield
    registry.cache_clear()
    for name in ("my_package", "my_package.method"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_the_example_keeps_its_promises(example, bench):
    (target,) = targets("my-package")
    conformance = Conformance(target, lambda: bench)

    found = {name: conformance.finding(name) for name in (p.name for p in PROMISES) if name not in LONG}
    assert {name: finding.what for name, finding in found.items() if finding.state != "kept"} == {}
