"""Prunes the teacher to the size of the pair's student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kdbench.api import Batch, Compression, UserError
from kdbench_papers.channel_pruning.card import PruningOptions
from kdbench_papers.channel_pruning.groups import ADVICE, Group, groups_of
from kdbench_papers.channel_pruning.pruning import Pruning
from kdbench_papers.channel_pruning.tracing import mixes


class ChannelPruning(Compression[PruningOptions]):
    """The student starts as what is left of the teacher."""

    @property
    def images(self) -> int:
        """As the options say."""
        return self.options.images

    def start(self, student: nn.Module, teacher: nn.Module, batches: Sequence[Batch]) -> list[str]:
        """Find the channels that layers share, take out those that the student lacks, and load what is left."""
        wanted, own = _widths(student), _widths(teacher)
        if lacking := sorted(student.state_dict().keys() ^ teacher.state_dict().keys()):
            where = "student" if lacking[0] in teacher.state_dict() else "teacher"
            raise UserError(f"channel-pruning: the {where} has no {lacking[0]}: {ADVICE}")
        groups = groups_of(teacher, wanted, batches[0])
        fixed = [name for name in own if own[name] == wanted[name]]
        pruning = Pruning(teacher, fixed, batches, self.options.positions)
        for group in groups:
            pruning.prune(group)
        pruning.into(student)
        return [_told(groups)]


def _widths(model: nn.Module) -> dict[str, int]:
    """Return full layer -> number of its outputs."""
    layers: dict[str, Any] = dict(model.named_modules())
    return {name: len(layer.weight) for name, layer in layers.items() if mixes(layer)}


def _told(groups: Sequence[Group]) -> str:
    sizes = {f"{group.channels} to {group.keep}" for group in groups}
    shared = sum(len(group.producers) for group in groups)
    told = ", ".join(sorted(sizes, key=lambda size: int(size.split()[0])))
    return (
        f"{len(groups)} groups of channels of {shared} layers pruned: {told}"
        if groups
        else "nothing to prune"
    )
