"""Claims about optimisers, their groups and the learning rate."""

import math

import pytest
import torch
from torch import nn

from viewkin.optim import LARS, OptimConfig, ScheduleConfig, build_optimizer, set_lr
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress


def _at(epoch: float, epochs: int, per_epoch: int = 10) -> Progress:
    return Progress(step=round(epoch * per_epoch), steps=epochs * per_epoch, epoch=int(epoch), epochs=epochs)


def _network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).double()


def _groups(net: nn.Module) -> list[dict]:
    return [{"named": list(net.named_parameters())}]


def _train(net, optimizer, steps, start=0):
    for step in range(start, start + steps):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw", "adam"])
def test_optimiser_state_round_trips(name, tmp_path):
    config = OptimConfig(name=name, lr=0.1, exclude_norm_and_bias=True)
    schedule = ScheduleConfig(epochs=10)
    whole = _network()
    optimizer = build_optimizer(_groups(whole), config, 8)
    set_lr(optimizer, schedule, _at(5, 10))
    _train(whole, optimizer, 3)
    torch.save({"net": whole.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    _train(whole, optimizer, 3, start=3)

    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = _network()
    optimizer = build_optimizer(_groups(resumed), config, 8)
    resumed.load_state_dict(stored["net"])
    optimizer.load_state_dict(stored["optimizer"])
    _train(resumed, optimizer, 3, start=3)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters()))


@pytest.mark.parametrize(
    ("config", "oracle"),
    [
        (
            OptimConfig(lr=0.1, momentum=0.8, weight_decay=0.01),
            lambda p: torch.optim.SGD(p, 0.1, 0.8, weight_decay=0.01),
        ),
        (
            OptimConfig(lr=0.1, nesterov=True, weight_decay=0),
            lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
        ),
        (
            OptimConfig(name="adam", lr=2e-4, betas=(0.8, 0.999), weight_decay=1e-5),
            lambda p: torch.optim.Adam(p, 2e-4, (0.8, 0.999), weight_decay=1e-5),
        ),
        (
            OptimConfig(name="adamw", lr=1e-3, weight_decay=0.05, eps=1e-6),
            lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.05, eps=1e-6),
        ),
    ],
)
def test_options_reach_torchs_optimisers(config, oracle):
    net, other = _network(), _network()
    _train(net, build_optimizer(_groups(net), config, 8), 4)
    _train(other, oracle(other.parameters()), 4)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_lars_options_reach_lars():
    config = OptimConfig(name="lars", lr=0.4, momentum=0.8, weight_decay=1e-3, lars_eta=0.02, lars_clip=True)
    net, other = _network(), _network()
    _train(net, build_optimizer(_groups(net), config, 8), 4)
    oracle = LARS(other.parameters(), 0.4, momentum=0.8, weight_decay=1e-3, eta=0.02, clip=True)
    _train(other, oracle, 4)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_rate_is_per_256_images_only_when_asked():
    net = _network()
    assert build_optimizer(_groups(net), OptimConfig(lr=0.3), 1024).param_groups[0]["lr"] == 0.3
    scaled = build_optimizer(_groups(net), OptimConfig(lr=0.3, scale_lr=True), 1024)
    assert scaled.param_groups[0]["lr"] == pytest.approx(1.2)


def test_norms_and_biases_go_without_decay_only_when_asked():
    net = _network()
    decayed = {id(net[0].weight), id(net[3].weight)}
    for excluded in (False, True):
        config = OptimConfig(weight_decay=0.5, exclude_norm_and_bias=excluded)
        groups = build_optimizer(_groups(net), config, 8).param_groups
        found = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert len(found) == len(list(net.parameters()))
        assert all(decay == (0.5 if key in decayed or not excluded else 0) for key, decay in found.items())


def test_groups_scale_fix_and_override_rates():
    net = _network()
    groups = [
        {"named": list(net[0].named_parameters()), "lr_scale": 2.0},
        {"named": list(net[1].named_parameters()), "momentum": 0.0},
        {"named": list(net[3].named_parameters()), "constant_lr": True},
    ]
    optimizer = build_optimizer(groups, OptimConfig(lr=0.1), 8)
    assert set_lr(optimizer, ScheduleConfig(epochs=10), _at(5, 10)) == pytest.approx(0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.05, 0.1])
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.0, 0.9]


def test_a_method_without_parameters_is_refused():
    with pytest.raises(UserError, match="no trainable parameter"):
        build_optimizer([{"named": []}], OptimConfig(), 8)


