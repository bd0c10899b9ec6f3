"""Claims about the margin of the methods that compare a positive with negatives."""

from dataclasses import replace

import pytest
import torch

from lawbook import batch_for, build
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress


def test_a_margin_where_there_are_no_sampled_negatives_is_one_sentence():
    for loss in ("softmax", "nce"):
        with pytest.raises(UserError, match=r"^margin is 0.2; it must be 0 unless loss is infonce."):
            NPIDConfig(loss=loss, margin=0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [MoCoConfig, SimCLRConfig])
def test_a_margin_is_a_difference_of_cosines(config):
    with pytest.raises(UserError, match=r"^margin is 2.5; it must be -2 to 2."):
        config(margin=2.5)


@pytest.mark.parametrize(
    "config", [NPIDConfig(loss="infonce", negatives=6), MoCoConfig(queue_size=16), SimCLRConfig()], ids=lambda c: c.kind
)
def test_a_margin_is_as_if_the_positive_were_less_similar(config):
    losses = []
    for margin in (-0.5, 0.0, 0.5):
        method = build(replace(config, dim=8, margin=margin)).double()
        index = torch.tensor([3, 9, 20, 1])
        losses.append(method(batch_for(method, index, dtype=torch.float64), Progress()).loss.item())
    assert losses[0] < losses[1] < losses[2]
