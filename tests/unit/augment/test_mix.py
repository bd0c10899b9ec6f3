"""Mixtures of images."""

import pytest
import torch

from viewkin.augment.mix import beta, cutmix, mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cutmix_pastes_one_box_and_tells_the_share_that_is_left():
    images, others = torch.zeros(3, 3, 20, 30), torch.ones(3, 3, 20, 30)
    shares = set()
    for seed in range(20):
        mixed, share = cutmix(images, others, 0.6, generator(seed))
        assert float(1 - mixed.mean()) == pytest.approx(share, abs=1e-6)
        assert torch.equal(mixed[0], mixed[2])
        rows, columns = mixed[0, 0].nonzero(as_tuple=True)
        assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        shares.add(round(share, 3))
    assert len(shares) > 3, "the box should be cut by the border, by more or less"
    assert not images.any()


def test_cutmix_places_its_box_anywhere():
    covered = torch.zeros(8, 8)
    for seed in range(300):
        covered += cutmix(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), 0.9, generator(seed))[0][0, 0]
    assert covered[:-1, :-1].min() > 0


def test_mixup_blends():
    mixed = mixup(torch.full((2, 3, 4, 4), 1.0), torch.full((2, 3, 4, 4), 5.0), 0.25)
    assert torch.equal(mixed, torch.full((2, 3, 4, 4), 4.0))


@pytest.mark.parametrize(("alpha", "variance"), [(1.0, 1 / 12), (0.75, 1 / 10), (8.0, 1 / 68)])
def test_beta_has_its_moments_and_follows_the_generator(alpha, variance):
    drawn = beta(alpha, 20_000, generator())
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.05)
    assert torch.equal(drawn, beta(alpha, 20_000, generator()))
