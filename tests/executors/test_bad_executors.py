"""A plugin's executor that misbehaves is named in the error, and earlier results are kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest
from sweep_support import Told, begun, claims_left, results, sweep_of, wait_for

from kdbench import errors
from kdbench.cli import main
from kdbench.errors import PluginError
from kdbench.executors.select import executor_of
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

SOURCE = """
import subprocess, sys, time
from pydantic import field_validator
from kdbench.api import Ended, Executor, ExecutorCard, Resources
from kdbench.executors.local import Local

class How(Options):
    how: str = ""

    @field_validator("how")
    @classmethod
    def moody(cls, value):
        if value == "options":
            raise RuntimeError("boom")
        return value

@hookimpl
def kdbench_executors():
    yield ExecutorCard(name="theirs", title="Theirs", target="TARGET", options=How)

class Theirs(Local):
    def __init__(self, slots, device, how):
        self.how = how
        self.misbehave("init")
        super().__init__(1, "cpu")
        self.slots = {"slots": 0, "no slots": None}.get(how, self.slots)
        self.resources = "one core" if how == "resources" else self.resources

    def misbehave(self, where):
        if self.how == where:
            raise RuntimeError("boom")

    def submit(self, command, resources, log):
        self.misbehave("submit")
        handle = super().submit(command, resources, log)
        return {"submit type": 7, "submit twice": "same"}.get(self.how, handle)

    def wait(self, timeout):
        if self.how == "hangs":
            time.sleep(60)
        self.misbehave("wait")
        found = super().wait(timeout)
        return {"wait type": None, "wait stranger": [Ended("nobody", 0, "")]}.get(self.how, found)

    def cancel(self, handle, *, now):
        self.misbehave("cancel")
        super().cancel(handle, now=now)

    def close(self):
        self.misbehave("close")
        super().close()

class Abstract(Executor):
    def __init__(self, slots, device, how):
        pass
