"""Claims about the feature bank."""

import math

import pytest
import torch

from viewkin import losses
from viewkin.memory.bank import FeatureBank


def z(count: int, dim: int = 4, seed: int = 1) -> torch.Tensor:
    return losses.unit(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)))


def test_normal_start_is_random_unit_rows():
    rows = FeatureBank(2000, 8).everything()
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2000))
    assert rows.mean(0).abs().max() < 5 / math.sqrt(2000 * 8)


def test_uniform_start_has_the_norms_of_the_release():
    rows = FeatureBank(20000, 128, init="uniform").everything()
    norms = rows.norm(dim=1)
    # Entries in +-1/sqrt(D/3) have variance 1/D and fourth moment 1.8/D^2, so the squared norm has mean 1 and variance
    # 0.8/D: the norm's mean is near 1 - 0.1/D = 0.9992 and its deviation near sqrt(0.2/D) = 0.0395.
    assert float(norms.mean()) == pytest.approx(1 - 0.1 / 128, abs=1e-3)
    assert float(norms.std()) == pytest.approx((0.2 / 128) ** 0.5, abs=1e-3)
    assert float(rows.abs().max()) == pytest.approx(1 / math.sqrt(128 / 3), rel=1e-3)
    assert float(rows.abs().max()) <= 1 / math.sqrt(128 / 3)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 1.0])
def test_momentum_is_the_weight_of_the_old_row(momentum):
    bank = FeatureBank(5, 4, momentum=momentum)
    old, new, index = bank.everything().clone(), z(2), torch.tensor([3, 1])
    bank.write_(index, new)
    for row, i in zip(new, index.tolist()):
        mixed = [momentum * float(a) + (1 - momentum) * float(b) for a, b in zip(old[i], row)]
        length = math.sqrt(sum(m * m for m in mixed))
        torch.testing.assert_close(bank.everything()[i], torch.tensor([m / length for m in mixed]))
    assert torch.equal(bank.everything()[[0, 2, 4]], old[[0, 2, 4]])


def test_written_rows_have_norm_one_even_from_a_uniform_start():
    bank = FeatureBank(5, 4, init="uniform")
    bank.write_(torch.arange(5), z(5))
    torch.testing.assert_close(bank.everything().norm(dim=1), torch.ones(5))


def test_reading_changes_nothing_and_gives_a_copy():
    bank = FeatureBank(6, 4)
    before = bank.everything().clone()
    index = torch.tensor([[0, 5], [2, 2]])
    read = bank.read(index)
    assert read.shape == (2, 2, 4)
    assert torch.equal(read[0, 1], before[5])
    read.zero_()
    q = z(2).requires_grad_()
    own = torch.tensor([0, 1])
    (bank.log_probability(q, own, 0.1) + bank.pair_loss(q, z(2), own, 0.1)).sum().backward()
    assert torch.equal(bank.everything(), before)
    assert bank.everything().grad is None
    assert len(bank) == 6


def test_pair_loss_is_cross_entropy_with_the_key_in_the_own_rows_place():
    bank, q, k, index = FeatureBank(6, 4).double(), z(2).double(), z(2, seed=2).double(), torch.tensor([4, 1])
    expected = []
    for v, w, own in zip(q, k, index.tolist()):
        rows = [w if i == own else row for i, row in enumerate(bank.everything())]
        total = sum(math.exp(float(v @ row) / 0.2) for row in rows)
        expected.append(math.log(total) - float(v @ w) / 0.2)
    found = bank.pair_loss(q, k, index, 0.2)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert (bank.pair_loss(q, q, index, 0.05) > 0).all()  # a perfect match too


def test_pair_loss_against_the_own_row_is_the_full_softmax():
    bank, q, index = FeatureBank(6, 4).double(), z(2).double(), torch.tensor([4, 1])
    found = bank.pair_loss(q, bank.read(index), index, 0.2)
    torch.testing.assert_close(found, -bank.log_probability(q, index, 0.2))


