"""The parts of the measurement, with their commands and time limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SPEED = HERE.parent / "speed"
PAIRS = ("camvid-pspnet-r50-r18-scratch", "bccd-gfl-r50-r18-scratch", "bccd-faster-rcnn-r50-r18-scratch")
QUICK_PAIRS = ("digits-seg-pspnet", "digits-gfl", "digits-faster-rcnn")
"""Pairs of the same families in sizes for a CPU, on data that kdbench generates."""
METHOD = "fitnets"
"""Method of the steps; it needs only the teacher's neck, so that every family has a hand-written step."""

Command = list[str]


@dataclass(frozen=True)
class Setup:
    """Settings of all parts.

    Attributes:
        device: ``cuda``, or ``cpu`` to try out the program.
        data: Data root, which contains ``bccd`` and ``camvid``.
        output: Folder for records, runs and logs.
        quick: Use small pairs and few rounds; the figures are then meaningless.
    """

    device: str
    data: Path
    output: Path
    quick: bool

    @property
    def pairs(self) -> tuple[str, ...]:
        """One pair of each family: segmentation, dense, two-stage."""
        return QUICK_PAIRS if self.quick else PAIRS

    @property
    def where(self) -> Command:
        """Options of all scripts and sweeps."""
        return ["--device", self.device, "--root", str(self.data)]

    def folders(self) -> Command:
        """Options that put a sweep's records and runs into the output folder."""
        return ["--results", str(self.output / "results"), "--work-dir", str(self.output / "runs")]


@dataclass(frozen=True)
class Part:
    """A part of the measurement.

    Attributes:
        name: Name for ``--only``.
        seconds: Time limit of its commands together, if all parts share 8 minutes.
        commands: Function that returns its commands for a setup.
    """

    name: str
    seconds: int
    commands: Callable[[Setup], list[Command]]


def kdbench(*arguments: str) -> Command:
    """Return the command line of a kdbench command."""
    return [sys.executable, "-m", "kdbench", *arguments]


def script(file: Path, setup: Setup, *arguments: str) -> Command:
    """Return the command line of a measuring script."""
    return [sys.executable, str(file), *arguments, *setup.where]


def doctor(setup: Setup) -> list[Command]:
    """Check what is installed, and whether a run would work."""
    return [kdbench("doctor")]


def tests(setup: Setup) -> list[Command]:
    """Run the tests that need a GPU, in four processes."""
    tests = str(HERE.parents[1] / "tests" / "gpu")
    return [[sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-n", "4", tests]]


def steps(setup: Setup) -> list[Command]:
    """Compare kdbench's step with a hand-written one, for a pair of each family."""
    rounds = (
        ["--rounds", "4", "--warm", "1", "--limit", "100"] if setup.quick else ["--rounds", "60", "--amp"]
    )
    file = SPEED / "step.py"
    return [script(file, setup, "--pair", pair, "--method", METHOD, *rounds) for pair in setup.pairs]


def levers(setup: Setup) -> list[Command]:
    """Time a hand-written step with different settings, for a pair of each family."""
    rounds = ["--rounds", "1", "--warm", "0"] if setup.quick else ["--rounds", "12", "--warm", "3"]
    return [script(HERE / "levers.py", setup, "--pair", pair, *rounds) for pair in setup.pairs]


def throughput(setup: Setup) -> list[Command]:
    """Compare the cells per hour of several workers on the GPU with one worker, for the dense pair."""
    quick = ["--slots", "1", "2", "--window", "3", "--patience", "300"]
    sizes = quick if setup.quick else ["--slots", "1", "4", "--window", "12", "--amp"]
    return [script(HERE / "throughput.py", setup, "--pair", setup.pairs[1], "--method", METHOD, *sizes)]


def sweep(setup: Setup) -> list[Command]:
    """Run the full-width pairs of camvid and bccd, and rank them."""
    cells = [str(HERE / "camvid.yaml"), str(HERE / "bccd.yaml"), "--amp"]
    if setup.quick:
        cells = [
            "--methods",
            "hinton",
            "--datasets",
            "digits",
            "--pairs",
            "digits-gfl",
            "--schedule",
            "smoke",
        ]
    return [
        kdbench("sweep", *cells, *setup.where, *setup.folders()),
        kdbench("records", "check", "--results", str(setup.output / "results")),
    ]


PARTS = (
    Part("doctor", 15, doctor),
    Part("tests", 110, tests),
    Part("steps", 65, steps),
    Part("levers", 120, levers),
    Part("throughput", 80, throughput),
    Part("sweep", 90, sweep),
)
