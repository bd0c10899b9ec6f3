"""Settings that several published recipes share."""

from __future__ import annotations

from dataclasses import replace

from viewkin.nets.backbone import BackboneConfig
from viewkin.optim import OptimConfig, ScheduleConfig

SMALL = BackboneConfig(name="resnet18", stem="small")
LARGE = BackboneConfig(name="resnet50", stem="imagenet")
SMALL_KAIMING, LARGE_KAIMING = replace(SMALL, init="kaiming"), replace(LARGE, init="kaiming")
"""With the start of torchvision's ResNets, as in the releases of MoCo, EIR and, on ImageNet, InvP."""
FAST = OptimConfig(name="adamw", lr=0.002, scale_lr=True, weight_decay=0.05, exclude_norm_and_bias=True)
"""For short runs: learns in fewer epochs than SGD does (``docs/log.md``)."""
CIFAR_STEPS = ScheduleConfig(epochs=200, kind="step", milestones=(120, 160), factor=0.1)
CIFAR_SGD = OptimConfig(name="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4)
IMAGENET_SGD = OptimConfig(name="sgd", lr=0.03, momentum=0.9, weight_decay=1e-4)
