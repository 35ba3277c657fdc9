"""The papers: one folder each, with its card, losses, wiring and published numbers."""

from __future__ import annotations

from kdbench.api import MethodCard, hookimpl
from kdbench_papers.chen.card import CARD as CHEN
from kdbench_papers.fine_grained.card import CARD as FINE_GRAINED
from kdbench_papers.fitnets.card import CARD as FITNETS
from kdbench_papers.hinton.card import CARD as HINTON
from kdbench_papers.mimic.card import CARD as MIMIC
from kdbench_papers.none.card import CARD as NONE
from kdbench_papers.quantization_mimic.card import CARD as QUANTIZATION_MIMIC
from kdbench_papers.structured.card import CARD as STRUCTURED


@hookimpl
def kdbench_methods() -> list[MethodCard]:
    """Provide the plain student first, then the papers by year."""
    return [NONE, HINTON, FITNETS, CHEN, MIMIC, QUANTIZATION_MIMIC, FINE_GRAINED, STRUCTURED]
