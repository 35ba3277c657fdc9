"""Runs the checks of a method's promises; an exception of the plugin counts as a broken promise."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kdbench.conformance.broken import told
from kdbench.conformance.promises import PROMISES, Promise
from kdbench.conformance.target import Target

if TYPE_CHECKING:
    from kdbench.conformance.bench import Bench
    from kdbench.conformance.exam import Exam

State = Literal["kept", "broken", "not looked at"]
BY_NAME = {promise.name: promise for promise in PROMISES}


@dataclass(frozen=True)
class PromiseResult:
    """Result of the check of one promise.

    Attributes:
        promise: The promise.
        state: ``kept``, ``broken``, or ``not looked at`` because a promise that it builds on is broken.
        seconds: Duration of the check.
        what: What was observed, or which earlier promise is broken; empty if it is kept.
    """

    promise: Promise
    state: State
    seconds: float = 0.0
    what: str = ""


class Conformance:
    """The promises of one method. Each is checked once, after those that it builds on.

    Args:
        target: The method and its options.
        bench: Function that returns the bench, called when the first check needs it.
    """

    def __init__(self, target: Target, bench: Callable[[], Bench]) -> None:
        self.target = target
        self._bench = bench
        self._exam: Exam | None = None
        self._findings: dict[str, PromiseResult] = {}

    def finding(self, name: str) -> PromiseResult:
        """Check one promise, unless it has been checked, and return the result."""
        if name not in self._findings:
            self._findings[name] = self._look(BY_NAME[name])
        return self._findings[name]

    def findings(self) -> Iterator[PromiseResult]:
        """Yield the results of all promises, in order."""
        for name in BY_NAME:
            yield self.finding(name)

    @property
    def complete(self) -> bool:
        """Whether every promise has been checked."""
        return self._findings.keys() == BY_NAME.keys()

    def _look(self, promise: Promise) -> PromiseResult:
        missing = [name for name in promise.after if self.finding(name).state != "kept"]
        if missing:
            return PromiseResult(promise, "not looked at", what=f"it builds on '{missing[0]}'")
        exam, begun = self._examined(), time.perf_counter()
        try:
            with undisturbed():
                check_of(promise)(exam)
        except (Exception, SystemExit) as error:
            what = told(error, self.target.package)
            return PromiseResult(promise, "broken", time.perf_counter() - begun, what)
        return PromiseResult(promise, "kept", time.perf_counter() - begun)

    def _examined(self) -> Exam:
        if self._exam is None:
            from kdbench.conformance.exam import Exam

            with undisturbed():
                self._exam = Exam(self.target, self._bench())
        return self._exam


def check_of(promise: Promise) -> Callable[[Exam], None]:
    """Return the function that checks a promise."""
    module, _, name = promise.check.partition(":")
    check: Callable[[Exam], None] = getattr(
        importlib.import_module(f"kdbench.conformance.checks.{module}"), name
    )
    return check


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run a block with one thread, without output, and with a separate random state; restore all afterwards."""
    import torch

    from kdbench.distill.randomness import seeded

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(0, "conformance"), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
            yield
    finally:
        torch.set_num_threads(threads)
