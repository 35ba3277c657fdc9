"""``kdbench compare``: the paired test of two methods."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import kdbench
from kdbench.cli import options
from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.results.compare import Comparison, Overall, Side


@click.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--dataset", metavar="NAME", help="Only this dataset.")
@click.option("--pair", metavar="NAME", help="Only this teacher-student pair.")
@options.results("Folder of the records.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with scores as fractions.")
def command(
    first: str, second: str, dataset: str | None, pair: str | None, results: Path, as_json: bool
) -> None:
    """Say whether method B is better than method A (often none, the plain student).

    For each dataset, pair, recipe and teacher, print the difference B - A with its 95 % interval and p value. The
    noise is pooled over all rows of the ranking; against none, interval and p value are those of the leaderboard.
    """
    from kdbench.results.compare import overall

    found = kdbench.compare(first, second, dataset=dataset, pair=pair, results=results)
    together = overall(found)
    if as_json:
        echo(json.dumps(as_data(found, together), indent=2))
    else:
        echo("\n\n".join("\n".join(part) for part in [*map(lines, found), closing(found, together)]))


def lines(block: Comparison) -> list[str]:
    """Return a comparison as lines of text."""
    from kdbench.results.formats import percent

    found, one, two = block.difference, block.first.method, block.second.method
    rows = [(side.method, _summary(block, side)) for side in (block.first, block.second)]
    if block.seeds:
        rows.append((f"{two} - {one}", percent(block.gain, "+")))
    if found is not None:
        mean, low, high = (percent(value, "+") for value in (found.mean, found.low, found.high))
        interval = f"{mean}, 95 % interval [{low}, {high}]"
        rows[-1] = (
            rows[-1][0],
            f"{interval}{'' if math.isnan(found.p) else f', {_p(found.p)}'} ({_kind(block)})",
        )
    rows.append(("verdict", spoken(block)))
    width = max(len(name) for name, _ in rows)
    return [
        f"{block.ranking.heading}, {block.ranking.metric} x100, {_seeds(block.seeds)}",
        *(f"  {name:<{width}}  {text}" for name, text in rows),
    ]


def _kind(block: Comparison) -> str:
    """Say from what an interval is computed, and for what it holds."""
    own = "from this pair alone" if block.difference and block.difference.own else "pooled noise of all rows"
    scope = "for all rows at once" if block.against_plain else "for this pair alone"
    return f"{own}, {scope}"


def _summary(block: Comparison, side: Side) -> str:
    from kdbench.results.formats import percent

    center, spread = map(percent, block.shared(side))
    shown = f"{center} +- {spread}" if spread else center
    only = block.alone(side)
    notes = [
        f"{_seeds(only)} only here, not used" if only else "",
        f"{_seeds(side.failed)} failed" if side.failed else "",
        f"{_seeds(side.reported)} reported by others" if side.reported else "",
        *(f"results of {version} not used" for version in side.left_out),
    ]
    return "; ".join(note for note in (shown, *notes) if note)


def spoken(block: Comparison) -> str:
    """Return the verdict as a sentence."""
    one, two = block.first.method, block.second.method
    return {
        "better": f"{two} is better than {one}",
        "worse": f"{two} is worse than {one}",
        "no evidence": f"no evidence that {two} and {one} differ",
        "cannot tell": f"cannot tell: {block.difference.reason if block.difference else ''}",
        "one seed": "one shared seed: no evidence either way",
    }.get(block.verdict, "no shared seed: nothing to compare")


def closing(blocks: Sequence[Comparison], together: Overall) -> list[str]:
    """Return the summary of several rankings; nothing for one."""
    from kdbench.results.compare import LEAST_DATASETS

    counted = together.wins + together.losses + together.ties
    if counted < 2:
        return []
    two = blocks[0].second.method
    text = f"overall: {two} is ahead in {together.wins} of {counted} blocks, behind in {together.losses}"
    text += f", level in {together.ties}" if together.ties else ""
    if not math.isnan(together.p):
        return [f"{text}; {_p(together.p)} (Wilcoxon signed-rank over {together.datasets} datasets)"]
    few = together.datasets < LEAST_DATASETS
    why = f"{together.datasets} of {LEAST_DATASETS} datasets that a test needs" if few else "no differences"
    return [f"{text}; no test over datasets ({why})"]


def as_data(blocks: Sequence[Comparison], together: Overall) -> dict[str, Any]:
    """Return the comparisons as values for JSON, with None for NaN."""
    return {
        "blocks": [_block(block) for block in blocks],
        "overall": {name: _number(value) for name, value in vars(together).items()},
    }


def _block(block: Comparison) -> dict[str, Any]:
    from kdbench.results.row import GROUP

    found = block.difference
    low, high, p = (math.nan,) * 3 if found is None else (found.low, found.high, found.p)
    return {
        **{name: block.ranking.first[name] for name in GROUP},
        "seeds": block.seeds,
        "first": _side(block, block.first),
        "second": _side(block, block.second),
        "difference": _number(block.gain),
        "low": _number(low),
        "high": _number(high),
        "p": _number(p),
        "verdict": block.verdict,
    }


def _side(block: Comparison, side: Side) -> dict[str, Any]:
    center, spread = block.shared(side)
    return {
        "method": side.method,
        "mean": _number(center),
        "std": _number(spread),
        "only_here": block.alone(side),
        "failed": side.failed,
        "reported": side.reported,
        "left_out": side.left_out,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return "no shared seed"
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
