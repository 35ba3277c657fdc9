from __future__ import annotations

import errno
import logging
import re
import subprocess
import sys

import click
import pytest

from kdbench import __version__, cli
from kdbench.errors import GateError, UserError


@pytest.fixture
def raising(monkeypatch):
    """Makes ``kdbench list`` raise something."""

    def put(error: BaseException) -> None:
        def body() -> None:
            raise error

        monkeypatch.setattr("kdbench.cli.listing.command", click.Command("list", callback=body))

    return put


def test_the_help_lists_every_command(kdbench):
    done = kdbench("--help")
    assert done.code == 0
    for name, entry in cli.COMMANDS.items():
        listed = re.search(rf"^  {name} +{re.escape(entry.help)}$", done.out, re.MULTILINE)
        assert bool(listed) == (name != "worker")  # which sweeps call, not people


def test_without_arguments_it_prints_the_help(kdbench):
    assert kdbench() == kdbench("-h")


def test_version(kdbench):
    assert kdbench("--version").out == f"kdbench, version {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_help(kdbench, name):
    done = kdbench(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: kdbench {name} ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lst"], "unknown command 'lst'. Did you mean 'list'?"),
        (["qqq"], "unknown command 'qqq'. Known: clean, compare, data,"),
        (["--verison"], "--verison"),
        (["list"], "Missing argument 'KIND'"),
        (["list", "things"], "'things' is not one of 'methods'"),
        (["list", "methods", "more"], "unexpected extra argument"),
        (["list", "methods", "--jsn"], "--jsn"),
        (["show", "--kind", "thing", "x"], "Try 'kdbench show --help'."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_code_2(kdbench, arguments, told):
    done = kdbench(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert told.lower() in done.err.lower()


def test_what_sweeps_call_is_not_suggested(kdbench):
    assert "'worker'" not in kdbench("workers").err


@pytest.mark.parametrize("name", ["data", "records"])
def test_a_group_alone_prints_its_help_whole(kdbench, name):
    done = kdbench(name)
    assert (done.code, done.err) == (0, "")
    assert done.out == kdbench(name, "--help").out
    assert "..." not in done.out.partition("Commands:")[2]


@pytest.mark.parametrize("name", ["run", "sweep", "tune"])
def test_a_gate_names_the_option_that_overrules_it(kdbench, monkeypatch, name):
    def body(**_):
        raise GateError("the loss is zero.")

    monkeypatch.setattr(cli.cli.get_command(None, name), "callback", body)
    required = {
        "run": ["--method", "none", "--dataset", "digits"],
        "tune": ["none", "--dataset=digits", "--trials=1"],
    }
    done = kdbench(name, *required.get(name, []))
    assert done == (2, "", "error: the loss is zero. To go on all the same, give --force.\n")


def test_a_users_mistake_is_one_line_and_code_2(kdbench, raising):
    raising(UserError("no data.\nRun kdbench data prepare voc."))
    assert kdbench("list") == (2, "", "error: no data. Run kdbench data prepare voc.\n")


def test_ctrl_c_says_how_to_go_on(kdbench, raising):
    raising(KeyboardInterrupt())
    done = kdbench("list")
    assert done.code == 130
    assert "same command" in done.err
    assert len(done.err.splitlines()) <= 2  # click ends the line in which ^C stands


def test_a_refused_question_is_no_interruption(kdbench, raising):
    raising(click.Abort())
    assert kdbench("list") == (1, "", "aborted\n")


def test_a_full_disk_is_one_line(kdbench, raising):
    raising(OSError(errno.ENOSPC, "No space left on device", "out/x.json"))
    done = kdbench("list")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "out/x.json" in done.err


def test_our_own_bug_keeps_its_traceback(kdbench, raising):
    raising(OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        kdbench("list")


def test_a_command_may_set_the_exit_code(kdbench, monkeypatch):
    command = click.Command("list", callback=lambda: click.get_current_context().exit(1))
    monkeypatch.setattr("kdbench.cli.listing.command", command)
    assert kdbench("list").code == 1


def test_python_m_kdbench_exits_with_the_code():
    done = subprocess.run([sys.executable, "-m", "kdbench", "lst"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown command")
    assert "Traceback" not in done.stderr


def test_the_installed_script_is_main():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="kdbench")
    assert script.load() is cli.main


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("go on with `force=True`.", "go on with --force."),
        ("name another `data_root`, or `settings`.", "name another --root, or --set."),
        ("`device` tpu: choose cpu.", "--device tpu: choose cpu."),
        ("give `max_lanes=2` or `precision=bf16`", "give --max-lanes 2 or --amp bf16"),
        ("run `kdbench doctor`, see `weights`", "run `kdbench doctor`, see `weights`"),
        ("no `model`: `trials` 0, or `anyway=True`", "no `model`: --trials 0, or --anyway"),
    ],
)
def test_a_message_names_options_in_place_of_arguments(kdbench, raising, message, shown):
    raising(UserError(message))
    assert kdbench("list").err == f"error: {shown}\n"


def test_verbose_shows_the_traceback_of_a_mistake_too(kdbench, raising):
    raising(UserError("no luck"))
    assert "Traceback" not in kdbench("list").err
    told = kdbench("-v", "list").err
    assert "Traceback" in told
    assert told.endswith("error: no luck\n")


def test_quiet_keeps_warnings_and_drops_the_rest(kdbench, monkeypatch):
    def body() -> None:
        logging.getLogger("kdbench.datasets").info("drawing")
        logging.getLogger("kdbench.datasets").warning("a class is missing")

    monkeypatch.setattr("kdbench.cli.listing.command", click.Command("list", callback=body))
    assert kdbench("list").err == "drawing\na class is missing\n"
    assert kdbench("-q", "list").err == "a class is missing\n"
