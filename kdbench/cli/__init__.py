"""The command line: one sub-command a file, imported only when it is invoked."""

from __future__ import annotations

import errno
import importlib
import inspect
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import click

import kdbench
from kdbench import __version__
from kdbench.cli.screen import echo
from kdbench.errors import ERROR, UserError
from kdbench.surroundings import check_arguments, check_folder, with_streams
from kdbench.threads import wait_well

log = logging.getLogger(__name__)
ARGUMENT = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]+))?`")
"""An argument in a message: ```name``` or ```name=value```."""
OTHER_NAMES = {
    "data_root": "--root",
    "gpus": "--gpus",
    "precision": "--amp",
    "settings": "--set",
    "source": "--from",
    "teacher_checkpoints": "--teacher-checkpoint",
    "visualizers": "--visualizer",
}
"""Argument -> its option, where that has another name."""
CTRL_C = 130
"""Exit code after Ctrl-C, as shells have it."""


class CommandEntry(NamedTuple):
    """Where a sub-command is, and its line in ``--help``."""

    target: str
    help: str


COMMANDS: Mapping[str, CommandEntry] = {
    "run": CommandEntry("kdbench.cli.run:command", "Train, distil and evaluate one method on one dataset."),
    "sweep": CommandEntry(
        "kdbench.cli.sweep:command", "Run many methods, datasets, pairs and seeds, resumably."
    ),
    "evaluate": CommandEntry("kdbench.cli.evaluate:command", "Measure given weights on a dataset."),
    "tune": CommandEntry("kdbench.cli.tune:command", "Search a method's options on validation images."),
    "status": CommandEntry(
        "kdbench.cli.status:command", "Show how a sweep is getting on, from another shell."
    ),
    "worker": CommandEntry("kdbench.cli.worker:command", ""),
    "data": CommandEntry("kdbench.cli.data:command", "Get, link and check datasets."),
    "weights": CommandEntry(
        "kdbench.cli.weights:command", "List and add ImageNet weights that a package ships."
    ),
    "list": CommandEntry("kdbench.cli.listing:command", "List methods, datasets, pairs, models or plugins."),
    "show": CommandEntry("kdbench.cli.show:command", "Show the card of a method, dataset, pair or model."),
    "show-mask": CommandEntry("kdbench.cli.show_mask:command", "Draw what a method attends to in an image."),
    "leaderboard": CommandEntry("kdbench.cli.leaderboard:command", "Rank the recorded results."),
    "compare": CommandEntry("kdbench.cli.compare:command", "Say whether one method is better than another."),
    "reproduce": CommandEntry("kdbench.cli.reproduce:command", "Run a row again and say whether it agrees."),
    "records": CommandEntry(
        "kdbench.cli.records:command", "Add the results of others, check all, measure latencies."
    ),
    "export": CommandEntry(
        "kdbench.cli.export:command", "Turn a run into a checkpoint for plain mmdet or mmseg."
    ),
    "clean": CommandEntry("kdbench.cli.clean:command", "Show and remove what no record needs."),
    "new-benchmark": CommandEntry(
        "kdbench.cli.new_benchmark:command", "Write a benchmark file for a folder of images and boxes."
    ),
    "new-plugin": CommandEntry("kdbench.cli.new_plugin:command", "Make a package with a method of your own."),
    "test-plugin": CommandEntry("kdbench.cli.test_plugin:command", "Hold a method to the contract."),
    "doctor": CommandEntry(
        "kdbench.cli.doctor:command", "Say what is installed, what is wrong and how to fix it."
    ),
}


class LazyGroup(click.Group):
    """A group that knows its sub-commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the sub-command, or None for an unknown name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the sub-command that ``args`` start with. Raises UserError with the nearest names."""
        if not ctx.resilient_parsing and args[0] not in COMMANDS and not args[0].startswith("-"):
            from kdbench.plugins import suggestion

            shown = [name for name, entry in COMMANDS.items() if entry.help]
            raise UserError(f"unknown command '{args[0]}'.{suggestion(args[0], shown)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the sub-command; its errors name options in place of arguments."""
        try:
            return super().invoke(ctx)
        except (UserError, OSError) as error:
            log.debug("the error's traceback:", exc_info=True)
            if isinstance(error, OSError):
                raise
            raise UserError(with_options(str(error))) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any; those without a line are for sweeps alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if entry.help])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First run: kdbench run --method mimic --dataset digits",
)
@click.version_option(__version__, prog_name="kdbench")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress: warnings, errors and results alone.")
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error too.")
@click.pass_context
def cli(context: click.Context, quiet: bool, verbose: bool) -> None:
    """Benchmark knowledge distillation for detection and segmentation."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    context.with_resource(log_on_stderr(level))
    if context.invoked_subcommand is None:
        echo(context.get_help())


def with_options(text: str) -> str:
    """Return a message with options in place of the arguments of kdbench's functions, which stand in backticks.

    ```force=True``` becomes ``--force``, ```data_root``` becomes ``--root``; what is no argument stays as it is.
    """

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if name not in _arguments():
            return match[0]
        flag = OTHER_NAMES.get(name, f"--{name.replace('_', '-')}")
        return flag if value in (None, "True") else f"{flag} {value}"

    return ARGUMENT.sub(option, text)


@cache
def _arguments() -> frozenset[str]:
    """Return the keyword arguments of kdbench's functions; those before them are arguments of commands, too."""
    functions = (getattr(kdbench, name) for name in kdbench.__all__ if not name.startswith("_"))
    each = (
        argument for function in functions for argument in inspect.signature(function).parameters.values()
    )
    return frozenset(one.name for one in each if one.kind is one.KEYWORD_ONLY) | OTHER_NAMES.keys()


class _Stderr(logging.Handler):
    """Writes to what standard error is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(with_options(self.format(record)), err=True)


@contextmanager
def log_on_stderr(level: int) -> Iterator[None]:
    """Show what kdbench logs, from a level on, on standard error while the block lasts."""
    logger, handler = logging.getLogger("kdbench"), _Stderr()
    before = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments without the program's name; ``sys.argv``'s by default.

    Returns:
        Exit code: 0, 1 where a command says so, 2 after a user's mistake, 130 after Ctrl-C.
    """
    with_streams()
    wait_well()
    try:
        check_folder()
        check_arguments(sys.argv[1:] if args is None else args)
        code = cli.main(args=args, prog_name="kdbench", standalone_mode=False)
    except UserError as error:
        return _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _fail(_with_hint(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        return _aborted(error)
    except OSError as error:
        return _fail(_told(error))
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int = 2) -> int:
    echo(f"{ERROR}{' '.join(message.split())}", err=True)
    return code


def _told(error: OSError) -> str:
    """Return a file system's error in one line; raise one that names no file, since it is no user's mistake."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no disk space left for {error.filename or 'the output'}: free some, or write elsewhere."
    if error.filename is None:
        raise error
    return f"cannot use {error.filename}: {error.strerror}. Choose another path, or mend its permissions."


def _with_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f". Try '{context.command_path} --help'." if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _aborted(error: BaseException) -> int:
    """Click turns Ctrl-C into Abort, and so does a refused question."""
    if isinstance(error, click.Abort) and not isinstance(error.__cause__, KeyboardInterrupt):
        echo("aborted", err=True)
        return 1
    echo("interrupted: a run resumes where it stopped when the same command is given again.", err=True)
    return CTRL_C
