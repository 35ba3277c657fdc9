"""What the page says of each ranking, ready for the templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from kdbench.results.answer import Answer, answer
from kdbench.results.board import Ranking
from kdbench.results.formats import notes, percent
from kdbench.results.html.columns import PageTable, anchor, table
from kdbench.results.pages import models
from kdbench.results.plots import PerClass, Picture, cost, curves, intervals, paper, per_class
from kdbench.results.plots.classes import colour
from kdbench.results.record import Record
from kdbench.results.row import TEACHER_ROW
from kdbench.specs import PLAIN

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
    """A picture in the page and as a file.

    Attributes:
        name: Its id in the page.
        caption: What to see in it.
        picture: The plot.
    """

    name: str
    caption: str
    picture: Picture

    @cached_property
    def inline(self) -> Markup:
        """The ``<svg>`` element, as an XML writer escaped it."""
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
class Heat:
    """The heat map as a table; a cell is its text and its background."""

    metric: str
    classes: tuple[str, ...]
    rows: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class Section:
    """A ranking in the page.

    Attributes:
        name: Its id in the page.
        ranking: What it shows.
        table: Its table.
        figures: Its pictures.
        heat: Its heat map, or None.
        benchmark: Title of the benchmark whose cells alone it shows; blank for all cells of a dataset.
    """

    name: str
    ranking: Ranking
    table: PageTable
    figures: list[Figure]
    heat: Heat | None
    benchmark: str = ""

    @property
    def title(self) -> str:
        """Dataset and pair."""
        return f"{self.ranking.first['dataset']}: {self.ranking.first['pair']}"

    @property
    def caption(self) -> str:
        """What its table shows."""
        return f"{self.title}, {self.ranking.metric} x100"

    @property
    def models(self) -> str:
        """What the pair is, in words; blank where nothing was run."""
        records = (cell for row in self.ranking.rows if row["method"] != TEACHER_ROW for cell in row.cells)
        return next((str(record.spec["pair"].get("title", "")) for record in records), "")

    @property
    def setting(self) -> str:
        """What else makes it a ranking of its own."""
        row = self.ranking.first
        teacher = f"teacher {row['teacher']}" if row["teacher"] else ""
        recipe = f"recipe {row['recipe']}" if row["recipe"] else "not run"
        scope = f"only what the benchmark '{self.benchmark}' asks for" if self.benchmark else ""
        parts = (self.models, f"{row['schedule']} schedule", recipe, teacher, scope)
        return "; ".join(part for part in parts if part)

    @property
    def levels(self) -> str:
        """Scores of the plain student and the teacher."""
        plain, teacher = (percent(self.ranking.level(name)) for name in (PLAIN, TEACHER_ROW))
        return f"plain student {plain or 'not run'}, teacher {teacher or 'not known'}"

    @property
    def notes(self) -> str:
        """What its intervals are from, what makes it doubtful, and what its models cost."""
        return " ".join([*notes(self.ranking), *models(self.ranking)])

    @property
    def measured(self) -> bool:
        """Whether any student has a result."""
        return any(row["seeds"] for row in self.ranking.rows if row["method"] != TEACHER_ROW)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Verdict -> rows, the most telling first."""
        found = Counter(row["verdict"] for row in self.ranking.methods)
        order = ("better", "worse", "no evidence", "cannot tell", "one seed")
        known = [(word, found.pop(word)) for word in order if word in found]
        return known + sorted(found.items())

    @property
    def answer(self) -> Answer | None:
        """The method to try first here; None where none is better."""
        return answer(self.ranking)

    @property
    def card(self) -> str:
        """Id of that method's card."""
        return "" if self.answer is None else anchor(self.answer.method)


def section(ranking: Ranking, name: str, benchmark: str = "") -> Section:
    """Return what the page shows of a ranking.

    Args:
        ranking: The ranking.
        name: An id for it: letters, digits and dashes.
        benchmark: Title of the benchmark that it is restricted to; blank for a dataset.
    """
    figures = []
    for kind, (caption, plot) in PLOTS.items():
        picture = plot(ranking)
        if picture is not None:
            figures.append(Figure(f"{name}-{kind}", caption, picture))
    found = per_class(ranking)
    heat = None if found is None else _heat(found)
    return Section(name, ranking, table(ranking), figures, heat, benchmark)


def _heat(found: PerClass) -> Heat:
    rows = [
        (name, [(percent(value, "+"), _css(value, found.largest)) for value in values])
        for name, values in found.differences.items()
    ]
    return Heat(found.metric, found.classes, rows)


def _css(value: float, largest: float) -> str:
    if value != value:
        return ""
    red, green, blue, _ = colour(value, largest)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def left_out(records: Iterable[Record], broken: int, missing: int = 0) -> list[str]:
    """Say what the rankings leave out, a sentence each.

    Args:
        records: What the rankings were made from.
        broken: Files that could not be read.
        missing: Cells that a benchmark asks for and that were not run.
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
