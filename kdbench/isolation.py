"""Keeps a plugin's code from hurting others: what it raises is blamed on it, what it changes is put back.

Nothing here imports torch. Random states need no care while a method runs, which has one of its own
(:mod:`kdbench.distill.randomness`).
"""

from __future__ import annotations

import io
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.cards import MethodCard
    from kdbench.distill import Method

T = TypeVar("T")

SECONDS = 60.0
"""Time that an import has."""
ADVICE = "Tell its authors."
"""What a user can do about a plugin that fails."""


class PluginError(UserError):
    """A plugin's code failed or did what it must not: its author's mistake.

    The message names what the plugin gave and its distribution.
    """


class MethodError(PluginError):
    """A :class:`PluginError` of a method."""


class Setting(NamedTuple):
    """Something that all code of a process shares.

    Attributes:
        title: What it is called in a message.
        read: Gives its value.
        write: Sets it to a value that ``read`` gave.
        initial: Its value when torch has just been imported; None where that depends on the machine.
    """

    title: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    initial: Any = None


def imported(work: Callable[[], T]) -> tuple[T, str]:
    """Let a plugin import itself, in a thread, so that one that hangs can be left behind.

    Returns:
        What ``work`` gave, and what it printed.

    Raises:
        UserError: If it takes longer than ``SECONDS``, or changed a setting that others depend on.
        BaseException: What ``work`` raised.
    """
    printed = io.StringIO()
    with redirect_stdout(printed), _random_states_kept(), settings_kept():
        value = _within(SECONDS, work)
    return value, printed.getvalue()


def _within(seconds: float, work: Callable[[], T]) -> T:
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="kdbench-import", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise UserError(f"did not end within {seconds:g} s")
    return done[0]


@contextmanager
def running(method: type | str, what: str) -> Iterator[None]:
    """Run a part of a method.

    Args:
        method: The method's class, or what its card says of it: ``package.module:Class``.
        what: The part, for messages: ``losses()``.

    Raises:
        MethodError: If it raises anything but a user's mistake or the want of memory, or changes a setting.
    """
    target = method if isinstance(method, str) else reference(method)
    try:
        with settings_kept():
            yield
    except Meddled as changed:
        raise MethodError(f"{blamed(target)} {changed} in {what}") from changed
    except (Exception, SystemExit) as error:
        if isinstance(error, UserError) or _is_out_of_memory(error):
            raise
        raise MethodError(f"{blamed(target)} failed in {what}: {reason(error)}") from error


@contextmanager
def guarded(who: str, what: str, advice: str = ADVICE) -> Iterator[None]:
    """Run a part of a plugin that is no method; what it prints goes to standard error.

    Args:
        who: Whom to blame, see :func:`offered`.
        what: The part, for messages: ``prepare()``.
        advice: What the user can do.

    Raises:
        PluginError: If it raises anything but a user's mistake or the want of memory, or changes a setting.
    """
    try:
        with redirect_stdout(sys.stderr), _random_states_kept(), settings_kept():
            yield
    except Meddled as changed:
        raise PluginError(f"{who} {changed} in {what}. {advice}") from changed
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, UserError) or _is_out_of_memory(error):
            raise
        raise PluginError(f"{who} failed in {what}: {reason(error)}. {advice}") from error


def load_guarded(who: str, target: str, advice: str = ADVICE) -> Any:
    """Import ``package.module:name`` of a plugin, within ``SECONDS``.

    Raises:
        PluginError: If that does not work.
    """
    from kdbench.cards import load_object

    try:
        loaded, printed = imported(lambda: load_object(target))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{who}: {target} cannot be imported: {reason(error)}. {advice}") from error
    sys.stderr.write(printed)
    return loaded


def offered(kind: str, name: str) -> str:
    """What a plugin gives, as a message blames it: ``dataset 'screws' of my-screws 1.0``."""
    from kdbench.registry import registry

    offer = getattr(registry(), f"{kind}s").get(name)
    return f"{kind} '{name}'" + (f" of {offer.plugin.distribution} {offer.plugin.version}" if offer else "")


