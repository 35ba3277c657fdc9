"""Measure kdbench on a GPU with one command: runs all parts, and writes a table and an archive of the results.

    python benchmarks/gpu/measure.py --data kit/data --output out/gpu
    python benchmarks/gpu/measure.py --data kit/data --output out/gpu --only levers

If a part fails or takes too long, this is reported, the others continue, and the exit code is 1.
`--device cpu --quick` tries out the program without a GPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from parts import HERE, PARTS, SPEED, Command, Part, Setup
from watch import Watch

GRACE = 15.0
"""Seconds between asking a command to stop and killing it, in which a sweep writes checkpoints."""
KEPT = {".json", ".log", ".md", ".txt", ".csv"}
"""Endings of the files that are archived; weights are not."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a part.

    Attributes:
        name: Name of the part.
        said: ``ok``, or what went wrong.
        seconds: Duration in seconds.
        busy: Mean utilisation of the GPU and peak memory; empty if unknown.
    """

    name: str
    said: str
    seconds: float
    busy: str

    def row(self) -> str:
        """Return a row of the table."""
        return f"| {self.name} | {self.said} | {self.seconds:.0f} | {self.busy} |"


def run(command: Command, seconds: float, log: TextIO) -> str:
    """Run a command, with its output on the screen and in the log.

    Args:
        command: Program and arguments.
        seconds: Time limit; then it is asked to stop, and killed after :data:`GRACE`.
        log: Receives its output.

    Returns:
        What went wrong; empty if nothing did.
    """
    print("$", *command, file=log, flush=True)
    paths = [str(SPEED), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    late = threading.Event()
    stop = threading.Timer(max(0.0, seconds), lambda: (late.set(), _signal(process, signal.SIGTERM)))
    kill = threading.Timer(max(0.0, seconds) + GRACE, _signal, (process, signal.SIGKILL))
    for timer in (stop, kill):
        timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        log.write(line)
    code = process.wait()
    for timer in (stop, kill):
        timer.cancel()
    if late.is_set():
        return f"stopped after {seconds:.0f} s"
    return f"exit code {code}" if code else ""


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def measured(part: Part, setup: Setup, seconds: float, log: TextIO) -> Outcome:
    """Run a part's commands; each has an equal share of the remaining time."""
    begun, wrong = time.monotonic(), []
    commands = part.commands(setup)
    with Watch(setup.device) as watch:
        for number, command in enumerate(commands):
            left = begun + seconds - time.monotonic()
            said = run(command, left / (len(commands) - number), log)
            if said:
                wrong.append(f"command {number + 1} of {len(commands)}: {said}")
    return Outcome(part.name, "; ".join(wrong) or "ok", time.monotonic() - begun, str(watch))


def pack(output: Path, archive: Path) -> None:
    """Archive the output, without weights, in a compressed tar file."""
    with tarfile.open(archive, "w:gz") as file:
        for path in sorted(output.rglob("*")):
            if path.suffix in KEPT and path.is_file():
                file.add(path, path.relative_to(output.parent))


def measure(parts: list[Part], setup: Setup, minutes: float) -> list[Outcome]:
    """Run parts within a time limit, and write the log and the table into the output folder.

    Time that a part does not use is shared by the later parts, in proportion to their own.
    """
    ends = time.monotonic() + 60 * minutes
    outcomes = []
    with (setup.output / "measure.log").open("a") as log:
        for number, part in enumerate(parts):
            left = ends - time.monotonic()
            seconds = left * part.seconds / sum(later.seconds for later in parts[number:])
            print(f"\n# {part.name}: {part.commands.__doc__}\n", flush=True)
            print(f"\n# {part.name}\n", file=log, flush=True)
            outcomes.append(measured(part, setup, seconds, log))
    head = ["| part | result | seconds | GPU utilisation, memory |", "|---|---|---|---|"]
    table = "\n".join([*head, *(outcome.row() for outcome in outcomes)])
    (setup.output / "summary.md").write_text(table + "\n")
    print(f"\n{table}\n")
    return outcomes


def main() -> int:
    """Run the measurement; return 1 if a part failed."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=HERE.parents[1] / "data", help="folder with bccd and camvid"
    )
    parser.add_argument("--output", type=Path, default=Path("out/gpu"), help="records, runs and logs")
    parser.add_argument("--archive", type=Path, help="default: OUTPUT.tar.gz")
    parser.add_argument(
        "--only", choices=names, nargs="+", default=names, metavar="PART", help=", ".join(names)
    )
    parser.add_argument("--minutes", type=float, default=8, help="for all parts together, default: 8")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument(
        "--quick", action="store_true", help="small pairs, few rounds: figures that mean nothing"
    )
    asked = parser.parse_args()
    setup = Setup(asked.device, asked.data.absolute(), asked.output.absolute(), asked.quick)
    setup.output.mkdir(parents=True, exist_ok=True)
    archive = asked.archive or setup.output.with_name(setup.output.name + ".tar.gz")
    try:
        outcomes = measure([part for part in PARTS if part.name in asked.only], setup, asked.minutes)
    finally:
        pack(setup.output, archive)
    print(f"archive   {archive} ({archive.stat().st_size / 2**20:.1f} MiB)")
    return int(any(outcome.said != "ok" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
