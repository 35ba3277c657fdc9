"""Anchor grids: made once for the same sizes of feature maps."""

from __future__ import annotations

from typing import Any

from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

KEPT = 16
"""Grids that a generator keeps: training at several scales has more sizes, the latest ones stay."""


class KeptAnchors(AnchorGenerator):  # type: ignore[misc]
    """mmdet's generator; what it made before, for maps of the same sizes, it gives again."""

    def grid_priors(self, featmap_sizes: Any, dtype: Any = None, device: Any = "cuda") -> list[Tensor]:
        """(H_i * W_i * A, 4) anchors of each level."""
        kwargs = {} if dtype is None else {"dtype": dtype}
        return self._kept("grid_priors", featmap_sizes, device=device, **kwargs)

    def valid_flags(self, featmap_sizes: Any, pad_shape: Any, device: Any = "cuda") -> list[Tensor]:
        """(H_i * W_i * A,) whether each anchor's cell is in the image."""
        return self._kept("valid_flags", featmap_sizes, tuple(pad_shape[:2]), device=device)

    def _kept(self, name: str, sizes: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        sizes = [tuple(size) for size in sizes]
        kept: dict[Any, list[Tensor]] = self.__dict__.setdefault("_grids", {})
        key = name, tuple(sizes), args, *sorted((k, str(v)) for k, v in kwargs.items())
        made = kept.pop(key, None)
        if made is None or any(getattr(level, "_version", 0) for level in made):  # or changed in place
            made = getattr(super(), name)(sizes, *args, **kwargs)
        kept[key] = made  # the latest last
        if len(kept) > KEPT:
            del kept[next(iter(kept))]
        return list(made)
