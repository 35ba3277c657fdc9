"""The guide's page "Which method for my detector?", made from the leaderboards and the papers' numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import get_args

from kdbench.cards import MethodCard
from kdbench.plugins import registry
from kdbench.results.board import Ranking
from kdbench.results.formats import gain, notes, percent, ties, times
from kdbench.results.leaderboard import rankings
from kdbench.results.method_costs import cost_range
from kdbench.results.naming import method_in
from kdbench.results.papers import PaperRow, is_two_stage
from kdbench.results.record import Record
from kdbench.results.reported_table import Entry, entries
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.results.table import escape, markdown_table
from kdbench.specs import PLAIN, Family

MODELS: Mapping[Family, str] = {
    "two-stage": "a two-stage detector, such as Faster R-CNN",
    "dense": "a dense detector, such as RetinaNet, GFL, FCOS or ATSS",
    "query": "a DETR, such as Deformable DETR or DINO",
    "segmentation": "a segmentation model, such as PSPNet or DeepLab",
}
"""Family -> description of its models."""
DENSE = r"RetinaNet|GFL|FCOS|ATSS|RepPoints"
"""Pattern of a published dense detector's name."""
METRICS = ("mAP", "mIoU")
"""Published metrics whose differences are summarised."""
FEW = 5
"""Seeds below which a much noisier row often goes unnoticed."""
INTRODUCTION = """# Which method for my detector?

Made by `docs/generate.py` from the [committed results](leaderboards/index.html) and from what
[the papers report](leaderboards/index.html#reported); it changes with them. The column of a pair has the
difference to the plain student of the same seeds, in points: a number in bold is evidence, with its 95 % interval,
and any other may be noise. *Papers* has the median of a method's published differences in the family, at its
default options, with their range and number. *Time* is that of an iteration relative to the plain student's. A
blank was not run, timed or reported. A method without any number works in the family, in one of its variants at
least.

## How sure this is
"""


def page(records: Sequence[Record]) -> Iterator[str]:
    """Yield the page in paragraphs and tables.

    Args:
        records: Committed records.
    """
    found = [one for one in rankings(records) if one.first["schedule"] == "default" and one.methods]
    reported = entries()
    yield INTRODUCTION
    yield from how_sure(found)
    for family in get_args(Family):
        yield f"## For {MODELS[family]}\n"
        own = [one for one in found if family_in(one) == family]
        yield from (first_choice(one, own) for one in own)
        yield from table(family, own, [one for one in reported if family_of(one.result.row) == family])


def family_of(row: PaperRow) -> Family | None:
    """Return the family of a published student, by its name and metric; None if they do not tell."""
    if row["metric"] in ("mIoU", "pixel accuracy"):
        return "segmentation"
    if is_two_stage(row):
        return "two-stage"
    return "dense" if re.match(DENSE, row["student"]) else None


def family_in(ranking: Ranking) -> str:
    """Return the family of a ranking's pair."""
    cells = [cell for row in ranking.rows if row["method"] != TEACHER_ROW for cell in row.cells]
    return str(cells[0].spec["pair"].get("family") or "")


def how_sure(found: Sequence[Ranking]) -> Iterator[str]:
    """Yield the limits of the evidence: sizes of the models, seeds, noise."""
    students = [row for one in found for row in one.rows if row["method"] != TEACHER_ROW]
    sizes = [row["student_parameters"] for row in students if row["student_parameters"] > 0]
    if sizes:
        low, high = (f"{size / 1e6:.2g}" for size in (min(sizes), max(sizes)))
        yield (
            f"- The students measured here are small, of {low} to {high} million parameters, trained for minutes. "
            "Full-size models may order the methods differently: measure on your own pair before you rely on it.\n"
        )
    yield (
        "- Published numbers are of full-size models, each with its own code and schedule, mostly of one seed and "
        "without an interval; and papers report what worked.\n"
    )
    counts = [sorted({row["seeds"] for row in one.methods if row["seeds"]}) for one in found]
    if any(seeds and seeds[0] < FEW for seeds in counts):
        yield (
            f"- With fewer than {FEW} seeds, a row that is much noisier than the others often goes unnoticed: "
            "[how sure a verdict is](../leaderboard.md#how-sure).\n"
        )
    for ranking, seeds in zip(found, counts, strict=True):
        told = f"{' or '.join(map(str, seeds)) or 'no'} seeds. {' '.join(notes(ranking))}"
        yield f"- `{called(ranking, found)}`: {escape(told)}\n"


