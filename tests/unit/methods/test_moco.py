"""Claims about MoCo, beside the laws that every method is under."""

import math

import pytest
import torch
from torch import Tensor

from lawbook import batch_for, build, copied
from pool import Pool
from viewkin import losses
from viewkin.methods.moco import MoCo, MoCoConfig
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.resolve import Resolved, fit_to_data
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import setting_paths, with_value

INDEX = torch.tensor([3, 9, 20, 1, 22, 7, 0, 14])
AT = Progress()


def moco(**settings: object) -> MoCo:
    method = build(MoCoConfig(dim=8, queue_size=20, momentum=0.7, temperature=0.3, **settings)).double()  # type: ignore[arg-type]
    assert isinstance(method, MoCo)
    return method


def batch(method: MoCo, step: int = 0, rows: slice = slice(None)):
    return batch_for(method, INDEX, step=step, rows=rows, dtype=torch.float64)


def loop(q: Tensor, k: Tensor, queue: Tensor) -> float:
    total = 0.0
    for v, positive in zip(q.detach(), k, strict=True):
        own = math.exp(float(v @ positive) / 0.3)
        total -= math.log(own / (own + sum(math.exp(float(v @ other) / 0.3) for other in queue)))
    return total / len(q)


def test_loss_is_the_formula_over_the_queue_before_the_push():
    method = moco()
    method.eval()  # so that the shuffle changes nothing
    b, queue = batch(method), method.queue.everything().clone()
    q, k = losses.unit(method.encoder(b.views["query"])), losses.unit(method.key_encoder(b.views["key"]))
    step = method(b, AT)
    assert step.loss.item() == pytest.approx(loop(q, k, queue), rel=1e-9)


def test_symmetric_loss_is_the_sum_of_both_directions():
    method = moco(symmetric=True)
    method.eval()
    b, queue = batch(method), method.queue.everything().clone()
    there, back = b.views["query"], b.views["key"]
    one, other = (
        loop(losses.unit(method.encoder(x)), losses.unit(method.key_encoder(y)), queue)
        for x, y in ((there, back), (back, there))
    )
    step = method(b, AT)
    assert step.loss.item() == pytest.approx(one + other, rel=1e-9)
    assert len(step.pairs) == 2


def test_positive_is_not_among_negatives():
    method = moco()
    for number in range(4):
        step = method(batch(method, number), AT)
        ((_, k),) = step.pairs
        nearest = (k @ method.queue.everything().T).max()
        assert nearest < 1 - 1e-6
        method.update(step.record, AT)
        torch.testing.assert_close((k @ method.queue.everything().T).max(1).values, torch.ones(8, dtype=torch.float64))


def test_update_pushes_the_keys_then_lets_the_key_encoder_follow():
    method = moco()
    old = copied(method.key_encoder)
    step = method(batch(method), AT)
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1)  # stands for the optimiser's step
    method.update(step.record, AT)
    assert torch.equal(method.queue.everything()[:8], step.pairs[0][1])
    for name, p in method.key_encoder.named_parameters():
        online = dict(method.encoder.named_parameters())[name]
        torch.testing.assert_close(p, 0.7 * old[name] + 0.3 * online)


def test_symmetric_update_pushes_both_keys():
    method = moco(symmetric=True)
    step = method(batch(method), AT)
    method.update(step.record, AT)
    assert torch.equal(method.queue.everything()[:16], torch.cat([step.pairs[0][1], step.pairs[1][1]]))
    assert int(method.queue.pointer) == 16


def test_no_gradient_reaches_the_key_side():
    method = moco(symmetric=True)
    step = method(batch(method), AT)
    step.loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in method.key_encoder.parameters())
    assert method.queue.everything().grad is None
    assert all(not k.requires_grad for _, k in step.pairs)


def test_key_statistics_move_by_the_forward_passes_of_the_keys_alone():
    method = moco()
    before = copied(method)
    method.query(batch(method).views["query"])
    after = copied(method)
    name = "backbone.bn1.running_mean"
    assert torch.equal(after[f"key_encoder.{name}"], before[f"key_encoder.{name}"])
    assert not torch.equal(after[f"encoder.{name}"], before[f"encoder.{name}"])
    method.key(batch(method))
    assert not torch.equal(copied(method)[f"key_encoder.{name}"], before[f"key_encoder.{name}"])
    assert torch.equal(copied(method)[f"encoder.{name}"], after[f"encoder.{name}"])


def test_shuffle_is_undone_exactly():
    method = moco()
    method.eval()
    b = batch(method)
    torch.testing.assert_close(method.key(b), method.target(b.views["key"]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shuffle", [True, False])
def test_shuffle_mixes_the_sub_batches_of_split_norm(shuffle):
    method = moco(norm="split:2", shuffle=shuffle)
    b = batch(method)
    same = torch.allclose(method.key(b), method.target(b.views["key"]))
    assert same != shuffle
    assert not torch.allclose(method.key(batch(method, 1)), method.key(b))


def keys_of_rank(training: bool) -> tuple[Tensor, Tensor]:
    """Keys by shuffling over ranks, and this rank's images encoded where they are."""
    method = moco()
    method.train(training)
    start = distributed.rank() * 4
    b = batch(method, rows=slice(start, start + 4))
    return method.key(b), method.target(b.views["key"])


def test_shuffle_over_ranks_is_undone_and_changes_what_normalises_whom(pool: Pool):
    for shuffled, plain in pool.run(keys_of_rank, False):
        torch.testing.assert_close(shuffled, plain, rtol=1e-12, atol=1e-12)
    for shuffled, plain in pool.run(keys_of_rank, True):
        assert not torch.allclose(shuffled, plain)


def test_both_encoders_start_equal_and_follow_one_kind_of_norm():
    method = moco(norm="split:2")
    for name, value in method.encoder.state_dict().items():
        assert torch.equal(value, method.key_encoder.state_dict()[name])
    kinds = [[type(m) for m in e.modules()] for e in (method.encoder, method.key_encoder)]
    assert kinds[0] == kinds[1]


def test_queue_is_limited_to_whole_batches_of_the_images_and_a_default_shrinks_to_half_of_them():
    limit = MoCoConfig().limits(50_000, 512)["queue_size"]
    assert (limit.largest, limit.instead) == (49_664, 24_576)  # 97 and 48 batches
    limit = MoCoConfig().limits(100, 64)["queue_size"]
    assert (limit.largest, limit.instead) == (64, 64)


@pytest.mark.parametrize(
    ("count", "asked", "size"), [(126_689, False, 65_536), (50_000, True, 32_768), (50_000, False, 24_960)]
)
def test_published_queues_fit_their_sets(count, asked, size):
    recipe = with_value(recipe_named("eir_moco"), "method.base.queue_size", 32_768 if asked else 65_536)
    explicit = frozenset({"method.base.queue_size"} if asked else ())
    found = fit_to_data(Resolved(recipe, explicit, (), False), count).recipe
    assert setting_paths(found)["method.base.queue_size"] == size
