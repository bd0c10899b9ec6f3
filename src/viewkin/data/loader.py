"""The batches of training: every rank and micro-batch takes its rows of one global order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from viewkin.data.source import Source, StreamingSource
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError


class Loader:
    """Goes through a source in a new order each epoch, a whole global batch a step; the tail is dropped.

    The order of an epoch is a function of (seed, epoch) alone. Step s takes rows s*G to (s+1)*G of it, with G the
    global batch, rank-major: rank r, micro-batch m of A with b = G / (world * A) rows takes rows (r*A + m)*b onwards.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        workers: int = 0,
    ) -> None:
        """Prepare batches of ``batch_size`` images over all ranks and ``accumulate`` micro-batches a step.

        Raises:
            UserError: the batch does not fit the source, the ranks or the micro-batches.
        """
        if batch_size < 1 or accumulate < 1 or workers < 0:
            raise UserError("The batch size and the micro-batches a step must be at least 1, the workers at least 0.")
        if batch_size > len(source):
            raise UserError(
                f"A batch of {batch_size} images is more than the {len(source)} of {source.name}: "
                f"give a batch size of at most {len(source)}."
            )
        if batch_size % (world * accumulate):
            raise UserError(
                f"A batch of {batch_size} images does not divide over {world} processes times {accumulate} "
                f"micro-batches: give a multiple of {world * accumulate}."
            )
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.workers = workers
        self.rows = batch_size // (world * accumulate)
        self.first = rank * accumulate * self.rows

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return len(self.source) // self.batch_size

    def order(self, epoch: int) -> Tensor:
        """Give the permutation of all images of an epoch, (N,) int64, the same on every rank."""
        return torch.randperm(len(self.source), generator=generator_for(self.seed, "order", epoch))

    def epoch(self, epoch: int, step: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Yield this rank's share of each step from ``step`` on: ``accumulate`` pairs of (index, images).

        index (b,) int64 and images (b, 3, S, S) uint8 lie on the source's device. Starting at step s gives exactly
        what a full epoch gives after s steps.
        """
        parts = self._indices(epoch, step)
        if isinstance(self.source, StreamingSource):
            batches = zip(parts, self.source.prefetch(parts, self.workers))
        else:
            batches = ((index, self.source.images(index)) for index in parts)
        while micro := list(islice(batches, self.accumulate)):
            yield micro

    def _indices(self, epoch: int, step: int) -> tuple[Tensor, ...]:
        """List the indices of every micro-batch of this rank, from ``step`` to the end of the epoch."""
        whole = self.order(epoch)[: self.steps * self.batch_size].view(self.steps, self.batch_size)
        mine = whole[step:, self.first : self.first + self.accumulate * self.rows]
        return mine.reshape(-1, self.rows).to(self.source.device).unbind(0)
