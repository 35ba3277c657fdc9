"""The public API as text: what a plugin may import, with signatures and fields.

``python tests/api_text.py`` writes it. It is the same on every Python: annotations are taken as they are written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdbench import api, hookspecs

FILE = Path(__file__).with_name("api.txt")


def text() -> str:
    """Every name of ``kdbench.api`` and every hook."""
    lines = [line for name in sorted(api.__all__) for line in described(name, getattr(api, name))]
    hooks = sorted(name for name, value in vars(hookspecs).items() if hasattr(value, "kdbench_spec"))
    lines += [f"hook {name}{signature(getattr(hookspecs, name))}" for name in hooks]
    return "\n".join(lines) + "\n"


def digest() -> str:
    """What CHANGELOG.md calls this state of the API."""
    return hashlib.sha256(text().encode()).hexdigest()[:12]


def described(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
        yield from sorted(f"    {line}" for line in members(value))
    elif callable(value) and hasattr(value, "__module__") and value.__module__.startswith("kdbench"):
        yield f"{name}{signature(value)}"
    elif name == "FAMILIES":
        yield from (f"{name}[{family}]: {' '.join(sorted(captures))}" for family, captures in value.items())
    else:
        yield name if name == "hookimpl" else f"{name} = {value!r}"


def members(kind: type) -> Iterator[str]:
    """Public fields, methods and properties that kdbench's own classes define."""
    for owner in reversed([base for base in kind.__mro__ if base.__module__.startswith("kdbench")]):
        annotations = inspect.get_annotations(owner)
        for name, annotation in annotations.items():
            if not name.startswith("_"):
                yield f"{name}: {annotation}{default(kind, name)}"
        for name, value in vars(owner).items():
            if name.startswith("_") and name != "__init__":
                continue
            if isinstance(value, property):
                yield f"{name}: property"
            elif isinstance(value, classmethod):
                yield f"classmethod {name}{signature(value.__func__)}"
            elif inspect.isfunction(value) and name not in annotations and not generated(owner, name):
                yield f"{name}{signature(value)}"


def generated(owner: type, name: str) -> bool:
    """Whether dataclasses or pydantic made it: the fields say the same."""
    return name == "__init__" and (dataclasses.is_dataclass(owner) or issubclass(owner, BaseModel))


def default(kind: type, name: str) -> str:
    if issubclass(kind, BaseModel):
        field = kind.model_fields.get(name)
        return (
            ""
            if field is None or field.is_required()
            else f" = {field.get_default(call_default_factory=True)!r}"
        )
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            if field.name == name and field.default is not dataclasses.MISSING:
                return f" = {getattr(field.default, '__name__', repr(field.default))}"
            if field.name == name and field.default_factory is not dataclasses.MISSING:
                made = repr(field.default_factory())  # which may hold an address
                return f" = {f'{field.default_factory.__name__}()' if ' at 0x' in made else made}"
    return ""


def signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(digest())
