"""Kill a sweep of pretended trainings again and again, and compare what it records with an undisturbed one.

    python tests/hostile/kills.py 100 [SEED]

Each round starts the sweep and kills all of its processes, the sweep alone, or one of its workers with SIGKILL, at
a random moment of the time that an undisturbed sweep takes; a sweep that comes to its end is compared, and a new
one begins.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))
import psutil
import sweep_support

from kdbench.datasets.digits_files import STAMP, write
from kdbench.results.store import Store
from kdbench.runs.waste import wasted


def contents(folder: Path) -> dict[str, dict]:
    """Identity -> record, without when and where it was made; a broken file is an error."""
    records, broken = Store(folder / "results").records()
    assert not broken, broken
    return {record.identity: record.model_dump(exclude={"made"}) for record in records}


def started(folder: Path, data: Path) -> psutil.Process:
    command = [sys.executable, sweep_support.__file__, "sweep", "", str(folder), str(data)]
    return psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(sweep: psutil.Process, how: str, draw: random.Random) -> bool:
    """Whether there was something to kill."""
    try:
        workers = sweep.children(recursive=True)
        victims = {
            "all": [sweep, *workers],
            "sweep": [sweep],
            "worker": draw.sample(workers, min(1, len(workers))),
        }[how]
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return bool(victims)


def left(folder: Path) -> list[str]:
    """Claims that nobody needs any more, and drafts that ``kdbench clean`` would not find when they are old."""
    drafts = set(folder.rglob(".*.tmp"))
    for draft in drafts:
        os.utime(draft, (0, 0))
    found = {waste.path for waste in wasted(folder / "runs", folder / "results")}
    claims = {path for path in (folder / "results" / ".claims").iterdir() if path.name != ".gitignore"}
    return sorted(str(path) for path in (claims | drafts) - found)


def campaign(kills: int, seed: int = 0) -> Counter[str]:
    """Kill so often; returns what was counted."""
    draw, counted = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as root:
        data = Path(root) / "data"
        write(data / "digits", {"train": 12, "test": 6}, 0)
        (data / "digits" / "scenes.json").write_text(json.dumps(STAMP))
        whole, begun = Path(root) / "undisturbed", time.monotonic()
        assert started(whole, data).wait() == 0
        longest = time.monotonic() - begun
        expected = contents(whole)
        while counted["kills"] < kills:
            counted["sweeps"] += 1
            rounds(Path(root) / str(counted["sweeps"]), data, kills, draw, counted, expected, longest)
    return counted


def rounds(
    folder: Path,
    data: Path,
    kills: int,
    draw: random.Random,
    counted: Counter[str],
    expected: dict,
    longest: float,
) -> None:
    """One sweep, killed until it came to its end in spite of it, or there were kills enough."""
    seen: dict[str, dict] = {}
    while True:
        sweep, how = started(folder, data), draw.choice(["all", "sweep", "worker"])
        end = time.monotonic() + (draw.uniform(0.5, longest) if counted["kills"] < kills else 600)
        while time.monotonic() < end and sweep.poll() is None:
            time.sleep(0.02)
        if sweep.poll() is None and kill(sweep, how, draw):
            counted["kills"] += 1
            counted[how] += 1
        if how == "worker" and sweep.poll() is None and counted["kills"] < kills:
            time.sleep(draw.uniform(0, 2))
            counted["kills"] += kill(sweep, "all", draw)
        code = sweep.wait()
        now = contents(folder)
        assert not seen.keys() - now.keys(), "a record is gone"
        counted["kills between records"] += 0 < len(now) < len(expected) and code != 0
        assert all(now[identity] == expected[identity] for identity in now), "a record differs"
        seen = now
        if code == 0:
            assert now == expected
            assert not left(folder), left(folder)
            return


if __name__ == "__main__":
    begun, seed = time.monotonic(), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1000
    print(
        f"seed {seed}: {dict(campaign(int(sys.argv[1]), seed))}, {time.monotonic() - begun:.0f} s", flush=True
    )
    os._exit(0)
