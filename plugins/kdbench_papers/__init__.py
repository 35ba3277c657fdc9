"""The papers: one folder each, with its card, losses, wiring and published numbers."""

from __future__ import annotations

from kdbench.api import MethodCard, hookimpl
from kdbench_papers.at.card import CARD as AT
from kdbench_papers.bckd.card import CARD as BCKD
from kdbench_papers.binary_weights.card import CARD as BINARY_WEIGHTS
from kdbench_papers.channel_pruning.card import CARD as CHANNEL_PRUNING
from kdbench_papers.chen.card import CARD as CHEN
from kdbench_papers.cirkd.card import CARD as CIRKD
from kdbench_papers.crosskd.card import CARD as CROSSKD
from kdbench_papers.defeat.card import CARD as DEFEAT
from kdbench_papers.dist.card import CARD as DIST
from kdbench_papers.dkd.card import CARD as DKD
from kdbench_papers.fbkd.card import CARD as FBKD
from kdbench_papers.fgd.card import CARD as FGD
from kdbench_papers.fine_grained.card import CARD as FINE_GRAINED
from kdbench_papers.fitnets.card import CARD as FITNETS
from kdbench_papers.gid.card import CARD as GID
from kdbench_papers.hinton.card import CARD as HINTON
from kdbench_papers.ifvd.card import CARD as IFVD
from kdbench_papers.ld.card import CARD as LD
from kdbench_papers.mgd.card import CARD as MGD
from kdbench_papers.mimic.card import CARD as MIMIC
from kdbench_papers.none.card import CARD as NONE
from kdbench_papers.quantization_mimic.card import CARD as QUANTIZATION_MIMIC
from kdbench_papers.reviewkd.card import CARD as REVIEWKD
from kdbench_papers.structured.card import CARD as STRUCTURED

BY_YEAR = [HINTON, FITNETS, AT, CHEN, MIMIC, QUANTIZATION_MIMIC, FINE_GRAINED, STRUCTURED, IFVD]
BY_YEAR += [DEFEAT, FBKD, GID, REVIEWKD, CIRKD, DIST, DKD, FGD, LD, MGD, BCKD, CROSSKD]

COMPRESSIONS = [BINARY_WEIGHTS, CHANNEL_PRUNING]


@hookimpl
def kdbench_methods() -> list[MethodCard]:
    """Return the plain student first, then the papers by year, then the rivals of distillation."""
    return [NONE, *BY_YEAR, *COMPRESSIONS]
