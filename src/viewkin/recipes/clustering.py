"""Recipes of learners that cluster images or look for neighbours: PCL, Local Aggregation, AND, DeepCluster, ODC, SeLa.

On CIFAR-10 nothing is published for some of them; their recipes have the number of clusters that suits 50,000 images,
and otherwise the settings of ImageNet.
"""

from __future__ import annotations

from dataclasses import replace

from viewkin.memory.cluster_config import ClusterConfig
from viewkin.methods.deepcluster import DeepClusterConfig
from viewkin.methods.local_aggregation import LocalAggregationConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.neighbourhood_discovery import NeighbourhoodDiscoveryConfig
from viewkin.methods.odc import ODCConfig
from viewkin.methods.sela import SeLaConfig
from viewkin.methods.terms.pcl import PCLConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.recipes import baselines
from viewkin.recipes.shared import CIFAR_SGD, IMAGENET_SGD, LARGE, SMALL, Recipes
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()
SMALL_SET = AugmentConfig(policy="npid-cifar", image_size=32)
SLOW_DECAY = OptimConfig(name="sgd", lr=0.05, momentum=0.9, weight_decay=1e-5)


@RECIPES.add("PCL v1: MoCo v1 and prototypes of three clusterings, ResNet-50, 200 epochs (Li et al. 2021)")
def pcl_v1_imagenet() -> Recipe:
    """PCL v1 on ImageNet: linear top-1 61.5. The optimiser is MoCo v1's."""
    base = MoCoConfig(head="linear", queue_size=16384, momentum=0.999, temperature=0.2, norm="split:8")
    return replace(
        baselines.moco_v1_imagenet(), method=PCLConfig(base=base, clusters=(25000, 50000, 100000), negatives=16384)
    )


@RECIPES.add("PCL v2: MoCo v2 and prototypes of three clusterings, ResNet-50, 200 epochs (Li et al. 2021)")
def pcl_v2_imagenet() -> Recipe:
    """PCL v2 on ImageNet: linear top-1 67.6. The optimiser is MoCo v2's."""
    base = MoCoConfig(head="mlp", queue_size=16384, momentum=0.999, temperature=0.2, norm="split:8")
    return replace(
        baselines.moco_v2_imagenet(), method=PCLConfig(base=base, clusters=(25000, 50000, 100000), negatives=16384)
    )


@RECIPES.add("PCL on MoCo's CIFAR demo, ResNet-18, 200 epochs (scaled from ImageNet)")
def pcl_cifar10() -> Recipe:
    """PCL around MoCo's demo, with 100, 200 and 400 clusters; nothing is published."""
    base = baselines.moco_cifar10()
    return replace(base, method=PCLConfig(base=base.method, clusters=(100, 200, 400), negatives=400))


