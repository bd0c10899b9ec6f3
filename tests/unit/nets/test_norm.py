"""Claims about BatchNorm over groups and over ranks."""

import pytest
import torch
from torch import Tensor, nn

from viewkin.nets.norm import GatheredBatchNorm, SplitBatchNorm, average_statistics_, convert_norm
from viewkin.nets.resnet import ResNet
from viewkin.runtime import distributed
from viewkin.runtime.errors import UserError


def _mixed(width: int, dims: int) -> nn.Module:
    """A BatchNorm with weights and statistics that are not 0 and 1."""
    norm = (nn.BatchNorm1d if dims < 4 else nn.BatchNorm2d)(width, eps=1e-3, momentum=0.3).double()
    generator = torch.Generator().manual_seed(5)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.copy_(torch.rand(width, generator=generator, dtype=torch.float64) + 0.5)
    return norm


def _samples(rows: int, dims: int) -> Tensor:
    shape = (rows, 3, 5, 4)[:dims]
    return 4 * torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64) + 50


def _run(net: nn.Module, x: Tensor, seed: Tensor) -> dict[str, Tensor]:
    """One training step's output, gradients and buffers; the loss weighs every output by ``seed``."""
    x = x.clone().requires_grad_()
    y = net(x)
    (y * seed).sum().backward()
    grads = {f"grad {name}": p.grad for name, p in net.named_parameters()}
    return {"y": y.detach(), "grad x": x.grad, **grads, **{n: b.clone() for n, b in net.named_buffers()}}


def _gathered_step(dims: int) -> dict[str, Tensor]:
    world, rank = distributed.world(), distributed.rank()
    net = convert_norm(nn.Sequential(_mixed(3, dims)), "gathered")
    assert type(net[0]) is GatheredBatchNorm
    x = _samples(8, dims)
    return _run(net, x.chunk(world)[rank], x.sin().chunk(world)[rank])


@pytest.mark.parametrize("dims", [2, 3, 4])
def test_gathered_norm_on_two_ranks_is_batchnorm_on_the_whole_batch(pool, dims):
    x = _samples(8, dims)
    whole = _run(nn.Sequential(_mixed(3, dims)), x, x.sin())
    first, second = pool.run(_gathered_step, dims)
    for name, expected in whole.items():
        if name in ("y", "grad x"):
            found = torch.cat([first[name], second[name]])
        elif name.startswith("grad"):
            found = first[name] + second[name]
        else:
            found = first[name]
            assert torch.equal(first[name], second[name])
        torch.testing.assert_close(found, expected)


def _gathered_half() -> tuple[Tensor, torch.dtype]:
    norm = GatheredBatchNorm(3)
    x = (_samples(8, 4).float() + 1000).chunk(2)[distributed.rank()].bfloat16()
    return norm(x), norm.running_mean.dtype


def test_gathered_norm_keeps_half_precision_outside_and_float32_inside(pool):
    y = torch.cat([y for y, _ in pool.run(_gathered_half)])
    x = (_samples(8, 4).float() + 1000).bfloat16()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), nn.BatchNorm2d(3)(x.float()), atol=0.02, rtol=0.02)


def _gathered_eval() -> Tensor:
    norm = convert_norm(nn.Sequential(_mixed(3, 4)), "gathered").eval()
    return norm(_samples(4, 4) + distributed.rank())


def test_gathered_norm_in_evaluation_uses_running_statistics(pool):
    norm = _mixed(3, 4).eval()
    for rank, y in enumerate(pool.run(_gathered_eval)):
        torch.testing.assert_close(y, norm(_samples(4, 4) + rank))


def test_gathered_norm_is_batchnorm_with_one_process():
    x = _samples(8, 4)
    plain = nn.Sequential(_mixed(3, 4))
    gathered = convert_norm(nn.Sequential(_mixed(3, 4)), "gathered")
    torch.testing.assert_close(_run(gathered, x, x.sin()), _run(plain, x, x.sin()), rtol=0, atol=0)


@pytest.mark.parametrize("dims", [2, 4])
def test_split_norm_normalises_every_group_by_itself(dims):
    groups, x = 4, _samples(8, dims)
    split = convert_norm(nn.Sequential(_mixed(3, dims)), f"split:{groups}")
    found = _run(split, x, x.sin())
    apart = [_mixed(3, dims) for _ in range(groups)]
    steps = [_run(nn.Sequential(norm), x[g::groups], x.sin()[g::groups]) for g, norm in enumerate(apart)]
    for g, step in enumerate(steps):
        torch.testing.assert_close(found["y"][g::groups], step["y"])
        torch.testing.assert_close(found["grad x"][g::groups], step["grad x"])
    for name in ("grad 0.weight", "grad 0.bias"):
        torch.testing.assert_close(found[name], sum(step[name] for step in steps))
    for name in ("0.running_mean", "0.running_var"):
        torch.testing.assert_close(found[name], sum(step[name] for step in steps) / groups)
    assert found["0.num_batches_tracked"] == 1


def _split_half(kind: str) -> Tensor:
    net = convert_norm(nn.Sequential(_mixed(3, 4)), kind)
    return net(_samples(16, 4)[distributed.rows(8)])


