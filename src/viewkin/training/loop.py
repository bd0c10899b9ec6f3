"""The training loop: views, forward, backward, optimiser step, memory update; and around it the watch and the saves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor

from viewkin.augment.policies import Policy
from viewkin.augment.views import Parameters, ViewMaker, test_view
from viewkin.data.loader import Loader
from viewkin.data.source import Source
from viewkin.encode.over_ranks import encode_all
from viewkin.methods.base import Batch, Method, Step, feature_dim
from viewkin.nets.heads import Encoder, recorded_features
from viewkin.nets.norm import average_statistics_
from viewkin.optim import build_optimizer, clip_each_, set_lr, with_rate
from viewkin.runtime import distributed
from viewkin.runtime.allocation import kept_memory
from viewkin.runtime.draws import Draw, generator_for, onto, seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.fabric_package import Fabric
from viewkin.runtime.progress import Reporter, reporter
from viewkin.schedules import Progress
from viewkin.training.config import Recipe, delays
from viewkin.training.fabric import differentiating, placed, takes_channels_last
from viewkin.training.interrupt import Interrupt
from viewkin.training.logs import Display, MetricsLog
from viewkin.training.monitors import LABELS_NEEDED, KnnMonitor, labelled, term_gradients
from viewkin.training.online_heads import OnlineHeads
from viewkin.training.outcome import Outcome
from viewkin.training.records import joined
from viewkin.training.run_state import RunState, stated
from viewkin.training.watch import Watch, gradient_norm

MicroBatch = tuple[Tensor, Tensor]
"""(index (b,), images (b, 3, S, S) uint8)."""


class Trainer:
    """One run: its state is named here, and all of it is in the checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        method: Method,
        policy: Policy,
        fabric: Fabric,
        out: Path,
        metadata: Mapping[str, Any],
    ) -> None:
        """Set up devices, views and loader; nothing is written before :meth:`run`.

        Args:
            recipe: resolved settings.
            source: the images to train on.
            method: built for ``len(source)`` images.
            policy: augmentation policy.
            fabric: launched.
            out: run directory.
            metadata: what ``load_backbone`` needs, kept in the checkpoint as JSON.

        Raises:
            UserError: classifiers are to learn beside the network, and too few images have a label.
        """
        self.recipe, self.policy, self.fabric, self.out = recipe, policy, fabric, out
        self.rank, self.world = fabric.global_rank, fabric.world_size
        self.source = placed(source, fabric.device)
        self.method = method
        self.channels_last = recipe.runtime.channels_last and takes_channels_last(method, fabric.device.type)
        if self.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer: torch.optim.Optimizer
        self.forward = self._wrap()
        self.views = ViewMaker(policy, recipe.augment.side, method.view_spec)
        data = recipe.data
        self.loader = Loader(
            self.source,
            batch_size=data.batch_size,
            seed=recipe.seed,
            rank=self.rank,
            world=self.world,
            accumulate=data.accumulate,
            workers=recipe.runtime.workers,
        )
        schedule = recipe.schedule
        self.at = Progress(
            steps=self.loader.steps * schedule.epochs, epochs=schedule.epochs, rounds=schedule.rounds, seed=recipe.seed
        )
        self.monitor: KnnMonitor | None = None
        if source.labels is not None and labelled(source.labels) >= LABELS_NEEDED:
            self.monitor = KnnMonitor(method, source.labels, method.dim, recipe.seed)
            self.monitor.bank.to(fabric.device)
        self.online: OnlineHeads | None = None
        if recipe.runtime.online_heads:
            if self.monitor is None:
                raise UserError(
                    f"runtime.online_heads learns from labels, and {labelled(source.labels)} of the images have one, "
                    f"where {LABELS_NEEDED} are needed; leave it out."
                )
            width, steps = feature_dim(method.backbone), self.at.steps * self.at.rounds
            labels, held = self.monitor.labels, self.monitor.queries
            self.online = OnlineHeads(width, labels, held, steps=steps, seed=recipe.seed, device=fabric.device)
        self.state = RunState(
            method=method,
            optimizer=self.optimizer,
            fabric=fabric,
            source=self.source,
            at=self.at,
            monitor=self.monitor,
            online=self.online,
            out=out,
            metadata=metadata,
            settings=stated(recipe),
        )
        self.interrupt = Interrupt(told=self.rank == 0)
        self._stop = False
        self._bad_step = torch.zeros(1, dtype=torch.int64, device=fabric.device)
        self.term_norms: dict[str, Tensor] = {}

    def _wrap(self) -> Any:
        if self.recipe.runtime.compile:
            # The networks alone: around them there is little to gain, and the views of their outputs crash torch 2.14.
            # What a compiled pass keeps must outlive the norms of the terms' own gradients.
            torch._functorch.config.donated_buffer = False
            for network in self.method.modules():
                if isinstance(network, Encoder):
                    network.compile()
        groups = self.method.param_groups()
        if self.recipe.init.lr_scale < 1:
            groups = with_rate(groups, self.method.backbone.parameters(), self.recipe.init.lr_scale)
        optimizer = build_optimizer(groups, self.recipe.optim, self.recipe.data.batch_size)
        wrapped = self.fabric.setup_module(self.method)
        # DistributedDataParallel equalises parameters, not memory.
        for buffer in self.method.buffers():
            buffer.copy_(distributed.agree(buffer))
        self.optimizer = self.fabric.setup_optimizers(optimizer)  # type: ignore[assignment]
        return wrapped

    def run(self, *, resume: bool = False) -> Outcome:
        """Train to the end, or to a signal.

        Raises:
            UserError: the checkpoint does not fit.
            RunStoppedError: the loss is no longer finite.
        """
        began, first = time.monotonic(), 0
        self.method.train()
        if resume:
            self.state.load()
            first = self.at.total_step
        else:
            self.method.start(self.encode, self.at)
            self.state.save()
        total = self.at.steps * self.at.rounds
        log = MetricsLog(self.out, from_step=first) if self.rank == 0 else None
        training = 0.0
        keeps = self.recipe.runtime.keep_memory and self.fabric.device.type == "cpu"
        shown = Display(Reporter() if self.rank else reporter(), total, first)
        with kept_memory(keeps), self.interrupt, shown as display:
            watch = Watch(
                log, display, self.monitor, self.recipe.data.batch_size, self.loader.steps, self.fabric.device
            )
            try:
                while self.at.total_step < total and not self._stop:
                    started = time.monotonic()
                    self._epoch(watch)
                    training += time.monotonic() - started
                self.state.save()
                average_statistics_(self.method)
            finally:
                if log:
                    log.close()
        done = self.at.total_step
        images = (done - first) * self.recipe.data.batch_size
        return Outcome(
            steps=done,
            finished=done >= total,
            signal=self.interrupt.signal,
            seconds=time.monotonic() - began,
            images_per_second=images / training if training else 0.0,
        )

    def _epoch(self, watch: Watch) -> None:
        at, per_epoch = self.at, self.loader.steps
        number, within = at.round * at.epochs + at.epoch, at.step - at.epoch * per_epoch
        if within == 0:
            self._clear_state(self.method.epoch(self.encode, at))
        for micros in self.loader.epoch(number, step=within):
            steps, norm = self.step(micros)
            complete = all(at.epochs_done >= length for length in delays(self.recipe.method, at).values())
            complete = complete and not self.method.waits(at)
            at.step += 1
            ends = at.step % per_epoch == 0
            watch.add(steps, norm, at)
            if self._reports(at.total_step):
                self._check_finite()
                more = {**self.method.gauges(), **{name: float(norm) for name, norm in self.term_norms.items()}}
                if ends and self.online:
                    more |= self.online.accuracies_()
                lr = float(self.optimizer.param_groups[0]["lr"])
                concern = self.method.concern(steps[-1].record, at)
                watch.report(steps[-1], at, lr, ends, more, complete=complete, concern=concern)
            if ends:
                if self.monitor:
                    self.state.keep_best(watch.knn)
                at.epoch += 1
                if at.epoch == at.epochs and at.round + 1 < at.rounds:
                    at.round, at.epoch, at.step = at.round + 1, 0, 0
            if self._housekeeping():
                return

    def step(self, micros: Iterable[MicroBatch]) -> tuple[list[Step], Tensor]:
        """Do one optimiser step on this rank's micro-batches; return their Steps and the gradient norm."""
        at, recipe, accumulate = self.at, self.recipe, self.recipe.data.accumulate
        factor = set_lr(self.optimizer, recipe.schedule, at)
        # Whatever draws from the global stream (dropout) follows from the step too, so nothing random is saved.
        torch.manual_seed(seed_for(recipe.seed, "torch", at.total_step, self.rank))
        generator = generator_for(recipe.seed, "views", at.total_step)
        parameters = self.views.sample(recipe.data.batch_size, generator, self.source.size)
        steps: list[Step] = []
        for m, (index, images) in enumerate(micros):
            start = (self.rank * accumulate + m) * len(index)
            draw = Draw(recipe.seed, at.total_step, recipe.data.batch_size, start, start + len(index))
            batch = self.batch(index, images, parameters.rows(start, start + len(index)), draw)
            last = m == accumulate - 1
            with nullcontext() if last else self.fabric.no_backward_sync(self.forward):
                with recorded_features(self.method.encoder) if self.online else nullcontext([]) as features:
                    result: Step = self.forward(batch, at)
                if self.online:
                    self.online.see_(features, batch.index, max(len(result.pairs), 1))
                if last and self._reports(at.total_step + 1):
                    with differentiating():
                        self.term_norms = term_gradients(result, self.method.last_weight)
                self.fabric.backward(result.loss / accumulate)
            steps.append(result)
        norm = gradient_norm(self.method.parameters())
        finite = (torch.stack([result.loss.detach() for result in steps]).sum() + norm).isfinite()
        self._bad_step[(self._bad_step == 0) & ~finite] = at.total_step + 1
        clip_each_(self.method.parameters(), recipe.optim.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        record = joined(steps)
        self.method.update(record, at)
        if self.monitor:
            self.monitor.write_(record)
        if self.online:
            self.online.learn_(factor, at)
        return steps, norm

    def batch(self, index: Tensor, images: Tensor, own: Parameters, draw: Draw) -> Batch:
        """Send one micro-batch to the device and make its views there, by its rows of the parameters."""
        device = self.fabric.device
        index = onto(index, device)
        views = self.views(onto(images, device), own)
        if any(spec.shows == "chosen" for spec in self.method.view_spec.values()):
            for name, other in self.method.shown(index, draw).items():
                views[name] = self.views(onto(self.source.images(other), device), own)[name]
        if not self.channels_last:
            views = {name: view.contiguous() for name, view in views.items()}
        return Batch(views=views, index=index, draw=draw)

    def _reports(self, done: int) -> bool:
        """Whether the log gets a line once so many steps are done: every few steps, and at an epoch's end."""
        return done % self.recipe.runtime.log_every == 0 or done % self.loader.steps == 0

    def encode(self, what: str = "embedding", size: int | None = None) -> Tensor:
        """Encode every image once by the test view: (N, D) ``embedding`` or ``target``, or (N, F) ``features``."""
        method = self.method
        network = {"embedding": method.embed, "target": method.target, "features": method.backbone}[what]
        view = partial(test_view, size=max(size or 0, self.recipe.augment.image_size), policy=self.policy)
        return encode_all(self.method, network, self.source, view, self.fabric)

    def _housekeeping(self) -> bool:
        """Agree over ranks on what to do between two steps; save where due. True: stop now."""
        runtime, at = self.recipe.runtime, self.at
        due = at.step % self.loader.steps == 0
        due |= bool(runtime.checkpoint_steps) and at.total_step % (runtime.checkpoint_steps or 1) == 0
        # Reading a flag off a GPU waits for it; every rank must look at the same steps, so the clock does not decide.
        looks = self.fabric.device.type == "cpu" or due or at.total_step % runtime.log_every == 0
        due |= time.monotonic() - self.state.saved_at > runtime.checkpoint_minutes * 60
        if not looks:
            return False
        flags = torch.tensor([float(self.interrupt.signal is not None), float(due)])
        stop, save = distributed.mean(flags.to(self.fabric.device)).tolist()
        self._check_finite()
        if save:
            self.state.save()
        self._stop = bool(stop)
        return self._stop

    def _check_finite(self) -> None:
        bad = [step for step in distributed.gather(self._bad_step).tolist() if step]
        if bad:
            raise self.state.broken("The loss", min(bad))

    def _clear_state(self, names: Iterable[str]) -> None:
        """Forget the optimiser's state of parameters that the method re-initialised."""
        parameters = dict(self.method.named_parameters())
        for name in names:
            self.optimizer.state.pop(parameters[name], None)
