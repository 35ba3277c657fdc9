"""Changes to a pair, as typed by the user: ``schedule.iterations=500``, ``student.backbone.depth=34``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from kdbench import strict_yaml
from kdbench.errors import ArgumentError
from kdbench.plugins import suggestion
from kdbench.specs import Schedule

MODELS = ("student", "teacher")
RECIPES = ("schedule", "teacher_schedule")
SECTIONS = (*RECIPES, *MODELS)
OWN = ("width", "roi_stage")
"""Keys of a model that are not part of its config."""
INHERIT = "inherit"
"""The only key of the pair itself that can be changed."""


class Change(NamedTuple):
    """A change to a pair.

    Attributes:
        section: One of :data:`SECTIONS`; empty for the pair itself.
        key: Key of a schedule, one of :data:`OWN`, or a dotted key of a model's config.
        value: New value of the key.
    """

    section: str
    key: str
    value: Any

    def apply(self, pair: dict[str, Any]) -> None:
        """Apply the change to a pair's JSON; keys of a model's config become edits."""
        part = pair[self.section] if self.section else pair
        (part["edits"] if self._is_edit else part)[self.key] = self.value

    def is_in(self, pair: Mapping[str, Any]) -> bool:
        """Whether a pair's JSON already has the changed value."""
        part = (pair.get(self.section) or {}) if self.section else {INHERIT: False, **pair}
        part = part.get("edits", {}) if self._is_edit else part
        if self.key not in part:
            return False
        found = part[self.key]
        if isinstance(found, float) and isinstance(self.value, str):  # YAML 1.1 reads 1e-3 as a string
            with suppress(ValueError):
                return found == float(self.value)
        return bool(found == self.value)

    @property
    def _is_edit(self) -> bool:
        return self.section in MODELS and self.key not in OWN


def change(text: str) -> Change:
    """Parse ``SECTION.key=value``, or ``inherit=true``; the value is YAML.

    Raises:
        ArgumentError: If the text is no valid change.
    """
    key, equals, written = text.partition("=")
    section, _, rest = key.strip().partition(".")
    own = key.strip() == INHERIT
    if not equals or not (own or (rest and section in SECTIONS)):
        why = f"write SECTION.key=value, SECTION one of {', '.join(SECTIONS)}, or {INHERIT}=true."
        raise ArgumentError("settings", why, text)
    try:
        value = strict_yaml.read(written)
    except ValueError as error:
        raise ArgumentError("settings", "the value is not YAML.", text) from error
    if own:
        return Change("", INHERIT, value)
    if section not in MODELS and rest not in Schedule.model_fields:
        why = f"a schedule has no '{rest}'.{suggestion(rest, Schedule.model_fields)}"
        raise ArgumentError("settings", why, text)
    return Change(section, rest, value)
