"""Writes the folder of the page: index.html with everything in it, and the pictures as files for papers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from kdbench.errors import UserError
from kdbench.results.evaluations import evaluations
from kdbench.results.formats import legend, pieces
from kdbench.results.html.across import overall
from kdbench.results.html.methods import methods
from kdbench.results.html.reported import reported
from kdbench.results.html.sections import Figure, left_out, section
from kdbench.results.pages import write_pages
from kdbench.results.papers import TAGS
from kdbench.results.query import BENCHMARK, Source, sources
from kdbench.results.record import Record
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
        results_root: Folder that holds ``records``.
        output: Folder to write ``index.html`` and ``figures/*.svg`` into; made if it is not there.
        targets: Names of datasets and paths of benchmark files to show, in this order; default: all datasets, by
            name. Of a benchmark its own methods, pairs and seeds are shown, also those that were not run.
        read: The records under ``results_root`` and its broken files, where they are read already.

    Returns:
        The file ``index.html``.

    Raises:
        UserError: When there is nothing to rank, two targets show one ranking, a benchmark file is bad, or the
            folder cannot be written.
    """
    records, broken = Store(results_root).records() if read is None else read
    found = sources(targets, records)
    _refuse(targets, found, results_root)
    shown = [(ranking, source.benchmark) for source in found.values() for ranking in source.rankings]
    sections = [section(one, f"ranking-{place}", title) for place, (one, title) in enumerate(shown, 1)]
    rankings = [ranking for ranking, _ in shown]
    missing = sum(row["missing"] for ranking in rankings for row in ranking.rows)
    whole = overall(rankings)
    html = _html(
        sections=sections,
        across=whole,
        methods=methods(sections),
        left_out=left_out(_counted(found), len(broken), missing),
        legend=legend(rankings),
        reported=reported(),
        tags=TAGS,
        evaluations=evaluations(records, {ranking.first["dataset"] for ranking in rankings}),
    )
    figures = [*(whole.figures if whole else ()), *(f for one in sections for f in one.figures)]
    _write(output, html, figures)
    return output / "index.html"


def _refuse(targets: Sequence[str], found: Mapping[str, Source], root: Path) -> None:
    """Refuse a dataset without a ranking, no ranking at all, and one ranking in two targets."""
    for name in targets:
        if not name.endswith(BENCHMARK) and name not in found:
            raise UserError(
                f"no ranking of '{name}' in {root}: smoke runs and teachers alone are never ranked. "
                f"Make one with `kdbench run --method mimic --dataset {name}`."
            )
    if not found:
        raise UserError(
            f"no records to rank in {root}: make some with `kdbench run --method mimic --dataset digits`."
        )
    shown: dict[tuple[str, ...], str] = {}
    for name, source in found.items():
        for key in dict.fromkeys(ranking.key for ranking in source.rankings):
            if key in shown:
                what = f"{key[0]}: {key[1]}"
                raise UserError(
                    f"'{shown[key]}' and '{name}' both rank {what}: make a page for each, else it counts twice."
                )
            shown[key] = name


def _counted(found: Mapping[str, Source]) -> list[Record]:
    """Return the records that the rankings are about, each once."""
    about = [
        record
        for source in found.values()
        for record in source.records
        if source.benchmark or record.dataset in {one.first["dataset"] for one in source.rankings}
    ]
    return list({id(record): record for record in about}.values())


def _write(output: Path, html: str, figures: Sequence[Figure]) -> None:
    """Write the folder and remove pictures of an earlier page that this one lacks."""
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
    environment.filters |= {"web": web, "breakable": breakable}
    return environment


def visible(value: Any) -> Any:
    """Return a value as a template prints it, without characters that are neither visible nor a line break."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value, keep="\n")


def breakable(selector: str) -> Markup:
    """Return a selector as HTML that a narrow column breaks between its parts before it breaks a word."""
    return Markup("<wbr>").join(pieces(visible(selector)))


def web(link: str) -> str:
    """Return the link if it is one that a page may have: http or https with a host; else empty."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return link if parts.scheme in ("http", "https") and parts.netloc else ""


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names a text that the page holds."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
