"""Half precision: torchvision's kernels miss or round badly there, so the ops compute in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """Return the tensor itself, or a float32 copy of a float16 or bfloat16 one."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