def test_eir_schedule_has_the_published_rates():
    schedule = ScheduleConfig(epochs=200, kind="step", milestones=(120, 160), factor=0.1)
    rates = [0.03 * schedule.factor_at(_at(epoch, 200)) for epoch in (0, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.03, 0.03, 0.003, 0.003, 0.0003, 0.0003])
    assert schedule.factor_at(_at(119.9, 200)) == 1


def test_isif_levels_are_shares_of_the_base_rate():
    schedule = ScheduleConfig(epochs=301, kind="step", milestones=(120, 160, 200), factor=(0.1, 0.05, 0.01))
    assert [schedule.factor_at(_at(e, 301)) for e in (119, 120, 160, 200, 300)] == [1, 0.1, 0.05, 0.01, 0.01]


def test_cosine_without_warmup_starts_at_one_and_ends_at_final():
    schedule = ScheduleConfig(epochs=100, final=0.001)
    assert [schedule.factor_at(_at(e, 100)) for e in (0, 50, 100)] == pytest.approx([1, 0.5005, 0.001])


@pytest.mark.parametrize("options", [{"warmup_epochs": 10.0}, {"warmup_steps": 100}])
def test_cosine_runs_over_what_warmup_leaves(options):
    schedule = ScheduleConfig(epochs=110, **options)
    factors = [schedule.factor_at(_at(e, 110)) for e in (0, 5, 10, 60, 110)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_amdim_warms_up_over_500_updates_and_then_stays():
    schedule = ScheduleConfig(epochs=300, kind="step", milestones=(250, 280), factor=0.2, warmup_steps=500)
    at = [Progress(step=s, steps=300 * 104, epoch=s // 104, epochs=300) for s in (0, 250, 500, 250 * 104, 280 * 104)]
    assert [schedule.factor_at(a) for a in at] == pytest.approx([0, 0.5, 1, 0.2, 0.04])


def test_constant_stays():
    assert {ScheduleConfig(epochs=9, kind="constant").factor_at(_at(e, 9)) for e in range(10)} == {1.0}


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleConfig(epochs=200, kind="step", milestones=(120, 160)),
        ScheduleConfig(epochs=200, warmup_epochs=10, final=0.01),
        ScheduleConfig(epochs=200, kind="constant", warmup_epochs=40),
    ],
)
@pytest.mark.parametrize("epochs", [1, 3, 50, 1000])
def test_scaled_schedule_has_the_same_shape(schedule, epochs):
    short = schedule.scaled(epochs)
    assert (short.epochs, short.kind) == (epochs, schedule.kind)
    # Off the drops themselves, where a float decides.
    for share in (0.0, 0.03, 0.2, 0.59, 0.61, 0.79, 0.81, 1.0):
        at = [Progress(step=round(share * 10_000), steps=10_000, epochs=n) for n in (200, epochs)]
        assert short.factor_at(at[1]) == pytest.approx(schedule.factor_at(at[0]))


def test_scaled_milestones_stay_exact():
    assert ScheduleConfig(epochs=200, kind="step", milestones=(120, 160)).scaled(50).milestones == (30, 40)
    assert ScheduleConfig(epochs=300, kind="constant", warmup_steps=500).scaled(30).warmup_steps == 50


@pytest.mark.parametrize("milestones", [(160, 120), (120, 120), (0, 10), (120, 200), (250,), (-1, 5)])
def test_milestones_must_rise_below_the_epochs(milestones):
    with pytest.raises(UserError, match=r"^milestones is .*rising"):
        ScheduleConfig(epochs=200, kind="step", milestones=milestones)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "linear"},
        {"epochs": 0},
        {"rounds": 0},
        {"kind": "step"},
        {"milestones": (10,)},
        {"warmup_epochs": -1.0},
        {"warmup_epochs": 200.0},
        {"warmup_epochs": 1.0, "warmup_steps": 5},
        {"final": 1.5},
        {"final": 0.1, "kind": "constant"},
        {"kind": "step", "milestones": (1, 2), "factor": (0.1,)},
        {"kind": "step", "milestones": (1, 2), "factor": 0.0},
    ],
)
def test_bad_schedules_are_refused(options):
    with pytest.raises(UserError, match=f"^({'|'.join([*options, 'milestones'])}) is "):
        ScheduleConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "sdg"},
        {"lr": 0.0},
        {"lr": math.nan},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"betas": (0.9, 1.0)},
        {"eps": 0.0},
        {"lars_eta": 0.0},
        {"nesterov": True, "momentum": 0.0},
        {"nesterov": True, "name": "lars"},
    ],
)
def test_bad_optimisers_are_refused(options):
    with pytest.raises(UserError, match=f"^{next(iter(options))} is "):
        OptimConfig(**options)
