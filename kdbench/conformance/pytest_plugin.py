"""``pytest --kdbench-method my-method`` runs each promise of the contract as a test.

Since it is registered as ``pytest11``, it is imported wherever kdbench and pytest are installed, and must import
nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr
    from _pytest.terminal import TerminalReporter

    from kdbench.conformance.runner import Conformance, PromiseResult

OPTION = "--kdbench-method"
GROUP = "kdbench-conformance"
LOOKED_AT = pytest.StashKey["list[Conformance]"]()
"""Conformance of each method."""


class NotKept(Exception):
    """A promise is broken.

    Args:
        finding: Result of the check.
        method: Name of the method.
    """

    def __init__(self, finding: PromiseResult, method: str) -> None:
        super().__init__(finding.what)
        self.finding, self.method = finding, method


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("kdbench").addoption(
        OPTION,
        action="append",
        default=[],
        metavar="NAME",
        help="Hold this kdbench method, or each one of this distribution, to the contract (may be repeated).",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each promise of each method; runs first, so that ``-k`` applies to them too."""
    if config.getoption(OPTION):
        config.stash[LOOKED_AT] = _conformances(config.getoption(OPTION))
        items += _items(session, config.stash[LOOKED_AT])


def _conformances(names: list[str]) -> list[Conformance]:
    from functools import cache

    from kdbench.conformance.runner import Conformance
    from kdbench.conformance.target import targets
    from kdbench.errors import UserError

    try:
        chosen = [target for name in names for target in targets(name)]
    except UserError as error:
        raise pytest.UsageError(f"{OPTION}: {error}") from None
    bench = cache(_bench)
    return [Conformance(target, bench) for target in chosen]


def _items(session: pytest.Session, conformances: list[Conformance]) -> Iterator[PromiseItem]:
    from kdbench.conformance.promises import PROMISES

    for conformance in conformances:
        for promise in PROMISES:
            name = f"{GROUP}[{conformance.target.name}-{promise.name}]"
            yield PromiseItem.from_parent(session, name=name, conformance=conformance, promise=promise.name)


def _bench() -> Any:
    from kdbench.conformance.bench import Bench

    return Bench()


class PromiseItem(pytest.Item):
    """One promise of one method.

    Args:
        conformance: Conformance of the method.
        promise: Name of the promise.
        kwargs: Arguments of pytest.Item.
    """

    def __init__(self, *, conformance: Conformance, promise: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conformance, self.promise = conformance, promise

    def runtest(self) -> None:
        """Check the promise, after those that it builds on."""
        finding = self.conformance.finding(self.promise)
        if finding.state == "not looked at":
            pytest.skip(finding.what)
        if finding.state == "broken":
            raise NotKept(finding, self.conformance.target.card.name)

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        """Return what was observed, why it matters and where to look, without a traceback."""
        if not isinstance(excinfo.value, NotKept):
            return super().repr_failure(excinfo, style)
        from kdbench.conformance.report import lines

        finding = excinfo.value.finding
        return "\n".join([f"{excinfo.value.method} breaks '{finding.promise.name}':", *lines(finding)])

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Return the location of the test in listings."""
        return GROUP, None, self.name


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print the line for a README for each method whose promises were all checked."""
    if LOOKED_AT not in config.stash:
        return
    from kdbench.conformance.report import summary

    for conformance in config.stash[LOOKED_AT]:
        if conformance.complete:
            terminalreporter.write_line(f"{conformance.target.name}: {summary(list(conformance.findings()))}")
