"""Faster R-CNN on a ResNet of this library, in its two published forms; the only user of torchvision's detectors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.nets.resnet import ResNet
from viewkin.runtime.errors import UserError

RATIOS = (0.5, 1.0, 2.0)
"""Height to width of the anchors."""
LEVELS = ("conv2", "conv3", "conv4", "conv5")
"""Feature maps that FPN combines; its fifth level takes every other position of the last."""


class C4Trunk(nn.Module):
    """Trunk of C4: (B, 3, H, W) -> the conv4 map (B, out_channels, h, w)."""

    def __init__(self, backbone: ResNet) -> None:
        super().__init__()
        self.stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool)
        self.layers = nn.Sequential(backbone.layer1, backbone.layer2, backbone.layer3)
        self.out_channels = backbone.stage_widths["conv4"]

    def forward(self, x: Tensor) -> Tensor:
        """Compute the conv4 map."""
        return self.layers(self.stem(x))


class C4BoxHead(nn.Module):
    """Box head of C4: (R, in, 14, 14) -> layer4, BatchNorm, mean over positions: (R, feature_dim).

    References:
        He et al., MoCo, 2020, section 4.2 (the extra BatchNorm), and the released Res5ROIHeadsExtraNorm.
    """

    def __init__(self, backbone: ResNet, extra_norm: bool) -> None:
        super().__init__()
        self.layer4 = backbone.layer4
        self.norm = nn.BatchNorm2d(backbone.feature_dim) if extra_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute a vector for each region."""
        return self.norm(self.layer4(x)).mean((2, 3))


class FPNTrunk(nn.Module):
    """Trunk of FPN: (B, 3, H, W) -> five maps of ``out_channels``, from fine to coarse.

    References:
        Lin et al., Feature FPNTrunk Networks for Object Detection, 2017, section 4.
    """

    def __init__(self, backbone: ResNet, width: int, norm: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = FeaturePyramidNetwork(
            [backbone.stage_widths[name] for name in LEVELS],
            width,
            extra_blocks=LastLevelMaxPool(),
            norm_layer=nn.BatchNorm2d if norm else None,
        )
        self.out_channels = width

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Compute the five maps."""
        maps = self.backbone.stages(x)
        return self.pyramid(OrderedDict((name, maps[name]) for name in LEVELS))


def require_resnet(backbone: nn.Module, name: str) -> ResNet:
    """Return the backbone if a detector can be built from its stages.

    Raises:
        UserError: it is not a ResNet of this library, or it does not take colour images.
    """
    if not isinstance(backbone, ResNet):
        raise UserError(f"Detection needs the stages of a resnet18, resnet34 or resnet50, which {name} has not.")
    if backbone.conv1.in_channels != 3:
        raise UserError(f"Detection needs a backbone of 3 channels, not {backbone.conv1.in_channels}.")
    return backbone


def build_detector(backbone: Any, config: DetectionConfig, classes: int) -> FasterRCNN:
    """Build a Faster R-CNN whose trunk is ``backbone`` itself, not a copy; every layer is trainable.

    New layers are initialised from torch's global generator. Label 0 is the background.

    Args:
        backbone: with ``mean``, ``std`` and ``config``, as :func:`viewkin.nets.backbone_file.load_backbone` gives it.
        config: resolved settings.
        classes: number of classes, without the background.

    Raises:
        UserError: the backbone has no stages.
    """
    net = require_resnet(backbone, getattr(getattr(backbone, "config", None), "name", "this backbone"))
    train_norm = config.norm == "batch"
    sides = config.anchors or ()
    if config.form == "c4":
        trunk: nn.Module = C4Trunk(net)
        head: nn.Module = C4BoxHead(net, extra_norm=train_norm)
        pool = MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=0)
        anchors = AnchorGenerator((sides,), (RATIOS,))
        width = net.feature_dim
    else:
        trunk = FPNTrunk(net, config.pyramid, norm=train_norm)
        head = TwoMLPHead(config.pyramid * 7 * 7, config.head)
        pool = MultiScaleRoIAlign(list(LEVELS), output_size=7, sampling_ratio=0)
        anchors = AnchorGenerator(tuple((side,) for side in sides), (RATIOS,) * len(sides))
        width = config.head
    detector = FasterRCNN(
        trunk,
        rpn_anchor_generator=anchors,
        box_roi_pool=pool,
        box_head=head,
        box_predictor=FastRCNNPredictor(width, classes + 1),
        min_size=config.train_sides,  # pyright: ignore[reportArgumentType] (one is drawn for each image)
        max_size=config.longest or 0,
        image_mean=list(backbone.mean),
        image_std=list(backbone.std),
        rpn_pre_nms_top_n_train=2 * config.proposals,
        rpn_post_nms_top_n_train=2 * config.proposals,
        rpn_pre_nms_top_n_test=config.proposals,
        rpn_post_nms_top_n_test=config.proposals,
        box_batch_size_per_image=config.regions,
        box_score_thresh=config.least_score,
    )
    if not train_norm:
        freeze_norms_(detector)
    return detector


def freeze_norms_(module: nn.Module) -> None:
    """Replace every BatchNorm by its running statistics, scale and shift, which are no longer trained."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            kept = {key: value for key, value in child.state_dict().items() if key != "num_batches_tracked"}
            frozen.load_state_dict(kept)
            setattr(module, name, frozen.to(kept["weight"].device))
        else:
            freeze_norms_(child)
