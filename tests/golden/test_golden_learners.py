"""Worked values of the learners that people take, computed without this library; and loops and limits beside them."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from planar import PRECISIONS, TAU, near, own, u
from viewkin import losses
from viewkin.augment.multi_crop import MultiCropConfig
from viewkin.methods.base import Batch
from viewkin.methods.diet import DIETConfig
from viewkin.methods.dino import DINOConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.moco_v3 import MoCoV3Config
from viewkin.methods.nnclr import NNCLRConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simsiam import SimSiamConfig
from viewkin.methods.swav import SwAVConfig
from viewkin.methods.vicreg import VICRegConfig
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.optim import OptimConfig, ScheduleConfig, build_optimizer, clip_each_, set_lr
from viewkin.runtime.draws import Draw, generator_for
from viewkin.schedules import Progress

DOUBLE = torch.float64
FIRST, SECOND = ([[1, 2], [3, 1], [5, 6]], [[2, 1], [3, 2], [7, 5]])
"""Two views of three images, D = 2."""


class Flat(nn.Module):
    """A backbone that gives pixels: (B, 3, 2, 2) -> (B, 12)."""

    feature_dim = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def of(rows: Any, dtype: torch.dtype = DOUBLE, by: float = 1.0) -> Tensor:
    return torch.tensor(rows, dtype=dtype) / by


# ---------------------------------------------------------------- SimSiam and FastSiam


def fed(config: SimSiamConfig, projections: Tensor, predictions: Tensor) -> float:
    """The loss of one image whose views have these projections and predictions (V, D)."""
    method = config.build(Flat(), count=4).double()
    given = iter(projections), iter(predictions)
    for network, outputs in zip((method.encoder, method.predictor), given):
        network.forward = lambda x, rows=outputs: next(rows).unsqueeze(0)  # type: ignore[method-assign]
    views = {name: torch.zeros(1, 3, 2, 2, dtype=DOUBLE) for name in method.view_spec}
    batch = Batch(views, torch.zeros(1, dtype=torch.int64), Draw(0, 0, 1, 0, 1))
    return float(method(batch, Progress()).loss.detach())


def test_simsiam_of_views_at_60_degrees():
    assert fed(SimSiamConfig(dim=2), u(0, 60), u(0, 60)) == pytest.approx(-0.5)


def test_fastsiam_averages_raw_projections():
    z, p = of([[1, 0], [0, 2], [3, 3]]), of([[1, 1], [1, 0], [0, 1]])
    found = fed(SimSiamConfig(dim=2, views=3), z, p)
    assert found == pytest.approx(-0.888190, abs=1e-6)
    assert found != pytest.approx(-0.851622, abs=1e-3)  # of unit projections
    assert found != pytest.approx(-0.735702, abs=1e-3)  # of pairwise cosines


# ---------------------------------------------------------------- Barlow Twins


@PRECISIONS
def test_cross_correlation(dtype, tolerance):
    first, second = of(FIRST, dtype), of(SECOND, dtype)
    invariance, redundancy = losses.cross_correlation_loss(first, second, 0.0051)
    near(invariance + redundancy, 0.020634, tolerance)
    correlation = losses.statistics.standardised(first).T @ losses.statistics.standardised(second) / 3
    near(correlation.flatten(), [0.944908, 0.960765, 0.928569, 0.907839], tolerance)


# ---------------------------------------------------------------- VICReg


@PRECISIONS
def test_terms_of_vicreg(dtype, tolerance):
    first, second = of(FIRST, dtype, 4), of(SECOND, dtype, 4)
    invariance = (first - second).square().mean()
    variance = (losses.hinged_deviation(first) + losses.hinged_deviation(second)) / 2
    covariance = losses.off_diagonal_covariance(first) + losses.off_diagonal_covariance(second)
    near(invariance, 0.083333, tolerance)
    near(variance, 0.414090, tolerance)
    near(covariance, 0.180664, tolerance)
    config = VICRegConfig()
    weights = (config.invariance, config.variance, config.covariance)
    near(weights[0] * invariance + weights[1] * variance + weights[2] * covariance, 12.616251, 20 * tolerance)


def test_vicreg_of_longer_vectors_has_no_variance_term():
    first, second = of(FIRST), of(SECOND)
    assert float(losses.hinged_deviation(first) + losses.hinged_deviation(second)) == 0
    found = losses.off_diagonal_covariance(first) + losses.off_diagonal_covariance(second)
    assert float(found) == pytest.approx(46.25, abs=1e-6)


def test_vicreg_of_constant_embeddings_and_of_shifted_ones():
    assert float(losses.hinged_deviation(torch.ones(5, 3, dtype=DOUBLE))) == pytest.approx(0.99)
    z, shift = of(FIRST, by=4), of([3, -7])
    assert float(losses.hinged_deviation(z + shift)) == pytest.approx(float(losses.hinged_deviation(z)))
    assert float(losses.off_diagonal_covariance(z + shift)) == pytest.approx(float(losses.off_diagonal_covariance(z)))


# ---------------------------------------------------------------- SIGReg


@pytest.mark.parametrize(
    ("values", "expected"),
    [([-1, 0, 0.5, 2], 0.214214), ([0, 0, 0, 0], 1.608190), ([-0.31864, 0.31864, -1.15035, 1.15035], 0.027398)],
)
def test_distance_from_a_normal_distribution(values, expected):
    found = losses.gaussian_distance(of(values).unsqueeze(1), torch.ones(1, 1, dtype=DOUBLE))
    assert float(found) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- NNCLR


def test_nnclr_looks_up_before_it_enqueues():
    method = NNCLRConfig(dim=2, queue_size=2, temperature=0.5).build(Flat(), count=9).double()
    method.queue.keys.copy_(u(0, 90))
    z, p, index = u(20, 60), u(30, 70), torch.arange(2)
    assert float(method.pair_loss(p, method.neighbour(z), index).mean()) == pytest.approx(0.323865, abs=1e-6)
    method.queue.push_(z)  # the mistake: each projection finds itself
    assert torch.equal(method.neighbour(z), z)
    assert float(method.pair_loss(p, method.neighbour(z), index).mean()) == pytest.approx(0.494956, abs=1e-6)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: sum(losses.cross_correlation_loss(z, z.roll(1, 0), 0.0051)),
        lambda z: losses.hinged_deviation(z / 4),
        losses.off_diagonal_covariance,
        lambda z: losses.gaussian_distance(z, u(20, 130, 250)),
    ],
    ids=["barlow", "variance", "covariance", "sigreg"],
)
def test_gradients_are_those_of_finite_differences(loss):
    z = of([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.9], [0.1, 2.0]]).requires_grad_()
    assert torch.autograd.gradcheck(loss, z)


# ---------------------------------------------------------------- SwAV


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        (0.5, [0.660245, 0.339755, 0.516091, 0.483909, 0.323964, 0.676036]),
        (0.05, [0.999802, 0.000198, 0.926144, 0.073856, 0.004189, 0.995811]),
    ],
)
@PRECISIONS
def test_balanced_codes(dtype, tolerance, epsilon, expected):
    codes = losses.balanced_codes(of([[0.9, 0.1], [0.8, 0.3], [0.7, 0.6]], dtype), epsilon, 3)
    near(codes.flatten(), expected, tolerance)


def test_codes_give_every_row_one_and_every_prototype_as_much():
    scores = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).clamp(-1, 1)
    codes = losses.balanced_codes(scores, 0.5, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(40, dtype=DOUBLE))
    torch.testing.assert_close(codes.sum(0), torch.full((7,), 40 / 7, dtype=DOUBLE))


def test_codes_against_scores():
    scores = of([[0.9, 0.1], [0.8, 0.3], [0.7, 0.6]])
    codes = losses.balanced_codes(scores, 0.5, 3)
    assert float(losses.code_cross_entropy(codes, scores / 0.1).mean()) == pytest.approx(2.044646, abs=1e-6)


CROPS = (u(10, 70), u(20, 80), u(30, 60))
"""Three crops of two images; the first two are assigned to prototypes at 0 and 90 degrees."""


def swapped(epsilon: float, queue: Tensor | None) -> float:
    scores = [crop @ u(0, 90).T for crop in CROPS]
    rows = [score if queue is None else torch.cat([score, queue @ u(0, 90).T]) for score in scores[:2]]
    codes = [losses.balanced_codes(row, epsilon, 3)[:2] for row in rows]
    return float(losses.swapped_cross_entropy(codes, [score / 0.1 for score in scores]).mean())


@pytest.mark.parametrize(("epsilon", "alone", "queued"), [(0.5, 1.065563, 1.368823), (0.05, 0.013417, 0.013675)])
def test_swapped_codes_with_and_without_a_queue(epsilon, alone, queued):
    assert swapped(epsilon, None) == pytest.approx(alone, abs=1e-6)
    assert swapped(epsilon, u(0, 5)) == pytest.approx(queued, abs=1e-6)


def test_swav_uses_its_queue_once_it_is_full_and_its_epoch_has_come():
    config = SwAVConfig(dim=2, hidden=4, prototypes=2, queue_size=2, queue_epochs=1, freeze_steps=0)
    method = config.build(Flat(), count=9).double()
    late, early = Progress(step=3, steps=4, epochs=2), Progress(step=1, steps=4, epochs=2)
    larger = replace(config, queue_size=8).build(Flat(), count=9)
    assert larger._queued(0, 2, late) is None  # two of its eight rows are random still
    record = {"index": torch.arange(2), "embedding": u(0, 5), "second": u(90, 95)}
    method.update(record, early)
    assert method._queued(0, 2, early) is None
    for place, rows in enumerate((u(0, 5), u(90, 95))):
        torch.testing.assert_close(method._queued(place, 2, late), rows @ method.prototypes.weight.T)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(2, dtype=DOUBLE))


# ---------------------------------------------------------------- DINO


def sines() -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Outputs of the student on four crops, of the teacher on two, (2, 3) each, and the centre."""
    b, k = torch.arange(2, dtype=DOUBLE)[:, None], torch.arange(3, dtype=DOUBLE)
    student = [(1 + v + 2 * b + 3 * k).sin() for v in range(4)]
    teacher = [(v + 2 * b + 3 * k).cos() for v in range(2)]
    return student, teacher, of([0.1, -0.2, 0.3])


