"""Writes the page: a folder with index.html, which has everything in it, and the pictures as files for papers."""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from kdbench.errors import UserError
from kdbench.results.across import ACROSS_LEGEND, across, cells
from kdbench.results.evaluations import evaluations
from kdbench.results.formats import gain, legend, percent, pieces, times
from kdbench.results.html.columns import anchor, published_table
from kdbench.results.html.methods import options, page_methods
from kdbench.results.html.sections import Figure, left_out_notes, section, shared_rankings
from kdbench.results.naming import method_in
from kdbench.results.pages import write_pages
from kdbench.results.papers import TAGS
from kdbench.results.query import BENCHMARK, Source, nothing_to_rank, sources
from kdbench.results.record import Record
from kdbench.results.reported_table import REPORTED_HEADING, REPORTED_NOTE
from kdbench.results.store import Broken, Store
from kdbench.text import printable

Read = tuple[Sequence[Record], Sequence[Broken]]
"""The records of a store, and its files that could not be read."""
TEMPLATES = files("kdbench.results.html") / "templates"


def write_page(
    results_root: Path, output: Path, targets: Sequence[str] = (), read: Read | None = None
) -> Path:
    """Write the page of the records under ``results_root``; the same records give the same bytes.

    Args:
        results_root: Folder that has ``records``.
        output: Folder for ``index.html`` and ``figures/*.svg``; made if it does not exist.
        targets: Names of datasets and paths of benchmark files to show, in this order; default: all datasets by
            name. A benchmark shows its own methods, pairs and seeds, including those that were not run.
        read: The records under ``results_root`` and its broken files, if they were read before.

    Returns:
        The file ``index.html``.

    Raises:
        UserError: If there is nothing to rank, two targets have the same ranking, a benchmark file is bad, or the
            folder cannot be written.
    """
    records, broken = Store(results_root).records() if read is None else read
    found = sources(targets, records)
    _refuse(targets, found, results_root, records)
    shown = [(ranking, source.benchmark) for source in found.values() for ranking in source.rankings]
    sections = [section(one, f"ranking-{place}", title) for place, (one, title) in enumerate(shown, 1)]
    rankings = [ranking for ranking, _ in shown]
    counted = {id(record): record for source in found.values() for record in source.records}
    missing = sum(row["missing"] for ranking in rankings for row in ranking.rows)
    whole = across(rankings)
    compared = shared_rankings(whole)
    html = _html(
        sections=sections,
        across=whole,
        across_legend=ACROSS_LEGEND,
        compared=compared,
        methods=page_methods(sections),
        left_out=left_out_notes(counted.values(), len(broken), missing),
        legend=legend(rankings),
        reported={
            "table": published_table(),
            "name": "reported",
            "title": REPORTED_HEADING,
            "caption": REPORTED_HEADING,
            "note": REPORTED_NOTE,
        },
        tags=TAGS,
        evaluations=evaluations(records, {ranking.first["dataset"] for ranking in rankings}),
    )
    pictures = [one.figures for one in compared] + [one.figures for one in sections]
    _write(output, html, list(chain.from_iterable(pictures)))
    return output / "index.html"


def _refuse(
    targets: Sequence[str], found: Mapping[str, Source], root: Path, records: Sequence[Record]
) -> None:
    """Refuse a dataset without a ranking, no ranking at all, and a ranking that two targets have."""
    for name in targets:
        if not name.endswith(BENCHMARK) and name not in found:
            raise nothing_to_rank(root, [one for one in records if one.dataset == name], name)
    if not found:
        raise nothing_to_rank(root, records)
    shown: dict[tuple[str, ...], str] = {}
    for name, source in found.items():
        for key in dict.fromkeys(ranking.key for ranking in source.rankings):
            if key in shown:
                what = f"{key[0]}: {key[1]}"
                raise UserError(
                    f"'{shown[key]}' and '{name}' both rank {what}: make a page for each, else it counts twice."
                )
            shown[key] = name


def _write(output: Path, html: str, figures: Sequence[Figure]) -> None:
    """Write the folder, and remove pictures of an earlier page that this one does not have."""
    wanted = {output / figure.file: figure.svg for figure in figures}
    write_pages({output / "index.html": html, **wanted})
    for pattern in ("ranking-*.svg", "across-*.svg"):
        for old in (output / "figures").glob(pattern):
            if old not in wanted:
                old.unlink()


def _html(**values: Any) -> str:
    script, style = _template("page.js"), _template("page.css")
    page = _environment().get_template("page.html.j2")
    return page.render(
        **values,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"web": web, "breakable": breakable, "anchor": anchor, "options": options}
    environment.filters |= {"gain": gain, "times": times, "percent": percent, "cells": cells}
    environment.filters |= {"cleandoc": inspect.cleandoc, "method_in": method_in}
    return environment


def visible(value: Any) -> Any:
    """Replace the invisible characters of a text, except line breaks, before a template prints it."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value, keep="\n")


def breakable(selector: str) -> Markup:
    """Return a selector as HTML that a narrow column breaks between its parts rather than inside a word."""
    return Markup("<wbr>").join(pieces(visible(selector)))


def web(link: str) -> str:
    """Return a link if it is http or https with a host; else an empty text."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return link if parts.scheme in ("http", "https") and parts.netloc else ""


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash by which a content security policy allows a text of the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
