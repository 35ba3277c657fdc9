"""The sections of the page: one for each ranking, and the comparisons over several rankings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from kdbench.results.across import Across
from kdbench.results.board import Ranking
from kdbench.results.formats import notes, percent, ties
from kdbench.results.html.columns import PageTable, PerClass, per_class, ranking_table
from kdbench.results.pages import model_notes
from kdbench.results.plots import Picture, cost, curves, intervals, paper, rank_diagram
from kdbench.results.record import Record
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.results.statistics import ALPHA
from kdbench.specs import PLAIN

CAPTION = "Critical-difference diagram: a bar joins methods whose average ranks are not told apart."
PLOTS: dict[str, tuple[str, Callable[[Ranking], Picture | None]]] = {
    "intervals": (
        "Difference to the plain student: the bar is the 95 % interval, the large mark the mean, a dot a seed.",
        lambda ranking: intervals([ranking]),
    ),
    "cost": (
        "Accuracy against cost. The line joins what no other method beats in both, by the means; "
        "0 is the plain student, and green and red mark evidence.",
        cost,
    ),
    "curves": ("Training curves, one line a seed; dashed is the plain student.", curves),
    "paper": ("The paper's own difference beside the measured one, in another setting.", paper),
}


@dataclass(frozen=True)
class Figure:
    """A picture, in the page and as a file.

    Attributes:
        name: Its id in the page.
        caption: Its caption.
        picture: The plot.
    """

    name: str
    caption: str
    picture: Picture

    @cached_property
    def inline(self) -> Markup:
        """The ``<svg>`` element, escaped by an XML writer."""
        return Markup(self.picture.inline(self.name))

    @cached_property
    def svg(self) -> str:
        """The SVG file."""
        return self.picture.svg()

    @property
    def file(self) -> str:
        """Its path in the page's folder."""
        return f"figures/{self.name}.svg"


@dataclass(frozen=True)
class Section:
    """A ranking in the page.

    Attributes:
        name: Its id in the page.
        ranking: The ranking.
        table: Its table.
        figures: Its pictures.
        heat: Its differences by class, or None.
        benchmark: Title of the benchmark that it is restricted to; blank for all cells of a dataset.
    """

    name: str
    ranking: Ranking
    table: PageTable[Row]
    figures: list[Figure]
    heat: PerClass | None
    benchmark: str = ""

    @property
    def title(self) -> str:
        """Dataset and pair."""
        return f"{self.ranking.first['dataset']}: {self.ranking.first['pair']}"

    @property
    def caption(self) -> str:
        """The caption of its table."""
        return f"{self.title}, {self.ranking.metric} x100"

    @property
    def models(self) -> str:
        """The title of the pair; blank if nothing was run."""
        records = (cell for row in self.ranking.rows if row["method"] != TEACHER_ROW for cell in row.cells)
        return next((str(record.spec["pair"].get("title", "")) for record in records), "")

    @property
    def setting(self) -> str:
        """What distinguishes it from other rankings of the pair."""
        row = self.ranking.first
        teacher = f"teacher {row['teacher']}" if row["teacher"] else ""
        recipe = f"recipe {row['recipe']}" if row["recipe"] else "not run"
        scope = f"only what the benchmark '{self.benchmark}' asks for" if self.benchmark else ""
        parts = (self.models, f"{row['schedule']} schedule", recipe, teacher, scope)
        return "; ".join(part for part in parts if part)

    @property
    def levels(self) -> str:
        """The scores of the plain student and the teacher."""
        plain, teacher = (percent(self.ranking.level(name)) for name in (PLAIN, TEACHER_ROW))
        return f"plain student {plain or 'not run'}, teacher {teacher or 'not known'}"

    @property
    def notes(self) -> str:
        """The basis of its intervals, doubts about it, and the costs of its models."""
        return " ".join([*notes(self.ranking), *model_notes(self.ranking)])

    @property
    def measured(self) -> bool:
        """Whether any student has a result."""
        return any(row["seeds"] for row in self.ranking.rows if row["method"] != TEACHER_ROW)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Each verdict with its number of rows, the most important first."""
        found = Counter(row["verdict"] for row in self.ranking.methods)
        order = ("better", "worse", "no evidence", "cannot tell", "one seed")
        known = [(word, found.pop(word)) for word in order if word in found]
        return known + sorted(found.items())

    @property
    def ties(self) -> str:
        """How many methods the seeds do not tell from the first choice; blank without one."""
        choice = self.ranking.first_choice
        return "" if choice is None else ties(self.ranking, choice["method"])


def section(ranking: Ranking, name: str, benchmark: str = "") -> Section:
    """Return the section of a ranking.

    Args:
        ranking: The ranking.
        name: Its id: letters, digits and dashes.
        benchmark: Title of the benchmark that it is restricted to; blank for a dataset.
    """
    figures = []
    for kind, (caption, plot) in PLOTS.items():
        picture = plot(ranking)
        if picture is not None:
            figures.append(Figure(f"{name}-{kind}", caption, picture))
    return Section(name, ranking, ranking_table(ranking), figures, per_class(ranking), benchmark)


class SharedRankings(NamedTuple):
    """The methods that were run in the same rankings.

    Attributes:
        rows: Their rows of the comparison.
        friedman: Friedman's test in a sentence.
        figures: The critical-difference diagram, if there is one.
    """

    rows: Sequence[Mapping[str, Any]]
    friedman: str
    figures: list[Figure]


def shared_rankings(found: Across) -> list[SharedRankings]:
    """Return the comparisons over rankings, each with its diagram."""
    return [_shared(rows, f"across-{place}") for place, rows in enumerate(found.comparisons, 1)]


def _shared(rows: Sequence[Mapping[str, Any]], name: str) -> SharedRankings:
    first = rows[0]
    average = {row["method"]: row["average_rank"] for row in rows}
    picture = rank_diagram(average, first["critical_difference"], first["rankings"])
    p = first["friedman_p"]
    chance = "no evidence that any two differ: the ranks may be chance"
    meaning = "the methods differ" if p < ALPHA else chance
    friedman = f"Friedman's test over {first['rankings']} rankings: p = {p:.3f}, {meaning}."
    return SharedRankings(rows, friedman, [] if picture is None else [Figure(name, CAPTION, picture)])


def left_out_notes(records: Iterable[Record], broken: int, missing: int = 0) -> list[str]:
    """Return a sentence for each kind of record that the rankings leave out.

    Args:
        records: The records of the rankings.
        broken: Number of files that could not be read.
        missing: Number of cells that a benchmark asks for and that were not run.
    """
    records = list(records)
    smoke = sum(record.schedule == "smoke" for record in records)
    unfinished = sum(not record.done for record in records if record.schedule != "smoke")
    told = {
        "smoke run": (smoke, "never ranked"),
        "run that failed, timed out or was skipped": (unfinished, "counted in its row, never averaged"),
        "run that a benchmark asks for and has no record": (missing, "counted in its row, never averaged"),
        "record file that cannot be read": (broken, "left out; `kdbench leaderboard` names it"),
    }
    return [f"{count} {_plural(what, count)}: {why}." for what, (count, why) in told.items() if count]


def _plural(words: str, count: int) -> str:
    head, _, rest = words.partition(" that ")
    many = f"{head}s" if count > 1 else head
    return f"{many} that {rest}" if rest else many
