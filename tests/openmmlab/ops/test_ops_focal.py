import pytest
import torch

from kdbench.openmmlab.ops import focal
from kdbench.openmmlab.setup import prepare_libraries


@pytest.fixture(scope="module")
def mmdet_focal():
    prepare_libraries("mmdet")
    from mmdet.models.losses import focal_loss

    return focal_loss


@pytest.fixture(scope="module")
def mmcv_ops():
    from kdbench.openmmlab import ops

    if ops.install() == "mmcv":
        pytest.skip("mmcv's compiled focal losses have no CPU kernel")
    import mmcv.ops

    return mmcv.ops


def case(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(12, 4, generator=generator, dtype=torch.float64).mul(3).to(dtype).requires_grad_()
    return logits, torch.randint(0, 5, (12,), generator=generator)  # 4 is background


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_sigmoid_is_mmdets_python_version(mmdet_focal, mmcv_ops, gamma, alpha, reduction):
    logits, target = case()
    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4]
    expected = mmdet_focal.py_sigmoid_focal_loss(logits, one_hot, None, gamma, alpha, "none")
    expected = {"none": expected, "sum": expected.sum(), "mean": expected.sum() / 12}[reduction]
    loss = mmcv_ops.sigmoid_focal_loss(logits, target, gamma, alpha, None, reduction)
    torch.testing.assert_close(loss, expected)
    want = torch.autograd.grad(expected.sum(), logits)[0]
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), logits)[0], want)


def test_mmdets_wrapper_runs_on_it(mmdet_focal, mmcv_ops):
    logits, target = case(dtype=torch.float32)
    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4]
    expected = mmdet_focal.py_sigmoid_focal_loss(logits, one_hot, avg_factor=7)
    torch.testing.assert_close(mmdet_focal.sigmoid_focal_loss(logits, target, avg_factor=7), expected)


def test_sigmoid_weights_by_the_samples_class(mmcv_ops):
    logits, target = case(1)
    target = target.clamp(max=3)
    weight = torch.tensor([1.0, 2.0, 0.0, 5.0], dtype=torch.float64)
    plain = mmcv_ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    weighted = mmcv_ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(weighted, plain * weight[target][:, None])
    assert torch.autograd.gradcheck(
        lambda x: mmcv_ops.sigmoid_focal_loss(x, target, 2.0, 0.25, weight, "none"), [logits]
    )


def test_a_target_without_a_weight_is_refused():
    logits, target = torch.zeros(2, 4), torch.tensor([0, 4])
    with pytest.raises(ValueError, match="4 class weights"):
        focal.sigmoid_focal_loss_forward(logits, target, torch.ones(4), torch.zeros(2, 4), 2.0, 0.25)


def test_saturated_logits_are_finite():
    logits, target = torch.tensor([[200.0, -200.0]]), torch.tensor([1])
    for function in (focal.sigmoid_focal_loss_forward, focal.sigmoid_focal_loss_backward):
        output = torch.full((1, 2), torch.nan)
        function(logits, target, torch.empty(0), output, gamma=2.0, alpha=0.25)
        assert output.isfinite().all()
        assert output[0, 1] != 0


def softmax_focal(logits, target, gamma, alpha, weight=None):
    log_p = logits.log_softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    loss = -alpha * (1 - log_p.exp()) ** gamma * log_p
    loss = loss if weight is None else loss * weight[target.clamp(min=0)]
    return loss * (target >= 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_is_its_formula(mmcv_ops, weighted):
    logits, target = case(2)
    target = target.clamp(max=3)
    target[3] = -1
    weight = torch.tensor([1.0, 2.0, 0.5, 5.0], dtype=torch.float64) if weighted else None
    expected = softmax_focal(logits, target, 2.0, 0.25, weight)
    loss = mmcv_ops.softmax_focal_loss(logits, target, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(loss, expected)
    want = torch.autograd.grad(expected.sum(), logits)[0]
    total = mmcv_ops.softmax_focal_loss(logits, target, 2.0, 0.25, weight, "sum")
    torch.testing.assert_close(torch.autograd.grad(total, logits)[0], want)


@pytest.mark.parametrize("function", [focal.sigmoid_focal_loss_forward, focal.sigmoid_focal_loss_backward])
def test_empty_and_half(function):
    function(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.empty(0), torch.zeros(0, 4), 2.0, 0.25
    )
    logits, target = case(3, torch.float16)
    half, wide = torch.zeros(12, 4).half(), torch.zeros(12, 4)
    function(logits.detach(), target, torch.empty(0), half, 2.0, 0.25)
    function(logits.detach().float(), target, torch.empty(0), wide, 2.0, 0.25)
    assert torch.equal(half, wide.half())


def test_softmax_of_nothing():
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.empty(0)
    focal.softmax_focal_loss_forward(*nothing, torch.zeros(0), 2.0, 0.25)
    focal.softmax_focal_loss_backward(*nothing, torch.zeros(0), torch.zeros(0, 4), 2.0, 0.25)
