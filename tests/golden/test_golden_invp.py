"""The methods manual's worked values of InvP and ISIF, on its fixture F."""

import math

import pytest
import torch
from torch import Tensor

from planar import ANGLES, PRECISIONS, TAU, near, u
from viewkin import losses
from viewkin.losses import Denominator
from viewkin.memory.graph import GraphConfig, NeighbourGraph
from viewkin.ops.neighbours import top_k
from viewkin.schedules import Progress, RampConfig, gaussian_ramp

EDGES = [[1, 2], [2, 0], [3, 1], [2, 4], [5, 3], [4, 0]]
ANCHOR = torch.tensor([0])


def graph() -> NeighbourGraph:
    made = NeighbourGraph(6, 2)
    made.neighbours.copy_(torch.tensor(EDGES))
    return made


def instance(dtype: torch.dtype, form: Denominator, m: int) -> Tensor:
    """L_ins of fixture F."""
    nearest = losses.nearest_sums(u(10, dtype=dtype), u(*ANGLES, dtype=dtype), ANCHOR, m, TAU, denominator=form)
    return losses.nearest_instance_loss(nearest, form)


def pulled(
    dtype: torch.dtype, form: Denominator, hops: int, p: int, m: int, *, easy: bool = False, **how: bool
) -> Tensor:
    """L_inv of fixture F: walk and M for the code, breadth-first search and M others for the paper."""
    q, bank = u(10, dtype=dtype), u(*ANGLES, dtype=dtype)
    image = torch.cat((graph().walk if form == "code" else graph().bfs)(ANCHOR, hops), 1)
    kin = losses.Positives(image, losses.bank_similarity(q, bank, image))
    nearest = losses.nearest_sums(q, bank, ANCHOR, m, TAU, positives=kin, denominator=form)
    return losses.propagation_loss(nearest, losses.choose_positives(kin, p, easy=easy), TAU, form, **how)


# ---------------------------------------------------------------- the graph


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(1, [1, 2]), (2, [1, 2, 2, 0, 3, 1]), (3, [1, 2, 2, 0, 3, 1, 3, 1, 1, 2, 2, 4, 2, 0])],
)
def test_walk_joins_the_lists_of_neighbours(hops, expected):
    assert torch.cat(graph().walk(ANCHOR, hops), 1).tolist() == [expected]


@pytest.mark.parametrize(("hops", "expected"), [(1, {1, 2}), (2, {1, 2, 3}), (3, {1, 2, 3, 4}), (4, {1, 2, 3, 4, 5})])
def test_breadth_first_search_meets_each_image_once(hops, expected):
    found = [i for i in torch.cat(graph().bfs(ANCHOR, hops), 1)[0].tolist() if i >= 0]
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(("hops", "columns"), [(1, 4), (2, 20), (3, 84), (4, 340)])
def test_number_of_columns_of_a_walk(hops, columns):
    assert GraphConfig(neighbours=4, hops=hops).columns == columns
    found = NeighbourGraph(9, 4).walk(torch.tensor([3, 8]), hops)
    assert sum(hop.shape[1] for hop in found) == columns


@pytest.mark.parametrize(("image", "expected"), [(0, [2, 1]), (1, [0, 2]), (2, [0, 1]), (3, [0, 1])])
def test_row_of_the_graph_after_a_view_at_ten_degrees(image, expected):
    made = graph()
    _, nearest = top_k(u(10), u(*ANGLES), 3)
    made.update_(torch.tensor([image]), nearest)
    assert made.neighbours[image].tolist() == expected
    others = [i for i in range(6) if i != image]
    assert made.neighbours[others].tolist() == [EDGES[i] for i in others]


# ---------------------------------------------------------------- losses of the code


@PRECISIONS
@pytest.mark.parametrize(("m", "expected"), [(4, 0.961545), (6, 1.005684)])
def test_instance_loss_of_the_code(dtype, tolerance, m, expected):
    near(instance(dtype, "code", m), expected, tolerance)


