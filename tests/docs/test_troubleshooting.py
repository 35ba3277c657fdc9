"""The troubleshooting page quotes messages and options that exist in the program."""

import re

import pytest

from kdbench.specs import Schedule

from .pages import GUIDE, ROOT

PAGE = (GUIDE / "troubleshooting.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.M) + re.findall(r"^`(done with[^`]+)`$", PAGE, re.M)


def words_of(text: str) -> str:
    """Return source text with line breaks and joins of f-strings between words removed."""
    return " ".join(re.sub(r'"\s*\n\s*f?"', "", text).split())


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(words_of(path.read_text(encoding="utf-8")) for path in (ROOT / "kdbench").rglob("*.py"))


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_of_the_program(code, quote):
    for part in filter(None, quote.removeprefix("done ").split("…")):
        assert part.strip() in code


def test_the_settings_it_names_are_fields():
    named = set(re.findall(r"schedule\.(\w+)=", PAGE))
    assert named
    assert named <= set(Schedule.model_fields)