def test_split_norm_shares_its_groups_among_ranks(pool):
    x = _samples(16, 4)
    for rank, half in enumerate((x[:8], x[8:])):
        assert torch.equal(pool.run(_split_half, "split:2")[rank], _mixed(3, 4)(half))
        expected = convert_norm(nn.Sequential(_mixed(3, 4)), "split:2")(half)
        assert torch.equal(pool.run(_split_half, "split:4")[rank], expected)


def test_split_norm_of_one_group_is_batchnorm():
    x = _samples(8, 4)
    split = convert_norm(nn.Sequential(_mixed(3, 4)), "split:1")
    torch.testing.assert_close(_run(split, x, x.sin()), _run(nn.Sequential(_mixed(3, 4)), x, x.sin()))


def test_split_norm_in_evaluation_takes_any_batch():
    split, plain = convert_norm(nn.Sequential(_mixed(3, 4)), "split:4").eval(), _mixed(3, 4).eval()
    torch.testing.assert_close(split(_samples(3, 4)), plain(_samples(3, 4)))


def test_split_norm_refuses_a_batch_it_cannot_divide():
    with pytest.raises(UserError, match="split:4"):
        SplitBatchNorm(3, 4)(torch.randn(6, 3, 2, 2))


@pytest.mark.parametrize("options", [{"affine": False}, {"track_running_stats": False}, {"momentum": None}])
@pytest.mark.parametrize("kind", ["split:1", "gathered"])
def test_converted_norms_keep_their_options(kind, options):
    x = torch.randn(8, 3, 4, 4)
    plain = nn.BatchNorm2d(3, **options)
    converted = convert_norm(nn.Sequential(nn.BatchNorm2d(3, **options)), kind)
    for _ in range(3):
        torch.testing.assert_close(converted(x), plain(x))
        x = x * 2 + 1
    torch.testing.assert_close(list(converted.buffers()), list(plain.buffers()))


def _gathered_without_options() -> list[dict[str, Tensor]]:
    x = _samples(8, 4).chunk(distributed.world())[distributed.rank()]
    found = []
    for options in ({"affine": False}, {"track_running_stats": False}, {"momentum": None}):
        net = convert_norm(nn.Sequential(nn.BatchNorm2d(3, **options).double()), "gathered")
        net(x)
        found.append({"y": net(x + 1).detach(), **{name: b.clone() for name, b in net.named_buffers()}})
    return found


def test_gathered_norm_keeps_its_options_on_two_ranks(pool):
    alone = _gathered_without_options()
    for whole, first, second in zip(alone, *pool.run(_gathered_without_options)):
        torch.testing.assert_close(torch.cat([first.pop("y"), second.pop("y")]), whole.pop("y"))
        torch.testing.assert_close(first, whole)


def test_conversion_keeps_keys_parameters_and_mode():
    net = ResNet("resnet18", width=8).eval()
    parameters, keys = list(net.parameters()), list(net.state_dict())
    for kind in ("split:2", "gathered", "batch"):
        assert convert_norm(net, kind) is net
        assert all(new is old for new, old in zip(net.parameters(), parameters))
        assert list(net.state_dict()) == keys
        assert not net.layer1[0].bn1.training


def test_none_leaves_no_norm():
    net = convert_norm(ResNet("resnet18", width=8), "none")
    assert not any("bn" in name or "running" in name for name in net.state_dict())
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 64)


class _NormAndActivation(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_norms_that_do_more_are_not_replaced():
    with pytest.raises(UserError, match="_NormAndActivation"):
        convert_norm(nn.Sequential(_NormAndActivation(2)), "none")


@pytest.mark.parametrize("kind", ["layer", "split", "split:0", "split:-2", "split:x", "gathered:2", ""])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(UserError, match=r"^norm is .*; it must be batch, gathered, none or split"):
        convert_norm(nn.Sequential(), kind)


def _averaged_statistics() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    net = ResNet("resnet18", width=8)
    net(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(distributed.rank())))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    average_statistics_(net)
    return before, net.state_dict()


def test_averaging_gives_every_rank_the_mean_statistics_and_touches_nothing_else(pool):
    (before0, after0), (before1, after1) = pool.run(_averaged_statistics)
    for name in before0:
        if "running" in name:
            assert not torch.equal(before0[name], before1[name])
            torch.testing.assert_close(after0[name], (before0[name] + before1[name]) / 2)
        else:
            assert torch.equal(after0[name], before0[name])
        assert torch.equal(after0[name], after1[name])


def test_averaging_changes_nothing_with_one_process():
    before, after = _averaged_statistics()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_split_norm_keeps_channels_last_and_its_values(dtype):
    torch.manual_seed(0)
    plain, last = SplitBatchNorm(6, 4), SplitBatchNorm(6, 4)
    x = torch.randn(16, 6, 5, 3).to(dtype)
    a, b = x.clone().requires_grad_(), x.clone(memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(16, 6, 5, 3).to(dtype)
    expected, found = plain(a), last(b)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    assert expected.is_contiguous()
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found._is_view()  # or the ReLU behind it, in place, would be slow
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(found, expected, **near)
    torch.testing.assert_close(b.grad, a.grad, **near)
    torch.testing.assert_close(last.running_mean, plain.running_mean)
    torch.testing.assert_close(last.running_var, plain.running_var)
