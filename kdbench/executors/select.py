"""Make the executor that a selector names, and report its errors under its plugin's name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdbench import devices
from kdbench.cards import ExecutorCard
from kdbench.errors import ArgumentError, PluginError, reminder, running
from kdbench.executors.base import Ended, Executor, Resources
from kdbench.plugins import load_target, registry
from kdbench.selectors import parse, resolve

ADVICE = "Tell its authors. The same sweep goes on from what is done, with another executor too."


def executor_of(selector: str, slots: int | None, device: str | None) -> Executor:
    """Return the executor of a selector such as ``local`` or ``slurm[partition=gpu,time=120]``.

    Args:
        selector: Its name and options.
        slots: How many workers may run at once; None: as it chooses.
        device: Type of the device; None: as it chooses.

    Raises:
        UserError: Where it is unknown, its options are not those of its card, it lacks something, or it fails.
    """
    if device is not None:
        devices.check(device)
    name, raw = parse(selector)
    offer = registry().executor(name)
    card = offer.value
    with _running(offer.title, "its options"):
        options = resolve(card, raw)
    if lacking := lacking_of(card):
        how = f"run `{card.install}`" if card.install else "install it"
        raise ArgumentError("executor", f"it needs {' and '.join(lacking)}: {how}.", name)
    executor = load_target(offer.title, card.target, ADVICE)
    if not (isinstance(executor, type) and issubclass(executor, Executor)):
        raise PluginError(f"{offer.title}: {card.target} is not a subclass of kdbench.api.Executor. {ADVICE}")
    with _running(offer.title, "__init__()"):
        return Guarded(executor(slots, device, **dict(options)), offer.title)


def device_of(device: str | None, executor: str) -> str:
    """Return the type of device that a sweep's workers use, which is a part of their cells' identity.

    Args:
        device: As asked for; None: that of this machine.
        executor: Selector of the executor.

    Raises:
        UserError: If the executor is unknown, the workers are elsewhere and no device is given, or this machine
            does not have it.
    """
    if registry().executor(parse(executor)[0]).value.name == "local":
        return devices.choose(device)
    if device is None:
        why = "name the device that its workers have as well, cuda or cpu."
        raise ArgumentError(("executor", "device"), why)
    devices.check(device)
    return device


class Guarded(Executor):
    """An executor whose errors and invalid results are reported under its plugin's name.

    Args:
        executor: The plugin's executor.
        title: Title of its card, for messages.

    Raises:
        PluginError: Here and from every method: if the executor raises, or returns something invalid.
    """

    def __init__(self, executor: Executor, title: str) -> None:
        self._executor, self._title = executor, title
        self._running: set[str] = set()
        slots, resources = getattr(executor, "slots", None), getattr(executor, "resources", None)
        if not isinstance(slots, int) or slots < 1:
            raise self._wrong("has", slots, "slots", "an int, at least 1")
        if not isinstance(resources, Resources):
            raise self._wrong("has", resources, "resources", "a kdbench.api.Resources")
        self.slots, self.resources = slots, resources

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Start a worker; its handle is a string that no other running worker has."""
        with _running(self._title, "submit()"):
            handle = self._executor.submit(command, resources, log)
        if not isinstance(handle, str) or handle in self._running:
            raise self._wrong("returned", handle, "submit()", "a str that no running worker has")
        self._running.add(handle)
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """Return the workers that have ended, each once; an executor that takes much longer is named."""
        line = f"{self._title} does not come back from wait(): Ctrl-C three times leaves it."
        with _running(self._title, "wait()"), reminder(line, after=timeout):
            found = self._executor.wait(timeout)
        handles = _handles(found)
        if handles is None or len(set(handles)) < len(handles) or not self._running.issuperset(handles):
            wanted = "a list with an Ended for each worker that has ended"
            raise self._wrong("returned", found, "wait()", wanted)
        self._running.difference_update(handles)
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """Ask a worker to end."""
        with _running(self._title, "cancel()"):
            self._executor.cancel(handle, now=now)

    def close(self) -> None:
        """Release what the executor holds."""
        with _running(self._title, "close()"):
            self._executor.close()

    def _wrong(self, verb: str, value: Any, where: str, wanted: str) -> PluginError:
        shown = " ".join(repr(value).split())[:80]
        return PluginError(f"{self._title} {verb} {shown} as {where}, and it must be {wanted}. {ADVICE}")


@contextmanager
def _running(title: str, part: str) -> Iterator[None]:
    """Run a part of an executor; what it prints goes to standard error."""
    with running(title, part, ADVICE), redirect_stdout(sys.stderr):
        yield


def _handles(found: object) -> list[str] | None:
    """Return the handles of workers that have ended; None for anything but a list of them."""
    if not isinstance(found, list) or not all(isinstance(ended, Ended) for ended in found):
        return None
    known = all(isinstance(ended.handle, str) and isinstance(ended.code, int | None) for ended in found)
    return [ended.handle for ended in found] if known else None


def lacking_of(card: ExecutorCard) -> list[str]:
    """Return the modules that an executor needs and that are not installed."""
    return [module for module in card.requires if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False