def _is_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def blamed(target: str) -> str:
    """A method as a message blames it: ``method 'mimic' of kdbench 0.1.0``.

    Args:
        target: ``package.module:Class``; it is named itself where no plugin gives it under this name.
    """
    from kdbench.registry import registry

    for offer in registry().methods.values():
        if offer.value.method == target:
            return offered("method", offer.value.name)
    return f"method {target}"


def reference(method: type) -> str:
    """A class as a card names it."""
    return f"{method.__module__}:{method.__qualname__}"


def load_method(card: MethodCard) -> type[Method]:
    """Import the class of a method.

    Raises:
        MethodError: If that does not work, or it is no method.
    """
    from kdbench.cards import load_object
    from kdbench.distill import Method

    try:
        loaded, printed = imported(lambda: load_object(card.method))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise MethodError(f"{blamed(card.method)} cannot be imported: {reason(error)}") from error
    if printed:
        sys.stderr.write(printed)
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise MethodError(f"{blamed(card.method)}: {card.method} is no subclass of kdbench.api.Method")
    return loaded


def reason(error: BaseException) -> str:
    """An error in one line: its type and message; a user's mistake has a message alone."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


class Meddled(UserError):
    """A setting was changed that others depend on; it has been put back."""


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put back the settings that a block changes.

    Raises:
        Meddled: If it changed any, and raised nothing itself.
    """
    before = {setting.title: setting.read() for setting in _settings()}
    changed: list[str] = []
    try:
        yield
    finally:
        for setting in _settings():
            then, now = before.get(setting.title, setting.initial), setting.read()
            if then is not None and now != then:
                setting.write(then)
                changed.append(f"{setting.title} from {then} to {now}")
    if changed:
        raise Meddled(f"changed {' and '.join(changed)}")


def _settings() -> list[Setting]:
    """The settings of what is imported by now."""
    found = [Setting("the working directory", os.getcwd, os.chdir)]
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "geterr"):
        found.append(Setting("numpy's error handling", numpy.geterr, lambda kept: numpy.seterr(**kept)))
    if torch is not None and hasattr(torch, "compile"):  # not while it is being imported
        found += _torch_settings(torch)
    return found


def _torch_settings(torch: Any) -> list[Setting]:
    cudnn = torch.backends.cudnn
    return [
        Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        Setting(
            "torch's default device",
            lambda: str(torch.get_default_device()),
            lambda kept: torch.set_default_device(None if kept == "cpu" else kept),
            "cpu",
        ),
        Setting("whether torch keeps gradients", torch.is_grad_enabled, torch.set_grad_enabled, True),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "whether torch uses deterministic algorithms",
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
            0,
        ),
        Setting(
            "the precision of torch's matrix products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            "highest",
        ),
        Setting(
            "torch's detection of anomalies",
            torch.is_anomaly_enabled,
            torch.autograd.set_detect_anomaly,
            False,
        ),
        *_autocast(torch),
        *(_attribute(cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
    ]


def _autocast(torch: Any) -> Iterator[Setting]:
    from kdbench import devices

    for device in devices.here():
        yield Setting(
            f"torch's autocast on {device}",
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
            False,
        )


def _attribute(module: Any, name: str) -> Setting:
    return Setting(
        f"cudnn.{name}",
        lambda: getattr(module, name),
        lambda kept: setattr(module, name, kept),
        name == "enabled",
    )


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Put back the random states of python, and of numpy and torch where they were imported before."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    python = random.getstate()
    kept = numpy.random.get_state() if numpy is not None and hasattr(numpy, "random") else None
    state = torch.get_rng_state() if torch is not None and hasattr(torch, "get_rng_state") else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy is not None and kept is not None:
            numpy.random.set_state(kept)
        if torch is not None and state is not None:
            torch.set_rng_state(state)
