"""Parameters that a method registers while it computes its losses, and tensors that its terms learn through."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from kdbench.conformance.broken import place, within


@contextmanager
def registered(package: str) -> Iterator[list[str]]:
    """Record the parameters and new buffers that are registered with any module during a block.

    Args:
        package: Top-level package of the plugin.

    Yields:
        A list that grows during the block: each registration with the plugin's line.
    """
    found: list[str] = []

    def note(what: str, name: str) -> None:
        lines = [frame for frame in traceback.extract_stack() if within(frame.filename, package)]
        found.append(f"the {what} '{name}'{f' ({place(lines[-1])})' if lines else ''}")

    def parameter(_module: nn.Module, name: str, value: Any) -> None:
        if value is not None:
            note("parameter", name)

    def buffer(module: nn.Module, name: str, value: Any) -> None:
        if value is not None and module._buffers.get(name) is None:
            note("buffer", name)

    with ExitStack() as hooks:
        hooks.callback(register_module_parameter_registration_hook(parameter).remove)
        hooks.callback(register_module_buffer_registration_hook(buffer).remove)
        yield found


def learning_leaves(term: Tensor) -> list[Tensor]:
    """Return the leaf tensors to which a backward pass of a term gives a gradient, in order of traversal."""
    if term.grad_fn is None:
        return [term] if term.requires_grad else []
    found: list[Tensor] = []
    seen, left = {term.grad_fn}, [term.grad_fn]
    while left:
        node = left.pop()
        if (variable := getattr(node, "variable", None)) is not None:
            found.append(variable)
        parents = dict.fromkeys(parent for parent, _ in node.next_functions if parent is not None)
        fresh = [parent for parent in parents if parent not in seen]
        seen.update(fresh)
        left += reversed(fresh)
    return found
