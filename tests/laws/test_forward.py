"""Laws 1, 6 and 7: a forward pass changes nothing, state survives a round trip, scale means nothing."""

import pytest
import torch

from lawbook import (
    BATCH,
    METHODS,
    NAMES,
    batch_for,
    build,
    copied,
    differing,
    memory_of,
    metrics_of,
    noise_source,
    recipe_for,
    trainer_for,
)
from lawcheck import AT, INDEX, loss_in_eval, pure_forward, saved_state_goes_on, scale_free, trained_a_little
from viewkin.methods.base import Batch, Method, Step, ViewMethod

every_method = pytest.mark.parametrize("name", NAMES)


@every_method
def test_law_1_forward_changes_nothing_and_gives_the_same_loss_twice(name):
    method = trained_a_little(name)
    pure_forward(method, batch_for(method, INDEX, step=9))


@every_method
def test_embedding_and_helpers_change_nothing_either(name):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    before = copied(method)
    image = next(iter(batch.views.values()))
    image = image if image.ndim == 4 else image[:, 0]  # of four rotations
    step = method(batch, AT)
    embeddings = [method.embed(image)]
    if isinstance(method, ViewMethod):
        embeddings += [method.key(batch), method.target(image), method.remember(step)]
        method.pair_loss(method.query(image), method.key(batch), batch.index).sum().backward()
    for found in embeddings:
        assert found.shape == (BATCH, method.dim)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(BATCH))
    assert not differing(memory_of(before), memory_of(copied(method)))


@every_method
def test_explaining_a_batch_changes_nothing_and_gives_images_or_parts(name):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    method.eval()
    before = copied(method)
    for images in method.explain(batch, AT).values():
        assert images.dtype == torch.int64
        assert images.shape[0] == BATCH
        assert images.ndim in (2, 3)
    assert not differing(before, copied(method))


@every_method
def test_law_6_a_saved_state_goes_on_bit_for_bit(name):
    saved_state_goes_on(name)


@every_method
def test_another_seed_is_another_method(name):
    method, other = trained_a_little(name), build(METHODS[name], seed=1)
    batch = batch_for(method, INDEX, step=9)
    assert not torch.equal(loss_in_eval(method, batch), loss_in_eval(other, batch))


@every_method
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, 0.02), (torch.bfloat16, 0.1)], ids=str
)
def test_law_6_state_survives_other_precisions(name, dtype, tolerance):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    expected = loss_in_eval(method, batch)
    stored = {key: value.to(dtype) if value.is_floating_point() else value for key, value in copied(method).items()}
    whole = [key for key, value in stored.items() if not value.is_floating_point()]
    other = build(METHODS[name], seed=1)
    other.load_state_dict(stored)
    assert not differing({k: stored[k] for k in whole}, {k: copied(other)[k] for k in whole})
    torch.testing.assert_close(loss_in_eval(other, batch), expected, rtol=tolerance, atol=tolerance)


@every_method
def test_law_6_state_moves_between_devices(name):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    method = trained_a_little(name).double()
    batch = batch_for(method, INDEX, step=9, dtype=torch.float64)
    expected = loss_in_eval(method, batch)
    there = build(METHODS[name], seed=1).double().to("cuda")
    there.load_state_dict(method.state_dict())
    moved = Batch({k: v.to("cuda") for k, v in batch.views.items()}, batch.index.to("cuda"), batch.draw)
    torch.testing.assert_close(loss_in_eval(there, moved).cpu(), expected, rtol=1e-9, atol=1e-9)
    for either, its in ((method, batch), (there, moved)):
        either.train()
        either.update(either(its, AT).record, AT)
    assert not differing(copied(method), {k: v.cpu() for k, v in copied(there).items()}, 1e-9)


@every_method
def test_law_7_the_length_of_an_embedding_means_nothing(name):
    method = trained_a_little(name)
    if not method.scale_free:
        pytest.skip("its loss is of raw vectors, as published")
    scale_free(method, batch_for(method, INDEX, step=9))


# ---------------------------------------------------------------- the contract of Step


def check_step(method: Method, batch: Batch, step: Step) -> None:
    assert step.loss.ndim == 0
    torch.testing.assert_close(step.loss, torch.stack(list(step.terms.values())).sum())
    assert all(term.isfinite() for term in step.terms.values())
    assert set(step.record) >= {"index", "embedding"}
    assert torch.equal(step.record["index"], batch.index)
    for value in step.record.values():
        assert len(value) == len(batch.index)
        assert not value.requires_grad
    for q, k in step.pairs:
        assert q.requires_grad
        assert not k.requires_grad
        for rows in (q, k, step.record["embedding"]):
            assert rows.shape == (len(batch.index), method.dim)
            torch.testing.assert_close(rows.detach().norm(dim=1), torch.ones(len(rows)), rtol=1e-5, atol=1e-5)


@every_method
def test_step_keeps_its_contract(name):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    check_step(method, batch, method(batch, AT))


@every_method
def test_gradients_reach_every_trainable_parameter_and_nothing_else(name):
    method = trained_a_little(name)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.fill_(0.01)  # a weight that starts at zero lets no gradient through
    method(batch_for(method, INDEX, step=9), AT).loss.backward()
    for key, parameter in method.named_parameters():
        # A parameter without gradient breaks DistributedDataParallel.
        assert (parameter.grad is not None) == parameter.requires_grad, key
        if parameter.grad is not None and not key.endswith("bias"):
            assert parameter.grad.abs().sum() > 0, key
    for key, buffer in method.named_buffers():
        assert not buffer.requires_grad, key
        assert buffer.grad is None, key
    listed = [id(p) for group in method.param_groups() for _, p in group["named"]]
    assert sorted(listed) == sorted(id(p) for p in method.parameters() if p.requires_grad)


@every_method
def test_the_network_is_shared_with_the_backbone(name):
    method = build(METHODS[name])
    assert all(key.startswith("encoder.") for key in method.state_dict() if "encoder.backbone." in key[:17])
    assert method.backbone is method.encoder.backbone


@pytest.mark.parametrize("autocast", [torch.bfloat16])
@every_method
def test_half_precision_networks_give_finite_float32_losses(name, autocast):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    plain = method(batch, AT).loss
    with torch.autocast("cpu", autocast):
        step = method(batch, AT)
    assert step.loss.dtype == torch.float32
    assert step.record["embedding"].dtype == torch.float32
    torch.testing.assert_close(step.loss, plain, rtol=0.1, atol=0.1)
    step.loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@every_method
def test_the_loop_runs_in_mixed_precision(name, tmp_path):
    trainer = trainer_for(recipe_for(METHODS[name]), noise_source(), tmp_path, precision="bf16-mixed")
    assert trainer.run().finished
    terms = {key.partition("/")[2] for line in metrics_of(tmp_path) for key in line if key.startswith("term/")}
    norms = {key.partition("/")[2] for line in metrics_of(tmp_path) for key in line if key.startswith("gradient/")}
    assert norms == (terms if len(terms) > 1 else set())