@PRECISIONS
@pytest.mark.parametrize(
    ("hops", "p", "m", "how", "expected"),
    [
        (2, 2, 4, {}, 0.833591),
        (2, 2, 4, {"exclusive": False}, 1.315346),
        (2, 2, 4, {"easy": True}, -0.169259),
        (2, 3, 6, {}, 0.362504),
        (1, 2, 4, {}, 0.130335),
    ],
)
def test_propagation_loss_of_the_code(dtype, tolerance, hops, p, m, how, expected):
    near(pulled(dtype, "code", hops, p, m, **how), expected, tolerance)


# ---------------------------------------------------------------- losses of the paper


@PRECISIONS
def test_instance_loss_of_the_paper_and_the_total(dtype, tolerance):
    alone = instance(dtype, "paper", 4)
    near(alone, 0.998539, tolerance)
    near(alone + 0.6 * pulled(dtype, "paper", 1, 2, 4), 1.112273, tolerance)


@PRECISIONS
@pytest.mark.parametrize(
    ("hops", "p", "m", "expected"), [(1, 2, 4, 0.189557), (1, 1, 4, 0.461637), (2, 2, 5, 0.155418)]
)
def test_propagation_loss_of_the_paper(dtype, tolerance, hops, p, m, expected):
    near(pulled(dtype, "paper", hops, p, m), expected, tolerance)


@PRECISIONS
def test_mix_contrast(dtype, tolerance):
    log_p = torch.tensor([0.365794], dtype=dtype).log()
    partner = torch.tensor([0.072223], dtype=dtype).log()
    near(losses.mixed_instance_loss(log_p, partner, torch.tensor([0.25], dtype=dtype)), 1.926785, 2 * tolerance)


# ---------------------------------------------------------------- the ramp


@pytest.mark.parametrize(("epoch", "expected"), [(29, 0), (30, 0), (31, 1)])
@pytest.mark.parametrize("ramp", [RampConfig(epochs=30), RampConfig(share=0.15)], ids=["epochs", "share"])
def test_binary_ramp_starts_with_epoch_31(ramp, epoch, expected):
    steps = 390
    for step in (steps * (epoch - 1), steps * epoch - 1):  # first and last step of the epoch, which count from 1
        assert ramp.weight_at(Progress(step=step, steps=200 * steps, epoch=epoch - 1, epochs=200)) == expected


@pytest.mark.parametrize(("t", "expected"), [(0, 0.00674), (15, 0.28650), (30, 1.0)])
def test_gaussian_ramp(t, expected):
    assert gaussian_ramp(t, 30) == pytest.approx(expected, abs=5e-6)
    at = Progress(step=10 * t, steps=2000, epoch=t, epochs=200)
    assert RampConfig(shape="gaussian", epochs=30).weight_at(at) == gaussian_ramp(t, 30)


# ---------------------------------------------------------------- ISIF

VIEWS = (0, 60, 10, 80)
OWN, PARTNER = torch.arange(4), torch.tensor([2, 3, 0, 1])


@PRECISIONS
def test_isif_of_two_images(dtype, tolerance):
    z = u(*VIEWS, dtype=dtype)
    near(losses.invariant_spread(z @ z.T, OWN, PARTNER, TAU).mean(), 0.994964, tolerance)


@PRECISIONS
def test_isif_without_spreading_is_nt_xent(dtype, tolerance):
    z = u(*VIEWS, dtype=dtype)
    whole = losses.invariant_spread(z @ z.T, OWN, PARTNER, TAU)
    q = (z @ z.T / TAU).masked_fill(torch.eye(4, dtype=torch.bool), -math.inf).softmax(1)
    spread = torch.stack([sum((1 - q[a, b]).log() for b in range(4) if b not in (a, PARTNER[a])) for a in range(4)])  # type: ignore[misc]
    near((whole + spread).mean(), 0.531753, tolerance)
    near((whole + spread).mean(), float(losses.nt_xent(z[:2], z[2:], TAU).mean()), tolerance)


@PRECISIONS
def test_isif_gives_each_row_its_own_gradient_only(dtype, tolerance):
    z = u(*VIEWS, dtype=dtype).requires_grad_()
    losses.invariant_spread(z @ z.detach().T, OWN, PARTNER, TAU).mean().backward()
    expected = [[-0.193756, 0.240108], [0.337576, -0.364482], [-0.231563, 0.345466], [0.150877, -0.234405]]
    near(z.grad, expected, tolerance)  # type: ignore[arg-type]
