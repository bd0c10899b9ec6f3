"""Every inter-image term trains around every view method, without a line for the pair anywhere."""

from collections.abc import Callable

import pytest

from lawbook import CLUSTERED, KIN, METHODS, build, differing, interclr, train
from viewkin.methods.base import MethodConfig, ViewMethod
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.pcl import PCLConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.methods.wrapper import TermConfig

TERMS: dict[str, Callable[[MethodConfig], MethodConfig]] = {
    "eir": lambda base: EIRConfig(base=base),
    "interclr": lambda base: interclr(base, **CLUSTERED),
    "propagation": lambda base: PropagationConfig(base=base, **KIN),
    "pcl": lambda base: PCLConfig(base=base, clusters=(3, 5), negatives=3, warmup_epochs=0),
}
BASES = [
    name
    for name, config in METHODS.items()
    if config.kind in METHOD_CONFIGS and not isinstance(config, TermConfig) and isinstance(build(config), ViewMethod)
]
FEW = ("simclr", "vicreg", "dino-crops")
"""What ``make test`` tries; the others are for ``make test-all``."""
PAIRS = [
    pytest.param(term, base, marks=() if base in FEW else pytest.mark.grid, id=f"{term}({base})")
    for term in TERMS
    for base in BASES
]


def test_the_grid_has_every_term_and_every_view_method():
    assert set(TERMS) == {kind for kind, config in METHOD_CONFIGS.items() if issubclass(config, TermConfig)}
    assert {METHODS[name].kind for name in BASES} >= {"simsiam", "barlow", "vicreg", "nnclr", "swav", "dino", "moco_v3"}


@pytest.mark.parametrize(("term", "base"), PAIRS)
def test_a_term_trains_two_steps_around_a_view_method(term, base):
    config = TERMS[term](METHODS[base])
    start = {key: value.double() for key, value in build(config).state_dict().items()}
    state = train(config, norm="batch", steps=2)
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())
    weights = [key for key in state if key.endswith("weight") and "backbone" in key and "target" not in key]
    moved = [key for key in weights if differing({key: start[key]}, {key: state[key]}, 1e-6)]
    assert len(moved) > len(weights) // 2
