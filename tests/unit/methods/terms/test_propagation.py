"""The propagation term with neighbours that are found by the backbone's features."""

import pytest
import torch

from lawbook import BATCH, COUNT, KIN, METHODS, SIDE, batch_for, build, encode_of, shake_
from viewkin import losses
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress

AT, INDEX = Progress(steps=3, epochs=4), torch.arange(BATCH)


def begun():
    method = build(PropagationConfig(base=METHODS["simclr"], edges="features", **KIN)).double()
    encode = encode_of(method, torch.float64)
    method.start(encode, AT)
    method.epoch(encode, AT)
    return method, encode


def nearest_by(features: torch.Tensor) -> torch.Tensor:
    similarity = losses.unit(features) @ losses.unit(features).T
    return similarity.fill_diagonal_(-2).topk(KIN["graph"].neighbours, 1).indices.sort(1).values


def edges_of(method) -> torch.Tensor:
    return method.graph.neighbours.sort(1).values


def test_edges_lead_to_the_nearest_by_features_from_the_first_step_on():
    method, encode = begun()
    expected = nearest_by(encode("features"))
    assert torch.equal(edges_of(method), expected)
    assert not torch.equal(expected, nearest_by(encode("embedding")))
    torch.testing.assert_close(method.bank.everything(), encode("target"))
    step = method(batch_for(method, INDEX, dtype=torch.float64), AT)
    assert torch.equal(step.related["propagation/hop1"].sort(1).values, expected[INDEX])
    assert step.terms["propagation"].item() > 0


def test_steps_leave_edges_alone_and_epochs_find_them_anew():
    method, encode = begun()
    before = method.graph.neighbours.clone()
    step = method(batch_for(method, INDEX, dtype=torch.float64), AT)
    method.update(step.record, AT)
    assert torch.equal(method.graph.neighbours, before)
    shake_(method.backbone, seed=7)
    method.epoch(encode, Progress(steps=3, step=3, epoch=1, epochs=4))
    assert torch.equal(edges_of(method), nearest_by(encode("features")))
    assert not torch.equal(method.graph.neighbours, before)
    assert len(before) == COUNT


def test_edges_of_the_start_are_those_of_its_features_less_their_mean_and_stay():
    config = PropagationConfig(base=METHODS["simclr"], edges="start", start_size=2 * SIDE, **KIN)
    method = build(config).double()
    encode = encode_of(method, torch.float64)
    method.start(encode, AT)
    method.epoch(encode, AT)
    rows = losses.unit(encode("features", 2 * SIDE))
    assert torch.equal(edges_of(method), nearest_by(rows - rows.mean(0)))
    assert not torch.equal(edges_of(method), nearest_by(encode("features")))
    torch.testing.assert_close(method.bank.everything(), encode("target"))
    assert method.concern({"propagation/instance": torch.full((BATCH,), 99.0)}, AT) is None, "never too early"
    before = method.graph.neighbours.clone()
    shake_(method.backbone, seed=7)
    method.update(method(batch_for(method, INDEX, dtype=torch.float64), AT).record, AT)
    method.epoch(encode, Progress(steps=3, step=3, epoch=1, epochs=4))
    assert torch.equal(method.graph.neighbours, before)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"edges": "both"}, r"^edges is 'both'; it must be one of embedding, features, start"),
        ({"start_size": 64}, r"^start_size is 64; it must be none unless"),
        ({"edges": "start", "start_size": 4}, r"^start_size is 4; it must be 8 to 1024"),
    ],
)
def test_settings_of_edges_are_checked(settings, said):
    with pytest.raises(UserError, match=said):
        PropagationConfig(base=METHODS["simclr"], **settings, **KIN)
