"""Autocast of the simulated device, with CUDA's lists. Source: torch's aten/src/ATen/autocast_mode.h."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

KEY = "AutocastPrivateUse1"
HALVED = """
_convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm
chain_matmul linalg_multi_dot lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
scaled_dot_product_attention
"""
"""Operators that compute in autocast's dtype."""
FLOAT = """
acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow softplus layer_norm
native_layer_norm group_norm frobenius_norm nuclear_norm cosine_similarity poisson_nll_loss
cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss
mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss
multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
upsample_bicubic2d prod softmax log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum
norm
"""
"""Operators that compute in float32."""
WIDEST = """
addcdiv addcmul atan2 bilinear cross dot grid_sampler index_put tensordot scatter_add
"""
"""Operators that compute in the widest dtype of their arguments."""
REFUSED = "binary_cross_entropy"


def register(device: str) -> Iterator[Any]:
    """Register autocast for a device of torch's key PrivateUse1, as long as the yielded libraries are kept."""
    import torchvision  # noqa: F401

    everything, aten, vision = map(library_of, ("_", "aten", "torchvision"))
    everything.fallback(torch.library.fallthrough_kernel, KEY)
    yield everything
    kinds: list[tuple[str, Callable[[list[Tensor]], torch.dtype]]] = [
        (HALVED, lambda _: torch.get_autocast_dtype(device)),
        (FLOAT, lambda _: torch.float32),
        (WIDEST, _widest),
    ]
    for names, dtype in kinds:
        for name in names.split():
            for overload in _overloads(getattr(torch.ops.aten, name)):
                aten.impl(_name(overload), _cast(overload, device, dtype), KEY)
    aten.impl(REFUSED, _refuse, KEY)
    yield aten
    for operator in (torch.ops.torchvision.nms.default, torch.ops.torchvision.roi_align.default):
        vision.impl(_name(operator), _cast(operator, device, lambda _: torch.float32), KEY)
    yield vision


def library_of(namespace: str) -> Any:
    """Return a library to implement operators of a namespace; they last as long as it is kept."""
    return torch.library.Library(namespace, "IMPL")  # type: ignore[no-untyped-call]


def _overloads(packet: Any) -> list[Any]:
    return [getattr(packet, name) for name in packet.overloads() if "out" not in name]


def _name(overload: Any) -> str:
    return str(overload._schema.name.partition("::")[2] + "." + overload._schema.overload_name).rstrip(".")


def _cast(operator: Any, device: str, dtype: Callable[[list[Tensor]], torch.dtype]) -> Callable[..., Any]:
    """Return a function that casts an operator's arguments, except integers and float64, and runs it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        found = [leaf for leaf in pytree.arg_tree_leaves(*args, **kwargs) if _casts(leaf, device)]
        wanted = dtype(found)

        def cast(value: Any) -> Any:
            return value.to(wanted) if _casts(value, device) else value

        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, KEY))
        args, kwargs = pytree.tree_map(cast, args), pytree.tree_map(cast, kwargs)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operator(*args, **kwargs)

    return call


def _casts(value: Any, device: str) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == device
        and value.is_floating_point()
        and value.dtype != torch.float64
    )


def _widest(tensors: list[Tensor]) -> torch.dtype:
    dtypes = {tensor.dtype for tensor in tensors}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


def _refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError(f"{REFUSED} is unsafe to autocast: use {REFUSED}_with_logits, or disable autocast")
