"""Makes an executor and blames it, by name, for what it does wrong: it may be anybody's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdbench import isolation
from kdbench.cards import ExecutorCard, Options
from kdbench.execution.executors import Ended, Executor, Resources
from kdbench.isolation import PluginError, guarded, load_guarded, offered

ADVICE = f"{isolation.ADVICE} The same sweep goes on from what is done, with another --executor too."


def made(card: ExecutorCard, slots: int | None, device: str | None, options: Options) -> Guarded:
    """The executor of a card.

    Raises:
        UserError: If what is asked for cannot be had.
        PluginError: If it cannot be imported or made, or is no executor.
    """
    who = offered("executor", card.name)
    target = load_guarded(who, card.target, ADVICE)
    if not (isinstance(target, type) and issubclass(target, Executor)):
        raise PluginError(f"{who}: {card.target} is no subclass of kdbench.api.Executor. {ADVICE}")
    with guarded(who, "__init__()", ADVICE):
        return Guarded(target(slots, device, **dict(options)), who)


class Guarded(Executor):
    """An executor whose every call is watched.

    Args:
        executor: The plugin's.
        who: Whom to blame.

    Raises:
        PluginError: Here and from every method: if the executor raises, or gives what it must not.
    """

    def __init__(self, executor: Executor, who: str) -> None:
        self._executor, self._who = executor, who
        self._running: set[str] = set()
        slots, resources = getattr(executor, "slots", None), getattr(executor, "resources", None)
        if not isinstance(slots, int) or slots < 1:
            raise self._wrong("has", slots, "slots", "an int, at least 1")
        if not isinstance(resources, Resources):
            raise self._wrong("has", resources, "resources", "a kdbench.api.Resources")
        self.slots, self.resources = slots, resources

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a worker; its handle is a string that no other running worker has."""
        with guarded(self._who, "submit()", ADVICE):
            handle = self._executor.submit(command, resources, log)
        if not isinstance(handle, str) or handle in self._running:
            raise self._wrong("gave", handle, "submit()", "a str that no running worker has")
        self._running.add(handle)
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """The workers that have ended, each once; who does not come back in time is named."""
        with guarded(self._who, "wait()", ADVICE), self._slow(timeout + isolation.SECONDS):
            found = self._executor.wait(timeout)
        handles = self._handles(found)
        if handles is None or len(set(handles)) < len(handles) or not self._running.issuperset(handles):
            raise self._wrong("gave", found, "wait()", "a list with an Ended for each worker that has ended")
        self._running.difference_update(handles)
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """Ask a worker to end."""
        with guarded(self._who, "cancel()", ADVICE):
            self._executor.cancel(handle, now=now)

    def close(self) -> None:
        """Give back what the executor holds."""
        with guarded(self._who, "close()", ADVICE):
            self._executor.close()

    @staticmethod
    def _handles(found: object) -> list[str] | None:
        """The handles of workers that have ended; None where it is no list of them."""
        if not isinstance(found, list) or not all(isinstance(ended, Ended) for ended in found):
            return None
        known = all(isinstance(ended.handle, str) and isinstance(ended.code, int | None) for ended in found)
        return [ended.handle for ended in found] if known else None

    @contextmanager
    def _slow(self, seconds: float) -> Iterator[None]:
        """Name the executor where a call takes that long."""
        line = f"{self._who} does not come back from wait(): Ctrl-C three times leaves it.\n"
        watch = threading.Timer(seconds, sys.stderr.write, (line,))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _wrong(self, verb: str, value: Any, where: str, wanted: str) -> PluginError:
        shown = " ".join(repr(value).split())[:80]
        return PluginError(f"{self._who} {verb} {shown} as {where}, and it must be {wanted}. {ADVICE}")