"""
WHO = "executor 'theirs' of their-kd 1.5"
ADVICE = "Tell its authors. The same sweep goes on from what is done, with another executor too."
IDLE = [sys.executable, "-c", "import time; time.sleep(100)"]


@pytest.fixture
def theirs(add_plugin, monkeypatch):
    """Return a function that makes an executor with a given misbehaviour, as a sweep would."""

    def make(how: str = "", target: str = "their_kd:Theirs"):
        add_plugin("their-kd", SOURCE.replace("TARGET", target), version="1.5")
        monkeypatch.setenv(ENVIRONMENT, "kdbench,their-kd")
        registry.cache_clear()
        return executor_of(f'theirs[how="{how}"]', 1, "cpu")

    return make


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("options", "failed in its options: RuntimeError: boom. Tell its authors."),
        ("init", f"failed in __init__(): RuntimeError: boom. {ADVICE}"),
        ("slots", f"has 0 as slots, and it must be an int, at least 1. {ADVICE}"),
        ("no slots", "has None as slots, and it must be"),
        ("resources", f"has 'one core' as resources, and it must be a kdbench.api.Resources. {ADVICE}"),
    ],
)
def test_one_that_cannot_be_made_is_blamed(theirs, how, told):
    with pytest.raises(PluginError) as failed:
        theirs(how)
    assert str(failed.value).startswith(f"{WHO} {told}")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            "nowhere_at_all:X",
            " failed in the import of nowhere_at_all:X: ModuleNotFoundError: No module named",
        ),
        ("their_kd:Nobody", " failed in the import of their_kd:Nobody: AttributeError: "),
        ("their_kd:How", ": their_kd:How is not a subclass of kdbench.api.Executor. "),
        ("their_kd:Abstract", " failed in __init__(): TypeError: Can't instantiate abstract class"),
    ],
)
def test_what_is_no_executor_is_blamed(theirs, target, told):
    with pytest.raises(PluginError) as failed:
        theirs(target=target)
    assert str(failed.value).startswith(f"{WHO}{told}")
    assert str(failed.value).endswith(ADVICE)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("submit", "failed in submit(): RuntimeError: boom. "),
        ("submit type", "returned 7 as submit(), and it must be a str that no running worker has. "),
        ("submit twice", "returned 'same' as submit(), and it must be a str that no running worker has. "),
        ("wait", "failed in wait(): RuntimeError: boom. "),
        (
            "wait type",
            "returned None as wait(), and it must be a list with an Ended for each worker that has ended. ",
        ),
        (
            "wait stranger",
            "returned [Ended(handle='nobody', code=0, how='')] as wait(), and it must be a list ",
        ),
        ("cancel", "failed in cancel(): RuntimeError: boom. "),
        ("close", "failed in close(): RuntimeError: boom. "),
    ],
)
def test_what_it_does_wrong_is_blamed(theirs, tmp_path, how, told):
    executor = theirs(how)
    inner = executor._executor
    try:
        with pytest.raises(PluginError) as failed:
            use(executor, tmp_path / "log")
    finally:
        inner.how = ""
        for handle in list(inner._processes):
            inner.cancel(handle, now=True)
    assert str(failed.value).startswith(f"{WHO} {told}")
    assert str(failed.value).endswith(ADVICE)


def use(executor, log):
    """Call every function once, and submit a second worker."""
    for _ in range(2):
        handle = executor.submit(IDLE, executor.resources, log)
    executor.wait(0.1)
    executor.cancel(handle, now=False)
    executor.close()


def test_one_that_does_not_come_back_is_named(theirs, monkeypatch, caplog):
    executor = theirs()
    monkeypatch.setattr(errors, "SECONDS", 0.1)
    executor.wait(0.0)
    assert caplog.messages == []
    executor._executor.wait = lambda timeout: time.sleep(0.5) or []
    executor.wait(0.1)
    assert caplog.messages == [f"{WHO} does not come back from wait(): Ctrl-C three times leaves it."]


def test_a_command_tells_it_in_one_line(theirs, tmp_path, small_digits, monkeypatch, capsys):
    theirs()
    monkeypatch.chdir(tmp_path)
    sweep = ["sweep", "--methods", "hinton", "--datasets", "digits", "--schedule", "smoke"]
    capsys.readouterr()
    assert (
        main([*sweep, "--root", str(small_digits), "--device", "cpu", "--executor", "theirs[how=init]"]) == 2
    )
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert errors == [f"error: {WHO} failed in __init__(): RuntimeError: boom. {ADVICE}"]


@pytest.mark.parametrize("how", ["wait", "cancel"])
def test_the_store_is_whole_and_another_executor_goes_on(theirs, tmp_path, small_digits, how):
    """The executor fails while a worker runs: the worker must stop, and the sweep ends with the first error."""
    executor, view = theirs(), Told()
    sweep = sweep_of(tmp_path, small_digits, executor, view, mode="gate", methods=("hinton",), seeds=1)

    def fail() -> None:
        wait_for(lambda: list(tmp_path.glob("runs/*/last_checkpoint")))
        executor._executor.how = "wait"
        if how == "cancel":
            executor._executor.cancel = lambda handle, now: 1 / 0

    failing = threading.Thread(target=fail)
    failing.start()
    with pytest.raises(PluginError, match=r"failed in wait\(\): RuntimeError: boom"):
        sweep.run()
    failing.join()
    told = (
        [f"{WHO} failed in cancel(): ZeroDivisionError: division by zero. {ADVICE}"]
        if how == "cancel"
        else []
    )
    assert view.lines == told
    (tmp_path / "go").touch()
    assert sweep_of(tmp_path, small_digits, methods=("hinton",), seeds=1).run()
    assert {record["status"] for record in results(tmp_path).values()} == {"done"}
    assert set(begun(tmp_path).values()) == {1}
    assert not claims_left(tmp_path)


def test_one_that_fails_at_the_end_does_not_undo_the_sweep(theirs, tmp_path, small_digits):
    executor, view = theirs("close"), Told()
    sweep = sweep_of(tmp_path, small_digits, executor, view, methods=("hinton",), seeds=1)
    assert sweep.run()
    assert not sweep.failures
    assert view.lines == [f"{WHO} failed in close(): RuntimeError: boom. {ADVICE}"]
    executor._executor.how = ""
    executor.close()


def test_the_third_ctrl_c_leaves_one_that_hangs(theirs, tmp_path, small_digits):
    executor = theirs("hangs")
    sweep = sweep_of(tmp_path, small_digits, executor, mode="gate", methods=("hinton",), seeds=1)

    def interrupt() -> None:
        wait_for(lambda: sweep.running)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    hand = threading.Thread(target=interrupt)
    hand.start()
    with pytest.raises(KeyboardInterrupt):
        sweep.run()
    hand.join()
