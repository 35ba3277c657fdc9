"""Writes the folder of the page: index.html with everything in it, and the pictures as files for papers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from kdbench.errors import UserError
from kdbench.results.formats import legend
from kdbench.results.html.across import overall
from kdbench.results.html.methods import methods
from kdbench.results.html.sections import Figure, left_out, section
from kdbench.results.pages import boards, write_pages
from kdbench.results.plots import rankings
from kdbench.results.store import Store

TEMPLATES = files("kdbench.results.html") / "templates"


def write_page(results_root: Path, output: Path, datasets: list[str] | None = None) -> Path:
    """Write the page of the records under ``results_root``; the same records give the same bytes.

    Args:
        results_root: Folder that holds ``records``.
        output: Folder to write ``index.html`` and ``figures/*.svg`` into; made if it is not there.
        datasets: Which to show, in this order; default: all, by name.

    Returns:
        The file ``index.html``.

    Raises:
        UserError: When there is nothing to rank, or the folder cannot be written.
    """
    records, broken = Store(results_root).records()
    frames = boards(records)
    for name in datasets or ():
        if name not in frames:
            raise UserError(
                f"no ranking of '{name}' in {results_root}: it has {', '.join(frames) or 'none'}. "
                "Smoke runs and teachers alone are never ranked."
            )
    chosen = [frames[name] for name in datasets or frames]
    if not chosen:
        raise UserError(
            f"no records to rank in {results_root}: make some with `kdbench run --method mimic --dataset digits`."
        )
    frame = pd.concat(chosen, ignore_index=True)
    found = rankings(frame, records)
    sections = [section(ranking, f"ranking-{place}") for place, ranking in enumerate(found, 1)]
    whole = overall(frame)
    html = _html(
        sections=sections,
        across=whole,
        methods=methods(sections),
        left_out=left_out(records, len(broken), datasets),
        legend=legend(frame),
    )
    figures = [*(whole.figures if whole else ()), *(f for one in sections for f in one.figures)]
    _write(output, html, figures)
    return output / "index.html"


def _write(output: Path, html: str, figures: Sequence[Figure]) -> None:
    """The folder; pictures of an earlier page that this one has not are removed."""
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
    environment.filters["web"] = web
    return environment


def visible(value: Any) -> Any:
    """A value that a template prints; text loses what is neither visible nor a line break."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in value)


def web(link: str) -> str:
    """The link, if it is one that a page may have: http or https with a host; else empty."""
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
