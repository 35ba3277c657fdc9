"""Selectors: ``mimic[pooling=crop,weight=2]`` names a method and its options, and can be pasted back.

``cwd[where=logits]+mgd`` names the sum of two methods, see :mod:`kdbench.combined`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any

import yaml
from pydantic import ValidationError

from kdbench.cards import ExecutorCard, MethodCard, Options
from kdbench.combined import PLUS, CombinedCard, by_method
from kdbench.errors import UserError
from kdbench.plugins import registry, suggestion
from kdbench.text import line

SELECTOR = re.compile(r"\s*([^\s\[\]=,]+)\s*(?:\[(.*)\])?\s*", re.DOTALL)
PART = re.compile(r"\"(?:[^\"\\]|\\.)*\"|[\[{]|[\]}]|[,+]|[^\"\[{\]},+]+|\"", re.DOTALL)
BARE = re.compile(r"[A-Za-z0-9_./:+-]+")


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Split a selector into the method's name and its options as written.

    A comma inside a value must be inside brackets or double quotes: ``stages=[2,3]``. The name of a sum,
    ``mgd+cwd[tau=4]``, lists the methods alphabetically, ``cwd+mgd``, and its options are named ``cwd.tau``.

    Raises:
        UserError: If the text is not ``name`` or ``name[option=value,...]`` or a sum of these, names a method of a
            sum twice, or has unprintable characters.
    """
    if not "".join(text.split()).isprintable():
        raise UserError(f"'{line(text)}' has characters that cannot be seen: leave them out.")
    parts = sorted((_parse_one(part, text) for part in methods_in(text)), key=itemgetter(0))
    if len(parts) == 1:
        return parts[0]
    names = [name for name, _ in parts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"'{twice[0]}' stands twice in '{text}': a sum has each method once.")
    return PLUS.join(names), {f"{name}.{key}": value for name, raw in parts for key, value in raw.items()}


def methods_in(text: str) -> list[str]:
    """Return the selectors of the methods in a sum, as typed; for a single method, the text itself."""
    with suppress(UserError):
        return list(split(text, text, at=PLUS)) or [text]
    return [text]


def _parse_one(part: str, text: str) -> tuple[str, dict[str, str]]:
    match = SELECTOR.fullmatch(part)
    if match is None:
        raise UserError(f"'{text}' is not a selector: write name or name[option=value,option=value].")
    name, inside = match.groups()
    raw: dict[str, str] = {}
    for part in split(inside or "", text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(f"'{part.strip()}' in '{text}' is not option=value (a list is written [a,b]).")
        if key in raw:
            raise UserError(f"option '{key}' is given twice in '{text}'.")
        raw[key] = value
    return name, raw


def resolve(card: MethodCard | ExecutorCard, raw: Mapping[str, str]) -> Options:
    """Validate options, as written in a selector, against a card.

    Raises:
        UserError: One line that names each unknown option, wrong type or value out of range.
    """
    if isinstance(card, CombinedCard):
        return _resolve_sum(card, raw)
    for key in raw:
        if key not in card.options.model_fields:
            raise UserError(f"{card.name} has no option '{key}'.{suggestion(key, card.options.model_fields)}")
    readings = {key: _readings(text) for key, text in raw.items()}
    values = {key: reading[0] for key, reading in readings.items()}
    try:
        return card.options.model_validate(values)
    except ValidationError as error:
        failed = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        second = {key: readings[key][-1] if key in failed else value for key, value in values.items()}
        try:
            return card.options.model_validate(second)
        except ValidationError:
            raise UserError(f"{card.name}: {_explain(error, raw)}.") from None


def _resolve_sum(card: CombinedCard, raw: Mapping[str, str]) -> Options:
    """Validate the options of each method in a sum, then whether they can be combined."""
    values: dict[str, Any] = {}
    own = {typed.rpartition(":")[2]: options for typed, options in by_method(raw).items()}
    for name, part in card.parts.items():
        options = resolve(part, own.get(name.rpartition(":")[2], {}))
        values |= {f"{name}.{key}": getattr(options, key) for key in part.options.model_fields}
    try:
        return card.options.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{card.name}: {_explain(error, {})}: run them one by one.") from None


def method_of(selector: str) -> tuple[MethodCard, Options]:
    """Return the card and the validated options of a selector such as ``my-method[weight=0.5]``.

    Raises:
        UserError: If no plugin provides the method, or the options are invalid.
    """
    name, raw = parse(selector)
    card = registry().method(name).value
    return card, resolve(card, raw)


def canonical(card: MethodCard, options: Options) -> str:
    """Return the selector of these options: the name and the options that differ from the defaults, sorted.

    ``resolve(card, parse(canonical(card, options))[1]) == options``.
    """
    return selector_of(card.name, options.model_dump(mode="json", exclude_defaults=True))


def selector_of(name: str, options: Mapping[str, Any]) -> str:
    """Return the selector of a method with these options, given as JSON values."""
    if PLUS in name:
        own = by_method(options)
        return PLUS.join(selector_of(part, own.get(part, {})) for part in name.split(PLUS))
    inside = ",".join(f"{key}={_text(value)}" for key, value in sorted(options.items()))
    return f"{name}[{inside}]" if inside else name


def says(text: str, value: Any) -> bool:
    """Whether the text of an option in a selector stands for a JSON value."""
    if text == _text(value) or (isinstance(value, bool) and text == str(value)):
        return True
    return not isinstance(value, bool) and any(
        reading == value or (isinstance(value, list) and reading == [str(part) for part in value])
        for reading in _readings(text)
    )


def split(inside: str, text: str, at: str = ",") -> Iterator[str]:
    """Split ``inside`` at commas (or ``at``) outside of brackets and quotes, and yield the parts.

    Raises:
        UserError: If brackets or quotes are not balanced; the message quotes ``text``.
    """
    part, depth = "", 0
    for token in PART.findall(inside):
        depth += (token in "[{") - (token in "]}")
        if token == '"' or depth < 0:
            break
        if token == at and depth == 0:
            yield part
            part = ""
        else:
            part += token
    else:
        if depth == 0:
            if part.strip() or inside.strip():
                yield part
            return
    raise UserError(f"unbalanced brackets or quotes in '{text}'.")


def _readings(text: str) -> tuple[Any, ...]:
    """Return the possible values of a text, the most likely first: JSON or a flow list, then the bare word.

    A boolean stays a word and is only parsed by pydantic for a boolean option: ``weight=true`` must not become 1.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return (_flow(text),) if text[0] in "[{" else (text,)
    return (text,) if isinstance(value, bool) else (value, text)


def _flow(text: str) -> Any:
    """Parse a list of bare words. They stay strings; pydantic converts them for options that are numbers."""
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return text


def _text(value: Any) -> str:
    """Format a value for a selector."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str) and BARE.fullmatch(value) and _readings(value) == (value,):
        return value
    return json.dumps(value, separators=(",", ":"))


def _explain(error: ValidationError, raw: Mapping[str, str]) -> str:
    messages: dict[str, list[str]] = {}
    for item in error.errors():
        key = str(item["loc"][0]) if item["loc"] else ""
        message = item["msg"].removeprefix("Value error, ")
        messages.setdefault(key, []).append(message[:1].lower() + message[1:])
    return "; ".join(
        f"option '{key}' got '{raw[key]}', but {' or '.join(texts)}" if key in raw else " or ".join(texts)
        for key, texts in messages.items()
    )
