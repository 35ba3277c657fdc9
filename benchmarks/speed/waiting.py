"""Steps per second of two OpenMP threads, by how they wait for each other, with and without other load.

    python benchmarks/speed/waiting.py --pairs digits-gfl,digits-seg-pspnet

Each figure is a plain student's training in its own process; the settings take turns, round by round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {
    "spinning, as torch comes": {},
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spinning a thousand times": {"GOMP_SPINCOUNT": "1000"},
}
BUSY = [sys.executable, "-c", "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"]
"""Program that keeps a core busy until this process ends."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", default="digits-gfl,digits-faster-rcnn,digits-seg-pspnet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each figure")
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(steps_a_second(asked.child, asked.root, asked.seconds))
        return
    for pair in asked.pairs.split(","):
        rates: dict[tuple[str, bool], list[float]] = {}
        for _ in range(asked.rounds):
            for name in SETTINGS:
                for busy in (False, True):
                    rates.setdefault((name, busy), []).append(rate(asked, pair, SETTINGS[name], busy))
        for name in SETTINGS:
            idle, busy = (statistics.median(rates[name, state]) for state in (False, True))
            print(f"{pair}, {name}: {idle:.2f} steps/s idle, {busy:.2f} beside a busy process", flush=True)


def rate(asked: argparse.Namespace, pair: str, setting: dict[str, str], busy: bool) -> float:
    """Return the steps per second in a process with two threads."""
    command = [sys.executable, __file__, "--child", pair, "--root", asked.root, "--seconds", asked.seconds]
    neighbour = subprocess.Popen(BUSY) if busy else None
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **setting, "OMP_NUM_THREADS": "2"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        if neighbour is not None:
            neighbour.kill()
    return float(done.stdout.split()[-1])


def steps_a_second(pair: str, root: Path, seconds: float) -> float:
    """Train a pair's student repeatedly on one batch, and return the steps per second."""
    import torch
    from measuring import Bench

    bench = Bench(argparse.Namespace(pair=pair, method="fitnets", device="cpu", precision="fp32", root=root))
    student, batch = bench.student.train(), next(iter(bench.loader()))
    optimizer = torch.optim.AdamW(student.parameters())
    for warm in range(10**6):
        if warm == 3:
            begun = time.perf_counter()
        data = student.data_preprocessor(batch, True)
        loss, _ = student.parse_losses(student(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if warm >= 3 and time.perf_counter() - begun > seconds:
            break
    return (warm - 2) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