@RECIPES.add("Local Aggregation, ResNet-50, 200 epochs (Zhuang et al. 2019)")
def local_aggregation_imagenet() -> Recipe:
    """Local Aggregation on ImageNet. Its network is a pre-activation ResNet, ours is not."""
    return Recipe(
        method=LocalAggregationConfig(clusters=30000),
        backbone=LARGE,
        augment=AugmentConfig(policy="npid-in"),
        optim=replace(IMAGENET_SGD, exclude_norm_and_bias=True),
        schedule=ScheduleConfig(epochs=200, kind="step", milestones=(160, 190), factor=0.1),
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("Local Aggregation, CIFAR-10, ResNet-18, 200 epochs (scaled from ImageNet)")
def local_aggregation_cifar10() -> Recipe:
    """Local Aggregation with 500 clusters and a background of 512; nothing is published."""
    return replace(
        local_aggregation_imagenet(),
        method=LocalAggregationConfig(temperature=0.1, clusters=500, background=512, clusterings=5),
        backbone=SMALL,
        augment=SMALL_SET,
        optim=CIFAR_SGD,
    )


@RECIPES.add("AND: five rounds of 200 epochs with ever more anchors, ResNet-18 (Huang et al. 2019)")
def and_cifar10() -> Recipe:
    """AND on CIFAR-10: kNN(200) 86.3 after five rounds, as EIR's table 2 has it."""
    base = baselines.npid_cifar10()
    return replace(
        base,
        method=NeighbourhoodDiscoveryConfig(),
        optim=replace(CIFAR_SGD, nesterov=True),
        schedule=replace(base.schedule, rounds=5),
    )


@RECIPES.add("AND with the settings of NPID on ImageNet, five rounds of 200 epochs (our reading)")
def and_imagenet() -> Recipe:
    """AND on ImageNet with ResNet-50; the paper has AlexNet there."""
    base = baselines.npid_imagenet()
    method = NeighbourhoodDiscoveryConfig(temperature=0.07)
    return replace(base, method=method, schedule=replace(base.schedule, rounds=5))


@RECIPES.add("DeepCluster, ResNet-50, 200 epochs (Caron et al. 2018, as OpenSelfSup trains it)")
def deepcluster_imagenet() -> Recipe:
    """DeepCluster on ImageNet: VOC07 mAP of SVMs 74.3. The learning rate is constant, as in that configuration."""
    return Recipe(
        method=DeepClusterConfig(clusters=10000),
        backbone=LARGE,
        augment=AugmentConfig(policy="npid-in"),
        optim=replace(SLOW_DECAY, lr=0.1),
        schedule=ScheduleConfig(epochs=200, kind="constant"),
        data=DataConfig(batch_size=512),
    )


@RECIPES.add("DeepCluster with 1,000 clusters, CIFAR-10, ResNet-18, 200 epochs (EIR's table 1)")
def deepcluster_cifar10() -> Recipe:
    """DeepCluster on CIFAR-10 as EIR cites it: kNN(200) 67.6. Optimiser and batch are those of the release."""
    return replace(
        deepcluster_imagenet(),
        method=DeepClusterConfig(clusters=1000),
        backbone=SMALL,
        augment=SMALL_SET,
        optim=SLOW_DECAY,
        data=DataConfig(batch_size=256),
    )


@RECIPES.add("ODC, ResNet-50, 440 epochs (Zhan et al. 2020)")
def odc_imagenet() -> Recipe:
    """ODC on ImageNet: linear top-1 57.7 (layer 5), VOC07 mAP of SVMs 78.4."""
    return Recipe(
        method=ODCConfig(clusters=ClusterConfig(number=10000, min_size=20)),
        backbone=LARGE,
        augment=AugmentConfig(policy="npid-in"),
        optim=replace(SLOW_DECAY, lr=0.06),
        schedule=ScheduleConfig(epochs=440, kind="step", milestones=(400,), factor=0.4),
        data=DataConfig(batch_size=512),
    )


@RECIPES.add("ODC with 1,000 clusters, CIFAR-10, ResNet-18, 440 epochs (scaled from ImageNet)")
def odc_cifar10() -> Recipe:
    """ODC on CIFAR-10; nothing is published."""
    method = ODCConfig(clusters=ClusterConfig(number=1000, min_size=10))
    return replace(odc_imagenet(), method=method, backbone=SMALL, augment=SMALL_SET)


@RECIPES.add("SeLa with ten heads of 3,000 labels, ResNet-50, 400 epochs (Asano et al. 2020)")
def sela_imagenet() -> Recipe:
    """SeLa on ImageNet: linear top-1 61.5."""
    return Recipe(
        method=SeLaConfig(classes=3000),
        backbone=LARGE,
        augment=AugmentConfig(policy="npid-in"),
        optim=replace(SLOW_DECAY, lr=0.08),
        schedule=ScheduleConfig(epochs=400, kind="step", milestones=(150, 300), factor=0.1),
        data=DataConfig(batch_size=256),
    )


@RECIPES.add("SeLa with ten heads of 128 labels, CIFAR-10, ResNet-18, 400 epochs (Asano et al. 2020)")
def sela_cifar10() -> Recipe:
    """SeLa on CIFAR-10: kNN about 77.6 with AlexNet on images enlarged to 256 px; ours sees 32 px."""
    return replace(
        sela_imagenet(),
        method=SeLaConfig(classes=128, strength=10.0, relabel="epoch"),
        backbone=SMALL,
        augment=SMALL_SET,
        optim=CIFAR_SGD,
        schedule=ScheduleConfig(epochs=400, kind="step", milestones=(240, 320), factor=0.1),
        data=DataConfig(batch_size=128),
    )
