"""DINO: every crop predicts what a slow copy of the network says of the large crops; centring prevents collapse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.multi_crop import LARGE, MultiCropConfig
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim, per_size
from viewkin.nets.ema import ema_update_, make_target
from viewkin.nets.heads import Encoder
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.schedules import Progress, momentum_cosine
from viewkin.settings import Count, Dimension, Momentum, NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class DINOConfig(MethodConfig):
    """Settings of DINO."""

    kind: ClassVar[str] = "dino"
    group: ClassVar[Group] = "distillation"
    good_for: ClassVar[str] = "vision transformers and nearest neighbours on large sets; below SimCLR on CIFAR-10"

    dim: Dimension = 256
    """D, size of the head's bottleneck, which is the embedding."""
    hidden: Count = 2048
    """Width of the head's hidden layers."""
    outputs: Count = 65536
    """K, outputs of the head; 1,024 to 4,096 suit fewer than 100,000 images."""
    student_temperature: Positive = 0.1
    """tau_s, dimensionless."""
    teacher_temperature: Positive = 0.04
    """tau_t, dimensionless."""
    teacher_warmup_temperature: Positive = 0.04
    """tau_t at the start; it changes linearly."""
    teacher_warmup_epochs: NotNegative = 0.0
    """Epochs of this change."""
    momentum: Momentum = 0.996
    """Weight of the old teacher at the start; it rises to 1 along a cosine. For batches of 256: 0.9995."""
    centre_momentum: Momentum = 0.9
    """Weight of the old centre."""
    freeze_epochs: NotNegative = 1.0
    """Epochs at the start in which the last layer does not move."""
    crops: MultiCropConfig = field(default_factory=lambda: MultiCropConfig(area=(0.05, 0.4), large_area=(0.4, 1.0)))
    """Multi-crop."""
    norm: str = "batch"
    """BatchNorm of the networks: ``batch``, or ``gathered`` over ranks. The head has none."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """DINO has none."""
        return False

    def passes(self, side: int) -> tuple[float, float]:
        """The student sees every crop, the teacher the large ones."""
        return self.crops.passes(side), 2.0

    def build(self, backbone: nn.Module, *, count: int) -> DINO:
        """Make the method; it keeps no memory of the images."""
        return DINO(self, backbone)


class DINO(ViewMethod):
    """``mean_{i < 2, v != i} -softmax((t_i - c) / tau_t) . log softmax(s_v / tau_s)`` over teacher i and student crops.

    The teacher follows the student as an average. The centre c is an average of the teacher's outputs. BatchNorm's
    buffers are not averaged: the teacher has statistics of its own.

    References:
        Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021, equations 1-4, algorithm 1.
    """

    contrastive = False
    centre: Tensor
    """(K,) c."""

    def __init__(self, config: DINOConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim, self.temperature = config, config.dim, config.student_temperature
        self.view_spec = config.crops.views()
        width = feature_dim(backbone)
        layers = [nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden), nn.GELU()]
        head = nn.Sequential(*layers, nn.Linear(config.hidden, config.dim))
        for layer in (layer for layer in head if isinstance(layer, nn.Linear)):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.encoder = convert_norm(Encoder(backbone, head), config.norm)
        self.last = nn.Linear(config.dim, config.outputs, bias=False)
        self.target_encoder, self.target_last = make_target(self.encoder), make_target(self.last)
        self.register_buffer("centre", torch.zeros(config.outputs))

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare the student's output of every crop with the teacher's of each other large crop."""
        z = per_size(self.query, [batch.views[name] for name in self.view_spec])
        weight = self.last.weight
        if at.epochs_done < self.config.freeze_epochs:
            weight = weight.detach() + 0 * weight  # a gradient of zero, as every parameter needs one
        student = [_outputs(one, weight) / self.config.student_temperature for one in z]
        keys = [self.target(batch.views[name]) for name in LARGE]
        codes = [self._code(k, self._teacher_temperature(at)) for k in keys]
        loss = losses.swapped_cross_entropy(codes, student).mean()
        record = {"index": batch.index, "embedding": keys[0], "both": (keys[0] + keys[1]) / 2}
        return Step(terms={"dino": loss}, pairs=((z[0], keys[1]), (z[1], keys[0])), record=record)

    def _teacher_temperature(self, at: Progress) -> float:
        config = self.config
        left = 1 - min(at.epochs_done / config.teacher_warmup_epochs, 1) if config.teacher_warmup_epochs else 0.0
        return config.teacher_temperature + left * (config.teacher_warmup_temperature - config.teacher_temperature)

    @torch.no_grad()
    def _code(self, k: Tensor, temperature: float) -> Tensor:
        """Centred and sharpened output of the teacher: (B, D) unit norm -> (B, K)."""
        return ((_outputs(k, self.target_last.weight) - self.centre) / temperature).softmax(1)

    @torch.no_grad()
    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Update the centre, then the teacher."""
        # The mean output is the output of the mean embedding, as the last layer is linear.
        mean = _outputs(record["both"].to(self.centre.dtype).mean(0, keepdim=True), self.target_last.weight)[0]
        self.centre.lerp_(mean, 1 - self.config.centre_momentum)
        momentum = momentum_cosine(self.config.momentum, at.fraction)
        ema_update_(self.target_encoder, self.encoder, momentum)
        ema_update_(self.target_last, self.last, momentum)

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit bottleneck of the teacher."""
        return losses.unit(self.target_encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """The teacher's bottleneck of the second large crop."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of the student's output of each query with the teacher's code of its key."""
        logits = _outputs(q, self.last.weight) / self.config.student_temperature
        return losses.code_cross_entropy(self._code(k, self.config.teacher_temperature), logits)


def _outputs(z: Tensor, weight: Tensor) -> Tensor:
    """Similarities to the rows of the last layer, of unit norm (weight normalisation of gain 1): (B, K)."""
    return losses.at_least_float32(z @ losses.unit(weight).to(z.dtype).T)
