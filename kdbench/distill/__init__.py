"""How methods work: the contract, captures, adapters, losses. Pure torch, no OpenMMLab.

A plugin imports from here: ``Method``, ``Step``, ``Shapes``, ``Targets``, ``Logits``, ``adapter``.
"""

from kdbench.distill.adapters import Adapter, adapter
from kdbench.distill.captures import FAMILIES, Captures, Logits, Predictions, Shapes, Targets
from kdbench.distill.method import Method, Step

__all__ = [
    "FAMILIES",
    "Adapter",
    "Captures",
    "Logits",
    "Method",
    "Predictions",
    "Shapes",
    "Step",
    "Targets",
    "adapter",
]
