"""``kdbench leaderboard``: the rankings of the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.cli.screen import echo, page
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.results.board import Ranking
    from kdbench.results.record import Record
    from kdbench.results.store import Broken
    from kdbench.results.table import Table

FORMATS = ["table", "csv", "markdown", "html", "parquet", "latex"]
IN_FOLDERS = ("html", "parquet")
"""Formats that are written to files only."""
FOR_PEOPLE = ("table", "markdown")
"""Text formats that also show the measurements of given weights."""


@click.command("leaderboard")
@click.argument("targets", nargs=-1, metavar="[DATASET|BENCHMARK.yaml]...")
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--output", type=options.FOLDER, metavar="DIR", help="Write files into DIR instead of printing."
)
@click.option("--sort", metavar="COLUMN", help="Sort each ranking by a column of the CSV; default: by rank.")
@click.option(
    "--methods", metavar="A,B", help="Show only these selectors, or all selectors of these methods."
)
@click.option("--across", is_flag=True, help="Compare methods over datasets and pairs, by average rank.")
@click.option("--reported", is_flag=True, help="Show the numbers of the methods' papers instead of results.")
@options.results("Folder of the records.")
@click.option("--write", is_flag=True, help="Write the leaderboards of RESULTS as markdown and CSV.")
@click.option("--check", is_flag=True, help="Exit with 1 if the written leaderboards are out of date.")
def command(
    targets: tuple[str, ...],
    style: str,
    output: Path | None,
    sort: str | None,
    methods: str | None,
    across: bool,
    reported: bool,
    results: Path,
    write: bool,
    check: bool,
) -> None:
    """Rank methods against the plain student, seed by seed, on datasets or benchmark files (default: all datasets).

    With --reported, show what the methods' papers report on these datasets, such as coco or cityscapes.
    """
    shown = {"output": output, "sort": sort, "methods": methods, "across": across, "reported": reported}
    _refuse_contradictions(targets, style, write, check, shown)
    if reported:
        _show_reported(targets, methods, sort, style, output)
    elif check:
        _check(results, targets)
    elif write:
        _write(results, targets, _records(results, targets))
    elif style == "html" and output is not None:
        _page(results, output, targets)
    else:
        records = _records(results, targets)
        further = _evaluations(records, targets) if style in FOR_PEOPLE and output is None else []
        found = _found(targets, methods, sort, records)
        if not found and not further:
            raise _nothing(targets, records, results)
        if across:
            _show_across(found, style, output)
        elif output is not None:
            from kdbench.results.pages import write_boards

            _name(write_boards(found, style, output, records))
        else:
            _show(found, style, further)


def _refuse_contradictions(
    targets: Sequence[str], style: str, write: bool, check: bool, shown: Mapping[str, object]
) -> None:
    if write and check:
        raise UserError("--write and --check exclude each other: choose one.")
    for name in [name for name, given in (("write", write), ("check", check)) if given]:
        if style != "table" or any(shown.values()):
            raise UserError(f"--{name} takes datasets and --results only, no other option.")
        if any(map(_is_file, targets)):
            raise UserError(f"--{name} takes datasets, not benchmark files.")
    if style in IN_FOLDERS and shown["output"] is None:
        raise UserError(f"--format {style} writes files: say where with --output DIR.")
    if style == "table" and shown["output"] is not None:
        raise UserError("--output needs a --format: csv, markdown, html, parquet or latex.")
    if style == "html" and any(shown[name] for name in ("sort", "methods", "across")):
        raise UserError("the page of --format html sorts and filters itself: leave the other options out.")
    if shown["reported"] and (style in IN_FOLDERS or shown["across"]):
        raise UserError(
            "--reported is printed as table, csv, markdown or latex, without --across; "
            "the page of --format html has it as a section."
        )
    if shown["across"] and shown["sort"]:
        raise UserError("--across is sorted by average rank: leave --sort out.")


def _is_file(target: str) -> bool:
    return target.endswith((".yaml", ".yml"))


def _found(
    targets: Sequence[str], methods: str | None, sort: str | None, records: Sequence[Record]
) -> dict[str, list[Ranking]]:
    """Return the rankings that the command asks for."""
    from kdbench.results.query import query

    return query(targets, records, methods=_chosen(methods), sort=sort)


def _chosen(methods: str | None) -> list[str]:
    """Return the selectors of --methods; none without the option."""
    from kdbench.selectors import split

    text = methods or ""
    chosen = [part.strip() for part in split(text, text) if part.strip()]
    if methods is not None and not chosen:
        raise UserError("--methods is empty: write --methods hinton,mimic.")
    return chosen


def _evaluations(records: Sequence[Record], targets: Sequence[str]) -> list[Table]:
    from kdbench.results.evaluations import evaluations

    return evaluations(records, targets)


def _records(results: Path, targets: Sequence[str]) -> list[Record]:
    """Return the records that the command asks for, and name broken files on standard error."""
    return _read(results, targets)[0]


def _read(results: Path, targets: Sequence[str]) -> tuple[list[Record], list[Broken]]:
    """Return the records that the command asks for and the broken files, and name these on standard error."""
    from kdbench.results.store import Store

    only = targets[0] if len(targets) == 1 and not _is_file(targets[0]) else None
    records, broken = Store(results).records(only)
    for file in broken:
        echo(str(file), err=True)
    for name in targets:
        if not _is_file(name) and not any(record.dataset == name for record in records):
            raise _nothing([name], [], results)
    return records, broken


def _nothing(targets: Sequence[str], records: Sequence[Record], results: Path) -> UserError:
    from kdbench.results.query import nothing_to_rank

    return nothing_to_rank(results, records, targets[0] if len(targets) == 1 else None)


def _write(results: Path, targets: Sequence[str], records: Sequence[Record]) -> None:
    from kdbench.results.pages import leaderboard_files, write_pages

    files = leaderboard_files(results, records, targets)
    if not files:
        raise _nothing(targets, records, results)
    _name(sorted(write_pages(files)))


def _name(paths: Sequence[Path]) -> None:
    for path in paths:
        echo(path)


def _check(results: Path, targets: Sequence[str]) -> None:
    from kdbench.files import slug
    from kdbench.results.pages import leaderboard_files, stale_pages

    files = leaderboard_files(results, _records(results, targets), targets)
    problems = stale_pages(files, results / "leaderboards", [slug(name) for name in targets])
    for problem in problems:
        echo(problem, err=True)
    if problems:
        echo("update them with `kdbench leaderboard --write`", err=True)
        click.get_current_context().exit(1)
    echo("the leaderboards are up to date")


def _page(results: Path, output: Path, targets: Sequence[str]) -> None:
    from kdbench.results.html import write_page

    echo(write_page(results, output, targets, _read(results, targets)))


def _show(found: Mapping[str, Sequence[Ranking]], style: str, further: Sequence[Table]) -> None:
    """Print the rankings, followed by further tables."""
    from kdbench.results.formats import legend, tables
    from kdbench.results.pages import TEXTS, to_markdown

    rankings = list(chain(*found.values()))
    if style != "table":
        below = f"\n{to_markdown(further)}" if further else ""
        echo(TEXTS[style](rankings) + below, nl=False)
        return
    console = page()
    for table in (*tables(rankings), *further):
        console.print(table.rich())
    if rankings:
        console.print(legend(rankings), style="dim", markup=False, highlight=False)


def _show_across(found: Mapping[str, Sequence[Ranking]], style: str, output: Path | None) -> None:
    from kdbench.results.across import across
    from kdbench.results.pages import across_text, write_across

    whole = across(list(chain(*found.values())))
    if not whole.rows:
        raise UserError(
            f"--across needs a method with results in two rankings of the default schedule; there are "
            f"{len(whole.rankings)} rankings. {whole.left_out}".rstrip()
        )
    if output is not None:
        _name(write_across(whole, style, output))
    elif style != "table":
        echo(across_text(whole, style), nl=False)
    else:
        console = page()
        for table in whole.tables():
            console.print(table.rich())
        console.print(whole.legend, style="dim", markup=False, highlight=False)


def _show_reported(
    targets: Sequence[str], methods: str | None, sort: str | None, style: str, output: Path | None
) -> None:
    """Print the numbers of papers, or write them into a folder as ``reported.csv``, ``.md`` or ``.tex``."""
    from kdbench.results.reported_table import entries, reported_table

    table = reported_table(entries(targets, _chosen(methods), sort))
    if style == "table":
        page().print(table.rich())
        return
    from kdbench.results.pages import SUFFIXES, write_pages

    text = {"csv": table.csv, "markdown": table.markdown, "latex": table.latex}[style]()
    if output is None:
        echo(text, nl=not text.endswith("\n"))
    else:
        _name(write_pages({output / f"reported{SUFFIXES[style]}": text}))
