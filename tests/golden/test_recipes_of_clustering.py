"""Settings of PCL, Local Aggregation, AND, DeepCluster, ODC and SeLa, as the papers and releases have them."""

import pytest

from viewkin.recipes.catalogue import recipe_named
from viewkin.settings import setting_paths

TABLE = {
    "pcl_v2_imagenet": {
        "method.clusters": (25000, 50000, 100000),
        "method.negatives": 16384,
        "method.temperature": 0.2,
        "method.warmup_epochs": 20,
        "method.dedup": False,
        "method.base.head": "mlp",
        "method.base.queue_size": 16384,
    },
    "pcl_v1_imagenet": {"method.base.head": "linear", "method.base.queue_size": 16384},
    "local_aggregation_imagenet": {
        "method.temperature": 0.07,
        "method.background": 4096,
        "method.clusterings": 10,
        "method.clusters": 30000,
        "method.warmup_epochs": 10,
        "method.bank_momentum": 0.5,
        "optim.lr": 0.03,
        "optim.weight_decay": 1e-4,
        "optim.exclude_norm_and_bias": True,
        "data.batch_size": 128,
        "schedule.epochs": 200,
        "schedule.milestones": (160, 190),
    },
    "and_cifar10": {
        "method.temperature": 0.1,
        "method.share": 0.25,
        "schedule.rounds": 5,
        "schedule.epochs": 200,
        "schedule.milestones": (120, 160),
        "optim.nesterov": True,
        "optim.lr": 0.03,
        "data.batch_size": 128,
    },
    "deepcluster_imagenet": {
        "method.clusters": 10000,
        "method.components": 256,
        "optim.lr": 0.1,
        "optim.momentum": 0.9,
        "optim.weight_decay": 1e-5,
        "data.batch_size": 512,
        "schedule.epochs": 200,
        "schedule.kind": "constant",
    },
    "deepcluster_cifar10": {"method.clusters": 1000, "optim.lr": 0.05, "data.batch_size": 256},
    "odc_imagenet": {
        "method.clusters.number": 10000,
        "method.clusters.min_size": 20,
        "method.clusters.refresh_steps": 10,
        "method.bank_momentum": 0.5,
        "method.dim": 256,
        "method.hidden": 512,
        "optim.lr": 0.06,
        "optim.weight_decay": 1e-5,
        "data.batch_size": 512,
        "schedule.epochs": 440,
        "schedule.milestones": (400,),
        "schedule.factor": 0.4,
    },
    "sela_imagenet": {
        "method.heads": 10,
        "method.classes": 3000,
        "method.strength": 25.0,
        "method.relabel": "early",
        "optim.lr": 0.08,
        "optim.weight_decay": 1e-5,
        "data.batch_size": 256,
        "schedule.epochs": 400,
        "schedule.milestones": (150, 300),
    },
    "sela_cifar10": {
        "method.heads": 10,
        "method.classes": 128,
        "method.strength": 10.0,
        "method.relabel": "epoch",
        "optim.weight_decay": 5e-4,
        "schedule.milestones": (240, 320),
        "schedule.epochs": 400,
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_settings_of(name):
    found = setting_paths(recipe_named(name))
    assert {path: found[path] for path in TABLE[name]} == TABLE[name]
