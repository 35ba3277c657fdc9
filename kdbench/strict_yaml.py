"""YAML as users write it: a key that is given twice is a mistake, and numbers are decimal."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

INTEGER = "tag:yaml.org,2002:int"
DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")


def read(text: str | bytes) -> Any:
    """Return what a YAML text says.

    Raises:
        ValueError: If it is none, in one line that ends without a full stop.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Loader(yaml.SafeLoader):
    """Without YAML 1.1's octal (010) and sexagesimal numbers (1:30), which nobody means."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, DECIMAL if tag == INTEGER else regexp) for tag, regexp in resolvers]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping after checking its keys."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is given twice", node.start_mark
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)