def called(ranking: Ranking, found: Sequence[Ranking]) -> str:
    """Return the pair of a ranking, with its recipe and teacher if the pair has several rankings."""
    first = ranking.first
    if sum(one.first["pair"] == first["pair"] for one in found) == 1:
        return str(first["pair"])
    return f"{first['pair']} (recipe {first['recipe']}, teacher {first['teacher']})"


def first_choice(ranking: Ranking, found: Sequence[Ranking]) -> str:
    """Return the method to try first on a pair, and how far it is ahead of the others."""
    pair, best = called(ranking, found), ranking.first_choice
    if best is None:
        return f"On `{pair}` no method shows evidence of help.\n"
    time = f", at {times(best['time_ratio'])} the time of an iteration" if best["time_ratio"] > 0 else ""
    return (
        f"On `{pair}` try `{best['method']}` first: {gain(best)} {ranking.metric} points over "
        f"{best['shared_seeds']} seeds{time}. {ties(ranking, best['method'])}\n"
    )


def table(family: Family, found: Sequence[Ranking], reported: Sequence[Entry]) -> Iterator[str]:
    """Yield the table of a family's methods, those with the most evidence first.

    Args:
        family: The family.
        found: The rankings of its pairs.
        reported: Published numbers for its models.
    """
    cards = {offer.value.name: offer.value for offer in registry().methods.values()}
    measured = dict.fromkeys(row["method"] for one in found for row in one.methods)
    names = {method_in(label) for label in measured} | {PLAIN}
    distil = {name: card for name, card in cards.items() if card.kind == "distillation"}
    absent = [name for name, card in distil.items() if family in card.families and name not in names]
    lines = []
    for label in sorted([*measured, *absent], key=lambda label: _place(label, found, reported)):
        rows = [one.row(label) for one in found]
        cells = [*map(_measured, rows), _median(published(label, reported)), _time(rows)]
        lines.append([_linked(label, cards), *cells])
    titles = ["method", *(f"{called(one, found)}, {one.metric}" for one in found), "papers", "time"]
    yield markdown_table(titles, lines, f"l{'r' * (len(titles) - 1)}") + "\n"


def _place(label: str, found: Sequence[Ranking], reported: Sequence[Entry]) -> tuple[object, ...]:
    """Return a sort key: number of better minus number of worse verdicts, mean difference, median of the papers."""
    rows = [row for one in found if (row := one.row(label)) is not None]
    verdicts = [row["verdict"] for row in rows]
    gains = [row["difference"] for row in rows if not math.isnan(row["difference"])]
    here, there = (median(values) if values else -math.inf for values in (gains, published(label, reported)))
    return verdicts.count("worse") - verdicts.count("better"), -here, -there, label


def _measured(row: Row | None) -> str:
    if row is None or math.isnan(row["difference"]):
        return ""
    return f"**{gain(row)}**" if row["verdict"] in ("better", "worse") else percent(row["difference"], "+")


def _time(rows: Sequence[Row | None]) -> str:
    return cost_range(
        {row["pair"]: row["time_ratio"] for row in rows if row is not None and row["time_ratio"] > 0}
    )


def _linked(label: str, cards: Mapping[str, MethodCard]) -> str:
    name = method_in(label)
    return f"[{escape(label)}](methods.md#{name})" if name in cards else escape(label)


def published(label: str, reported: Sequence[Entry]) -> list[float]:
    """Return a selector's published differences in points."""
    results = [entry.result for entry in reported if entry.label == label]
    return [
        float(one.difference)
        for one in results
        if one.difference is not None and one.row["metric"] in METRICS
    ]


def _median(gains: Sequence[float]) -> str:
    """Return the median, range and number of differences; blank for none."""
    if len(gains) < 2:
        return "".join(f"{gain:+.1f}" for gain in gains)
    return f"{median(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f}, {len(gains)} results)"