@pytest.mark.parametrize(
    ("crops", "student_tau", "teacher_tau", "expected"),
    [(4, 0.1, 0.04, 3.363758), (4, 1.0, 0.5, 0.981270), (2, 1.0, 0.5, 0.989424)],
)
def test_loss_of_dino(crops, student_tau, teacher_tau, expected):
    student, teacher, centre = sines()
    codes = [((t - centre) / teacher_tau).softmax(1) for t in teacher]
    found = losses.swapped_cross_entropy(codes, [s / student_tau for s in student[:crops]]).mean()
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_dino_of_a_student_that_says_nothing():
    _, teacher, _ = sines()
    found = losses.swapped_cross_entropy([t.softmax(1) for t in teacher], [torch.zeros(2, 3, dtype=DOUBLE)] * 4)
    torch.testing.assert_close(found, torch.full((2,), math.log(3), dtype=DOUBLE))


def test_centre_of_dino_moves_to_the_mean_output_of_the_teacher():
    method = DINOConfig(dim=3, hidden=4, outputs=3, momentum=0.0).build(Flat(), count=9).double()
    method.target_last.weight.copy_(torch.eye(3))  # outputs are the bottleneck itself
    _, teacher, centre = sines()
    method.centre.copy_(centre)
    record = {"index": torch.arange(2), "embedding": teacher[0], "both": (teacher[0] + teacher[1]) / 2}
    method.update(record, Progress(steps=10))
    near(method.centre, [0.093354, -0.189995, 0.286436], 1e-6)


