"""Commands that run the cells of a row again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from kdbench.results.record import Record


def again(cells: Iterable[Record]) -> str:
    """Return a shell command that runs cells, with a loop over several seeds; blank without cells.

    The command follows from the spec of a cell of the default schedule. A cell with a changed pair, a given
    teacher's checkpoint or a benchmark file has the command that made it.
    """
    cells = sorted(cells, key=lambda cell: (cell.seed, cell.identity))
    if any(_is_special(cell) for cell in cells):
        return " && ".join(dict.fromkeys(_as_made(cell) for cell in cells))
    first = cells[0] if cells else None
    if first is None:
        return ""
    seeds = [cell.seed for cell in cells]
    precision, device = first.precision, first.device_class
    return command(first.selector, first.dataset, first.pair_name, seeds, precision=precision, device=device)


def command(
    selector: str,
    dataset: str,
    pair: str,
    seeds: Iterable[int],
    *,
    precision: str = "fp32",
    device: str = "cpu",
    benchmark: Path | None = None,
) -> str:
    """Return a shell command that runs a method on a pair, with a loop over several seeds.

    Args:
        selector: Selector of the method.
        dataset: Name of the dataset.
        pair: Name of the pair.
        seeds: At least one seed.
        precision: Precision of the training.
        device: Class of the device.
        benchmark: Benchmark file that defines the dataset or the pair, if one does.
    """
    each = [str(seed) for seed in dict.fromkeys(seeds)]
    ground = {"--dataset": dataset} if benchmark is None else {"--benchmark": str(benchmark)}
    names = {"--method": selector, **ground, "--pair": pair}
    given = " ".join(f"{option} {shlex.quote(value)}" for option, value in names.items())
    seed = each[0] if len(each) == 1 else "$seed"
    given += f" --seed {seed}" + ("" if device == "cpu" else f" --device {device}")
    one = f"kdbench run {given}" + ("" if precision == "fp32" else f" --amp {precision}")
    return one if len(each) == 1 else f"for seed in {' '.join(each)}; do {one}; done"


def _is_special(cell: Record) -> bool:
    given = ("--teacher-checkpoint", "--benchmark")
    return cell.schedule != "default" or any(option in cell.made.command for option in given)


def _as_made(cell: Record) -> str:
    """Return the command that made a cell, in one line and without ``--json``."""
    return re.sub(r" --json(?= |$)", "", " ".join(cell.made.command.split()))
