"""The section of the page that has what the papers report."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.results import reported_table
from kdbench.results.html.columns import PageCell, PageColumn, PageRow, PageTable, anchor
from kdbench.results.reported_table import COLUMNS, HEADING, NOTE, Entry, entries


@dataclass(frozen=True)
class ReportedSection:
    """What the papers report, as a table of the page.

    Attributes:
        table: The table.
        name: Its id in the page.
        title: Its heading.
        note: How to read it.
    """

    table: PageTable
    name: str = "reported"
    title: str = HEADING
    note: str = NOTE

    @property
    def caption(self) -> str:
        """What its table shows."""
        return self.title


def reported() -> ReportedSection | None:
    """Return what the papers of the installed methods report; None where none reports a number."""
    found = entries()
    if not found:
        return None
    columns = [_column(column) for column in COLUMNS if column.title != "method"]
    rows = [_row(place, entry, columns) for place, entry in enumerate(found, 1)]
    return ReportedSection(PageTable(columns, [], rows, kind="Dataset"))


def _column(column: reported_table.Column) -> PageColumn:
    def cell(entry: Entry) -> PageCell:
        number = None if column.number is None else column.number(entry)
        return PageCell(column.text(entry), column.text(entry) if number is None else f"{number}")

    number, extra = column.number is not None, column.title == "note"
    return PageColumn(column.title, column.help, cell, number, extra)


def _row(place: int, entry: Entry, columns: list[PageColumn]) -> PageRow:
    cells = [column.cell(entry) for column in columns]
    words = " ".join([entry.label, *(cell.text for cell in cells)])
    return PageRow(place, entry.label, anchor(entry.method), entry.result.row["dataset"], words, cells)