def test_weight_decay_of_dino_rises_along_a_cosine():
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    config = OptimConfig(name="adamw", weight_decay=0.04, last_weight_decay=0.4, exclude_norm_and_bias=True)
    optimizer = build_optimizer([{"named": [("weight", weight), ("bias", bias)]}], config, 256)
    for step, expected in {0: 0.04, 25: 0.092721, 50: 0.22, 75: 0.347279}.items():
        set_lr(optimizer, ScheduleConfig(epochs=100), Progress(step=step, steps=100, epochs=100))
        decays = [group["weight_decay"] for group in optimizer.param_groups]
        assert decays == [pytest.approx(expected, abs=1e-6), 0.0]


def test_gradients_are_clipped_parameter_by_parameter():
    long, short = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    long.grad, short.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    clip_each_([long, short], 3.0)
    torch.testing.assert_close(long.grad, torch.tensor([1.8, 2.4]))
    torch.testing.assert_close(short.grad, torch.tensor([0.3, 0.4]))


def test_dino_freezes_its_last_layer_at_first_and_warms_the_teacher():
    config = DINOConfig(teacher_warmup_temperature=0.04, teacher_temperature=0.07, teacher_warmup_epochs=30)
    method = replace(config, dim=3, hidden=4, outputs=5).build(Flat(), count=9)
    found = [method._teacher_temperature(Progress(step=e, steps=100, epochs=100)) for e in (0, 15, 30, 60)]
    assert found == pytest.approx([0.04, 0.055, 0.07, 0.07])
    views = {name: torch.randn(4, 3, 2, 2, generator=generator_for(name)) for name in method.view_spec}
    batch = Batch(views, torch.arange(4), Draw(0, 0, 4, 0, 4))
    for step, moves in ((0, False), (1, True)):
        method.zero_grad()
        method(batch, Progress(step=step, steps=2, epochs=2)).loss.backward()
        assert bool(method.last.weight.grad.any()) == moves


