"""Claims about random numbers that do not depend on the number of processes."""

import itertools

import torch

from viewkin.runtime.draws import Draw, generator_for, seed_for


def test_seeds_differ_in_every_part_and_fit_a_generator():
    seeds = {seed_for(run, purpose, step) for run, purpose, step in itertools.product(range(20), "ab", range(20))}
    assert len(seeds) == 20 * 2 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_parts_are_kept_apart():
    assert len({seed_for(1, 23), seed_for(12, 3), seed_for("1", "23"), seed_for(123)}) == 4


def test_generators_of_equal_parts_draw_the_same():
    assert torch.equal(
        torch.rand(5, generator=generator_for(3, "views", 7)), torch.rand(5, generator=generator_for(3, "views", 7))
    )


def test_micro_batches_of_all_ranks_join_to_one_draw():
    def sample(total, generator):
        return torch.rand(total, 3, generator=generator)

    whole = Draw(seed=4, step=9, total=12, start=0, stop=12).rows("crop", sample)
    parts = [Draw(seed=4, step=9, total=12, start=s, stop=s + 3).rows("crop", sample) for s in range(0, 12, 3)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(Draw(seed=4, step=10, total=12, start=0, stop=12).rows("crop", sample), whole)
    assert not torch.equal(Draw(seed=4, step=9, total=12, start=0, stop=12).rows("colour", sample), whole)
