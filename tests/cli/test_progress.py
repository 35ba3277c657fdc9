from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from kdbench.cli import log_on_stderr
from kdbench.cli.progress import TerminalConsole
from kdbench.runs import progress

TITLE = "3 of 3: mimic[variant=whole-map], seed 0"


def console(terminal: bool, width: int = 120) -> tuple[TerminalConsole, io.StringIO]:
    file = io.StringIO()
    screen = Console(file=file, force_terminal=terminal, width=width, color_system=None, legacy_windows=False)
    return TerminalConsole(screen), file


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets: ``clock[0] = 5``."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_a_bar_with_an_eta():
    told, file = console(terminal=True)
    with told.stage(TITLE, 4) as stage:
        for iteration in (1, 2, 3):
            stage.advance(iteration, {"loss": 1.5, "loss_cls": 1.0})
        stage.bar.refresh()
        stage.evaluated(3, {"AP50": 0.25, "AP50/3": 0.5, "AP75": 0.125})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert f"{TITLE}, 4 iterations\n" in text
    assert re.search(re.escape(TITLE) + r" .*━.* 3/4 0:00:0\d ETA (0:00:0\d|-:--:--) loss 1\.500", text)
    assert "  after 3 iterations: AP50 0.250, AP75 0.125\n" in text
    assert "0.500\n" not in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_bar_keeps_its_eta_however_long_its_title(width):
    told, file = console(terminal=True, width=width)
    with told.stage("3 of 3: " + "very-long-" * 20, 12_400) as stage:
        stage.advance(12_000, {"loss": 123.456})
        stage.bar.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).splitlines()
    line = next(line for line in lines if "━" in line and " 12000" in line)
    assert "12000/12400" in line
    assert "ETA" in line
    assert "loss 123.456" in line


def test_elsewhere_it_prints_lines_with_an_eta_every_ten_seconds(clock):
    told, file = console(terminal=False)
    with told.stage(TITLE, 1000) as stage:
        for iteration in range(1, 61):
            clock[0] = iteration / 2
            stage.advance(iteration, {"loss": 1.5})
    lines = file.getvalue().splitlines()
    assert lines == [
        f"{TITLE}, 1000 iterations",
        "  20/1000, loss 1.500, ETA 8 min 10 s",
        "  40/1000, loss 1.500, ETA 8 min 00 s",
        "  60/1000, loss 1.500, ETA 7 min 50 s",
    ]


def test_a_resumed_training_counts_its_own_speed(clock):
    told, file = console(terminal=False)
    with told.stage("teacher", 1000) as stage:
        stage.advance(901, {})
        clock[0] = 10
        stage.advance(911, {})
    assert file.getvalue().splitlines()[1:] == ["  911/1000, ETA 1 min 29 s"]


def test_lines_are_never_folded_and_brackets_are_no_markup():
    told, file = console(terminal=False, width=40)
    told.say("a/" * 60 + "[bold]x[/bold]")
    assert file.getvalue() == "a/" * 60 + "[bold]x[/bold]\n"


def test_it_is_quiet_where_the_log_is(capsys):
    with log_on_stderr(logging.WARNING):
        told = TerminalConsole()
    told.say("nothing")
    with told.stage("nothing", 3) as stage:
        stage.advance(3, {})
    assert capsys.readouterr() == ("", "")


def test_everything_goes_to_stderr(capsys):
    with log_on_stderr(logging.INFO):
        TerminalConsole().say("a line")
    assert capsys.readouterr() == ("", "a line\n")