# ---------------------------------------------------------------- DIET, SqrtKL, MoCo


@pytest.mark.parametrize(("smoothing", "expected"), [(0.8, 1.640190), (0.0, 0.440190)])
def test_diet(smoothing, expected):
    method = DIETConfig(smoothing=smoothing).build(Flat(), count=4).double()
    with torch.no_grad():
        method.encoder.head.weight.zero_()
        method.encoder.head.weight[:, 0] = of([2, 1, 0, -1])
    view = torch.zeros(1, 3, 2, 2, dtype=DOUBLE)
    view[0, 0, 0, 0] = 1
    batch = Batch({"view": view}, torch.zeros(1, dtype=torch.int64), Draw(0, 0, 1, 0, 1))
    assert float(method(batch, Progress()).loss.detach()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("first", "expected"), [("softmax", 0.072627), ("root", 0.095336)])
def test_divergence_from_the_root_of_the_softmax(first, expected):
    q, _, bank, _ = own()
    config = NPIDConfig(dim=2, temperature=TAU, sqrt_kl=1.0, sqrt_kl_of=first)
    method = config.build(Flat(), count=6).double()
    method.bank.features.copy_(bank)
    q = q.clone().requires_grad_()
    found = method.root_divergence(q)
    near(found, expected, 1e-6)
    found.sum().backward()
    constant, moving = (TAU, 2 * TAU) if first == "softmax" else (2 * TAU, TAU)
    p = (q.detach() @ bank.T / constant).softmax(1)

    def divergence(v: Tensor) -> Tensor:
        return (p * (p.log() - (v @ bank.T / moving).log_softmax(1))).sum()

    torch.testing.assert_close(q.grad, torch.autograd.functional.jacobian(divergence, q.detach()))


def test_momentum_of_moco_v2plus_rises_to_its_last_value():
    config = MoCoConfig(dim=2, queue_size=4, momentum=0.99, last_momentum=0.999)
    method = config.build(Flat(), count=9).double()
    for fraction, expected in ((0, 0.99), (50, 0.9945), (100, 0.999)):
        with torch.no_grad():
            for copy, online in zip(method.key_encoder.parameters(), method.encoder.parameters()):
                copy.fill_(1.0)
                online.fill_(0.0)
        method.update({"embedding": u(0, 90)}, Progress(step=fraction, steps=100))
        assert float(next(method.key_encoder.parameters()).flatten()[0]) == pytest.approx(expected, abs=1e-9)


def test_moco_v3_is_a_cross_entropy_over_the_keys_of_the_batch_times_twice_the_temperature():
    method = MoCoV3Config(dim=2, hidden=4, temperature=0.5).build(Flat(), count=9).double()
    q, k = u(10, 80, 200), u(0, 90, 180)
    expected = []
    for i in range(3):
        logits = [float(q[i] @ k[j]) / 0.5 for j in range(3)]
        expected.append(2 * 0.5 * (math.log(sum(map(math.exp, logits))) - logits[i]))
    assert method.pair_loss(q, k, torch.arange(3)).tolist() == pytest.approx(expected)


def test_crops_of_several_sizes_pass_a_vision_transformer():
    pytest.importorskip("timm")
    torch.manual_seed(0)
    backbone = build_backbone(BackboneConfig(name="timm/test_vit", any_size=True))
    config = DINOConfig(dim=8, hidden=16, outputs=12, crops=MultiCropConfig(small=2, size=32))
    method = config.build(backbone, count=9)
    sizes = {name: spec.size or 64 for name, spec in method.view_spec.items()}
    assert sorted(sizes.values()) == [32, 32, 64, 64]
    views = {name: torch.randn(2, 3, size, size) for name, size in sizes.items()}
    step = method(Batch(views, torch.arange(2), Draw(0, 0, 2, 0, 2)), Progress(step=1))
    step.loss.backward()
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())
