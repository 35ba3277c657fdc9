"""FitNets: Hints for Thin Deep Nets (Romero et al.; ICLR 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.fitnets.losses import hint_loss

__all__ = ["hint_loss"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)
