"""Text of records, plugins and methods: printable, cut, and without effect where it is shown."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.cli.screen import console, echo
from kdbench.errors import reason
from kdbench.results.contributed import add
from kdbench.results.store import Store
from kdbench.results.table import Table
from kdbench.runs.provenance import record_of
from kdbench.text import HIDDEN, LONGEST, line, printable

HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "link": "[click](javascript:alert(1))",
    "image": "![x](https://evil.example/track.png)",
    "pipe": "a|b`c`|d",
    "latex": "\\input{/etc/passwd} $x$ \\write18{id} %",
    "formula": "=cmd|'/c calc'!A1",
    "formula after a minus": "-2+3+cmd|' /C calc'!A0",
    "escape": "evil\x1b[2J\x1b[31mRED\x1b]0;title\x07\x1b]8;;https://evil.example\x1b\\link",
    "c1": "c1\x9b31mred",
    "bidi": "mimic\u202egnp.exe",
    "isolate": "a\u2067b\u2069",
    "zero width": "mi\u200bmic",
    "newline": "two\nlines\r\nthree\r",
    "nul": "nul\x00byte",
    "surrogate": "sur\ud800rogate",
    "markup": "[red]markup[/red][link=https://evil.example]x[/link][/]",
    "heading": "# heading\n- item\n\n---",
}


def table(text):
    return Table([text, "n"], [[text, "1.0"]], "lr", heading=text, note=text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_of_a_cell_acts(text):
    made = table(text)
    for shown in (made.markdown(), made.csv(), made.latex()):
        assert shown.replace("\n", "").isprintable()
        shown.encode()
    markdown = made.markdown()
    assert "<script" not in markdown
    assert "](" not in markdown
    assert len(markdown.splitlines()) == 7, "no line of its own"
    for row in made.csv().splitlines():
        assert not row.lstrip('"').startswith(("=", "-2", "@", "+"))
    assert "\\input" not in made.latex()
    assert "$x$" not in made.latex()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_of_what_is_printed_acts_on_a_terminal(text, capsys):
    echo(text)
    shown = io.StringIO()
    terminal = console(file=shown, force_terminal=True, color_system=None, width=120)
    terminal.print(table(text).rich())
    terminal.print(text, markup=False, highlight=False)
    for printed in (capsys.readouterr().out, shown.getvalue()):
        assert "\x1b" not in printed
        assert all(letter.isprintable() or letter == "\n" for letter in printed)


def test_a_console_keeps_its_own_colours():
    shown = io.StringIO()
    console(file=shown, force_terminal=True, color_system="standard").print("[red]a\x1bb[/]")
    assert shown.getvalue() == f"\x1b[31ma{HIDDEN}b\x1b[0m\n"


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_every_text_is_printable_afterwards(text):
    assert printable(text).isprintable()
    assert line(text, 20).isprintable()
    assert len(line(text, 20)) <= 20
    assert printable(printable(text)) == printable(text)


def test_reasons_are_one_short_line():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError("str fails too")

    assert reason(Silent()) == "Silent"
    assert reason(ValueError("x" * 5_000_000)).endswith("x…")
    assert len(reason(ValueError("x" * 5_000_000))) <= LONGEST
    assert reason(ValueError("\x1b[2J\x1b]0;pwned\x07evil\r\nnew line")).isprintable()


def test_a_record_s_reason_and_notes_are_printable_and_cut(lab, monkeypatch):
    monkeypatch.setattr("kdbench.runs.provenance.versions", dict)
    spec = lab.plan("none").cell
    curve = [{"iteration": 1, "AP50": 0.5}]
    notes = [*HOSTILE.values(), "x" * 5_000_000]
    record = record_of(spec, "AP50", lab.root / "\udcff", curve=curve, notes=notes, command="kdbench \x1b[2J")
    assert all(note.isprintable() and len(note) <= LONGEST for note in record.notes)
    assert (record.made.path + record.made.command).isprintable()
    failed = record_of(spec, "AP50", lab.root, reason="x\x1b" * 5_000_000)
    assert failed.reason.isprintable()
    assert len(failed.reason) <= LONGEST


def spoiled(values, text):
    """Records with a text in one place each."""
    for part in ("device", "host_class", "plugin"):
        yield part, {**values, part: text}
    yield "notes", {**values, "notes": [text]}
    yield "versions", {**values, "versions": {**values["versions"], text: "1"}}
    yield "made", {**values, "made": {**values["made"], "command": f"kdbench {text}"}}
    for part in ("method", "selector"):
        yield part, {**values, "spec": {**values["spec"], part: text}}
    yield "pair", {**values, "spec": {**values["spec"], "pair": {**values["spec"]["pair"], "name": text}}}
    yield "curve", {**values, "curve": [{**point, f"AP50/{text}": 0.5} for point in values["curve"]]}


@pytest.mark.parametrize("name", ["escape", "c1", "bidi", "zero width", "nul", "long"])
def test_records_of_others_with_such_text_are_refused_in_printable_lines(tmp_path, name):
    from samples_of_records import student, with_identity

    text = HOSTILE.get(name, "x" * 6000)
    for where, values in spoiled(student(), text):
        file = tmp_path / f"{where}.json"
        file.write_text(json.dumps(with_identity(values)))
        verdict = add([file], Store(tmp_path / "store"))
        assert not verdict.added, where
        whys = [refusal.why for refusal in verdict.refused]
        assert any("cannot be seen" in why or "letters, more than" in why for why in whys), (where, whys)
