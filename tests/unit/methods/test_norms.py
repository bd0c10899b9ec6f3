"""A claim about the norms of methods: one setting holds for the network and for what stands on it."""

import pytest
from torch import nn

from lawbook import build
from viewkin.methods.amdim import AMDIMConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.nets.norm import GatheredBatchNorm
from viewkin.runtime.errors import UserError

CONFIGS = [
    lambda norm: SimCLRConfig(norm=norm),
    lambda norm: AMDIMConfig(norm=norm, head_norm=True),
    lambda norm: MoCoConfig(norm=norm, queue_size=16),
    lambda norm: BYOLConfig(norm=norm, hidden=16),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["simclr", "amdim", "moco", "byol"])
def test_gathered_norms_leave_no_other(config):
    norms = [type(m) for m in build(config("gathered")).modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert len(norms) > 20
    assert set(norms) == {GatheredBatchNorm}
    for kind in ("local", "none"):
        with pytest.raises(UserError, match=r"^norm is '(local|none)'; it must be batch, gathered or split:<groups>"):
            config(kind)