def test_pair_loss_has_the_gradient_of_its_formula():
    bank, k, index = FeatureBank(6, 4).double(), z(2, seed=2).double(), torch.tensor([4, 1])
    q, k = z(2).double().requires_grad_(), k.requires_grad_()
    logits = q @ bank.everything().T / 0.2
    mine = (q * k).sum(1, keepdim=True) / 0.2
    dense = logits.scatter(1, index.unsqueeze(1), mine).logsumexp(1) - mine.squeeze(1)
    for found, expected in zip(
        torch.autograd.grad(bank.pair_loss(q, k, index, 0.2).sum(), (q, k)), torch.autograd.grad(dense.sum(), (q, k))
    ):
        torch.testing.assert_close(found, expected)


def test_a_write_keeps_no_graph_and_takes_any_precision():
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        bank = FeatureBank(6, 4).to(dtype)
        bank.write_(torch.tensor([2]), z(1).requires_grad_())
        assert bank.everything().dtype == dtype
        assert not bank.everything().requires_grad
        assert float(bank.everything()[2].double().norm()) == pytest.approx(1, abs=1e-2)


def test_state_round_trip_restores_every_row():
    bank, other = FeatureBank(6, 4), FeatureBank(6, 4)
    bank.write_(torch.tensor([2, 3]), z(2))
    other.load_state_dict(bank.state_dict())
    assert list(bank.state_dict()) == ["features"]
    assert torch.equal(other.everything(), bank.everything())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bank_in_a_file_holds_what_one_in_memory_does_and_no_more_than_was_written(dtype, tmp_path):
    file = tmp_path / "bank"
    kept, held = (FeatureBank(200_000, 8, dtype=dtype, file=place, init="zero") for place in (file, None))
    index = torch.tensor([7, 150_000])
    for bank in (kept, held):
        bank.write_(index, z(2, 8))
        bank.write_(index[:1], z(1, 8, seed=2))
    assert torch.equal(kept.read(index), held.read(index))
    assert not kept.read(torch.tensor([8])).any()
    assert file.stat().st_size == 200_000 * 8 * dtype.itemsize
    assert file.stat().st_blocks * 512 < file.stat().st_size / 10
    again = torch.from_file(str(file), size=200_000 * 8, dtype=dtype).view(-1, 8)
    assert torch.equal(again[index], held.read(index))


def test_a_bank_in_bfloat16_moves_loss_and_gradient_by_less_than_a_hundredth():
    rows = losses.unit(torch.randn(3000, 64, generator=torch.Generator().manual_seed(3)))
    exact, half = (FeatureBank(3000, 64, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    found = []
    for bank in (exact, half):
        bank.fill_(rows)
        q = losses.unit(rows[:16] + 0.1 * z(16, 64)).requires_grad_()
        loss = -bank.log_probability(q, torch.arange(16), 0.1)
        loss.sum().backward()
        found.append((loss.detach(), q.grad))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.01, atol=0.01)
    assert (found[1][1] - found[0][1]).norm() < 0.01 * found[0][1].norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1.0, 0.3, 0.15])
def test_a_search_in_half_precision_finds_what_one_in_full_does(dtype, width):
    # Ten cones of 300 rows each, of cosines of 0.5, 0.92 and 0.98: the narrowest rounds to a few values of bfloat16.
    bank, centres = FeatureBank(3000, 64, dtype=dtype), z(10, 64)
    bank.fill_(centres.repeat(300, 1) + width * torch.randn(3000, 64, generator=torch.Generator().manual_seed(2)) / 8)
    q = losses.unit(centres.repeat(5, 1) + width * z(50, 64, seed=3))
    expected = (q @ bank.everything().float().T).sort(dim=1, descending=True)
    with torch.autocast("cpu", torch.bfloat16):
        similarity, image = bank.nearest(q, 5)
        assert similarity.dtype == torch.float32
    found = (image[:, :, None] == expected.indices[:, None, :5]).any(2)
    assert float(found.float().mean()) > 0.96
    torch.testing.assert_close(similarity, expected.values[:, :5], rtol=0, atol=1e-3)
