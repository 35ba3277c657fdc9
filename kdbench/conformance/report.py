"""Reports on a method's promises: a table, JSON, and a line for a README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench import __version__
from kdbench.conformance.runner import PromiseResult
from kdbench.conformance.target import Target

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"kept": "green", "broken": "bold red", "not looked at": "yellow"}


def passed(findings: Sequence[PromiseResult]) -> bool:
    """Whether every promise is kept."""
    return all(finding.state == "kept" for finding in findings)


def summary(findings: Sequence[PromiseResult]) -> str:
    """Return the line for a README."""
    kept = sum(finding.state == "kept" for finding in findings)
    return f"kdbench conformance: {kept}/{len(findings)} (kdbench {__version__})"


def as_dict(target: Target, findings: Sequence[PromiseResult]) -> dict[str, Any]:
    """Return the report on one method as JSON values."""
    return {
        "method": target.name,
        "distribution": target.plugin.distribution,
        "version": target.plugin.version,
        "passed": passed(findings),
        "summary": summary(findings),
        "promises": [_row(finding) for finding in findings],
    }


def _row(finding: PromiseResult) -> dict[str, Any]:
    promise = finding.promise
    row: dict[str, Any] = {
        "name": promise.name,
        "says": promise.says,
        "state": finding.state,
        "seconds": round(finding.seconds, 2),
    }
    if finding.state == "broken":
        row |= {"what": finding.what, "why": promise.why, "look": promise.look}
    elif finding.what:
        row["what"] = finding.what
    return row


def lines(finding: PromiseResult) -> list[str]:
    """Describe a broken promise: what was observed, why it matters, where to look."""
    promise = finding.promise
    return [finding.what, f"why it matters: {promise.why}", f"where to look: {promise.look}"]


def show(console: Console, target: Target, findings: Sequence[PromiseResult]) -> None:
    """Print the report on one method."""
    from rich.markup import escape
    from rich.table import Table

    plugin = target.plugin
    title = f"{target.name} of {plugin.distribution} {plugin.version}"
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("promise", "", "s"):
        table.add_column(name, justify="right" if name == "s" else "left", no_wrap=True)
    table.add_column("what it says", overflow="fold")
    for finding in findings:
        state = f"[{COLOURS[finding.state]}]{finding.state}[/]"
        table.add_row(finding.promise.name, state, f"{finding.seconds:.1f}", escape(finding.promise.says))
    console.print(table)
    for finding in findings:
        if finding.state == "broken":
            console.print(f"\n[bold red]{escape(target.card.name)} breaks '{finding.promise.name}':[/]")
            for line in lines(finding):
                console.print(f"  {escape(line)}")
    console.print(f"\n{summary(findings)}\n")
