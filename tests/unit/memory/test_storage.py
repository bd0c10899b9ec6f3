"""Claims about the interface of memories: methods know nothing else, so that rows may lie elsewhere."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import viewkin.methods
from lawbook import BATCH, METHODS, batch_for, build
from viewkin import losses
from viewkin.memory.storage import Storage
from viewkin.ops.neighbours import ordered
from viewkin.schedules import Progress

SOURCES = sorted(Path(viewkin.methods.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_method_takes_all_rows_of_a_memory(source):
    assert not re.findall(r"\.everything\(|(?:bank|memory|queue)\.(?:features|keys)\b", source.read_text())


class Halves(Storage):
    """A memory whose rows lie in two places, as on two ranks: each answers for its own, and the answers are merged."""

    def __init__(self, rows: Tensor, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        middle = len(rows) // 3
        self.register_buffer("low", rows[:middle].clone())
        self.register_buffer("high", rows[middle:].clone())

    def __len__(self) -> int:
        return len(self.low) + len(self.high)

    def _parts(self) -> list[tuple[int, Tensor]]:
        return [(0, self.low), (len(self.low), self.high)]

    def read(self, index: Tensor) -> Tensor:
        found = torch.zeros(*index.shape, self.low.shape[1], dtype=self.low.dtype)
        for first, rows in self._parts():
            here = (index >= first) & (index < first + len(rows))
            found[here] = rows[index[here] - first]
        return found

    def similarity(self, q: Tensor, images: Tensor) -> Tensor:
        return torch.einsum("bd,brd->br", q, self.read(images.clamp_min(0)))

    def nearest(self, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
        found = [(rows, first, (q.detach() @ rows.T).topk(min(k, len(rows)))) for first, rows in self._parts()]
        value = torch.cat([top.values for _, _, top in found], 1)
        place = torch.cat([top.indices + first for _, first, top in found], 1)
        value, place = ordered(value, place)
        return value[:, :k], place[:, :k]

    def log_probability(self, q: Tensor, index: Tensor, temperature: float, own: Tensor | None = None) -> Tensor:
        own = self.read(index) if own is None else own
        positive, sums = (q * own).sum(1) / temperature, []
        for first, rows in self._parts():
            mine = torch.arange(first, first + len(rows)) == index.unsqueeze(1)
            sums.append((q @ rows.T / temperature).masked_fill(mine, -torch.inf).logsumexp(1))
        return positive - torch.stack([positive, *sums]).logsumexp(0)

    def nearest_sums(self, *_: object, **__: object) -> losses.Nearest:
        raise NotImplementedError

    def relation_divergence(self, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return torch.nn.functional.kl_div(
            self._log(second, temperature), self._log(first, temperature), log_target=True, reduction="none"
        ).sum(1)

    def relation_cross_entropy(self, teacher: Tensor, student: Tensor, temperatures: tuple[float, float]) -> Tensor:
        return -(self._log(teacher, temperatures[0]).exp() * self._log(student, temperatures[1])).sum(1)

    def _log(self, q: Tensor, temperature: float) -> Tensor:
        return torch.cat([q @ rows.T for _, rows in self._parts()], 1).div(temperature).log_softmax(1)

    def write_(self, index: Tensor, z: Tensor) -> None:
        mixed = losses.unit(self.momentum * self.read(index) + (1 - self.momentum) * z)
        for first, rows in self._parts():
            here = (index >= first) & (index < first + len(rows))
            rows[index[here] - first] = mixed[here]


@pytest.mark.parametrize("name", ["npid", "npid-infonce", "npid-nce", "iraug", "eir"])
def test_a_method_does_the_same_with_rows_in_two_places(name):
    whole, divided = build(METHODS[name]).double(), build(METHODS[name]).double()
    owner = divided
    while hasattr(owner, "base"):
        owner = owner.base
    owner.bank = Halves(owner.bank.everything(), owner.bank.momentum)
    for step in range(3):
        at = Progress(step=step, steps=3)
        index = torch.randperm(24, generator=torch.Generator().manual_seed(step))[:BATCH]
        one, other = (
            method(batch_for(method, index, step=step, dtype=torch.float64), at) for method in (whole, divided)
        )
        torch.testing.assert_close(one.loss, other.loss)
        gradients = [
            torch.autograd.grad(found.loss, next(method.encoder.head.parameters()))[0]
            for method, found in ((whole, one), (divided, other))
        ]
        torch.testing.assert_close(*gradients)
        for method, found in ((whole, one), (divided, other)):
            method.update(found.record, at)
    torch.testing.assert_close(whole.bank.everything(), divided.bank.read(torch.arange(24)))
