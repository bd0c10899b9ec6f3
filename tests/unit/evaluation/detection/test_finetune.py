"""Claims about the detectors and how they are fine-tuned, on images of 64 x 80 pixels and networks of width 8."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from boxes import parquet_of_boxes
from viewkin.evaluation.detection.annotations import open_boxes
from viewkin.evaluation.detection.boxed_images import BoxedImages
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.detection.faster_rcnn import build_detector
from viewkin.evaluation.detection.finetune import batch_at, detection, flip_left_right, reestimate_batchnorm_
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import load_backbone, save_backbone
from viewkin.runtime.errors import UserError

SIDES = {"train_sides": (64,), "test_side": 64, "longest": 96}
SMALL = {**SIDES, "batch_size": 2, "proposals": 16, "regions": 8, "pyramid": 8, "head": 16, "precise": 1}
ANCHORS = {"c4": (24,), "fpn": (8, 16, 24, 32, 48)}


def settings(form="c4", **changed):
    return DetectionConfig(**{"form": form, "anchors": ANCHORS[form], "iterations": 2, **SMALL, **changed})


def network(stem="imagenet", **changed):
    torch.manual_seed(0)
    config = BackboneConfig(**{"name": "resnet18", "width": 8, "stem": stem, **changed})
    backbone = build_backbone(config)
    backbone.config, backbone.mean, backbone.std = config, (0.5,) * 3, (0.25,) * 3
    return backbone


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[BoxedImages, BoxedImages]:
    path = parquet_of_boxes(tmp_path_factory.mktemp("boxes") / "all.parquet", {"train": 4, "test": 1})
    return open_boxes(str(path), "train"), open_boxes(str(path), "test")


def test_c4_proposes_on_conv4_and_describes_regions_by_layer4():
    backbone = network()
    detector = build_detector(backbone, settings().resolved(2), 2).eval()
    x = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(detector.backbone(x), backbone.eval().stages(x)["conv4"])
    region = torch.randn(3, backbone.stage_widths["conv4"], 14, 14)
    described = detector.roi_heads.box_head(region)
    assert described.shape == (3, backbone.feature_dim)
    torch.testing.assert_close(described, backbone.layer4(region).mean((2, 3)) / (1 + 1e-5) ** 0.5)
    assert isinstance(detector.roi_heads.box_head.norm, nn.BatchNorm2d)
    assert detector.roi_heads.box_predictor.cls_score.out_features == 3


def test_fpn_has_five_maps_each_half_the_one_before():
    detector = build_detector(network(), settings("fpn").resolved(2), 2).eval()
    maps = detector.backbone(torch.randn(1, 3, 64, 96))
    expected = [(8, 16, 24), (8, 8, 12), (8, 4, 6), (8, 2, 3), (8, 1, 2)]
    assert [tuple(one.shape[1:]) for one in maps.values()] == expected


@pytest.mark.parametrize("form", ["c4", "fpn"])
def test_every_weight_learns_and_the_given_backbone_stays(sets, form):
    backbone = network()
    before = copy.deepcopy(backbone.state_dict())
    got = detection(settings(form, lr=0.01, warmup=0), backbone, *sets)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    weights = dict(got.detector.named_parameters())
    assert all(p.requires_grad for p in weights.values())
    inside = {
        "c4": ("backbone.stem.0.weight", "roi_heads.box_head.layer4.1.conv2.weight"),
        "fpn": ("backbone.backbone.conv1.weight", "backbone.backbone.layer4.1.conv2.weight"),
    }
    for theirs, ours in zip(inside[form], ("conv1.weight", "layer4.1.conv2.weight")):
        assert not torch.equal(weights[theirs], before[ours])
    assert list(got.values())[:3] == ["AP50", "AP", "AP75"]
    assert len(got.losses) == 2


def test_c4_fine_tunes_from_every_weight_of_a_stored_backbone(sets, tmp_path):
    backbone = network()
    draw = torch.Generator().manual_seed(5)
    for weight in backbone.parameters():  # as no initialisation makes them
        weight.data += 0.1 * torch.rand(weight.shape, generator=draw)
    save_backbone(tmp_path / "b.safetensors", backbone, backbone.config, mean=(0.5,) * 3, std=(0.25,) * 3, size=64)
    stored = load_backbone(tmp_path / "b.safetensors")
    got = detection(settings(iterations=1, lr=1e-12, warmup=0, weight_decay=0.0, momentum=0.0), stored, *sets)
    places = {"backbone.stem.0": "conv1", "backbone.stem.1": "bn1", "roi_heads.box_head.layer4": "layer4"}
    places |= {f"backbone.layers.{n}": f"layer{n + 1}" for n in range(3)}
    given, seen = dict(backbone.named_parameters()), set[str]()
    for name, value in got.detector.named_parameters():
        for theirs, ours in places.items():
            if name.startswith(f"{theirs}."):
                seen.add(ours + name.removeprefix(theirs))
                torch.testing.assert_close(value, given[ours + name.removeprefix(theirs)], rtol=0, atol=1e-6)
    assert seen == given.keys()


def test_two_images_are_learnt(sets):
    two = dataclasses.replace(sets[0], **{name: getattr(sets[0], name)[:2] for name in ("encoded", "ids", "truths")})
    got = detection(settings(iterations=6, lr=0.02, warmup=0, precise=0), network(), two, sets[1])
    assert sum(got.losses[-2:]) < 0.9 * sum(got.losses[:2])


def test_frozen_norms_keep_statistics_scales_and_shifts(sets):
    backbone = network()
    for name, value in backbone.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    got = detection(settings(norm="frozen", iterations=1, lr=0.01, warmup=0), backbone, *sets)
    assert not [one for one in got.detector.modules() if isinstance(one, nn.BatchNorm2d)]
    kept, before = got.detector.state_dict(), backbone.state_dict()
    for theirs, ours in (("backbone.stem.1", "bn1"), ("roi_heads.box_head.layer4.1.bn2", "layer4.1.bn2")):
        for part in ("weight", "bias", "running_mean", "running_var"):
            assert torch.equal(kept[f"{theirs}.{part}"], before[f"{ours}.{part}"])


def test_the_same_seed_gives_the_same_losses_and_the_global_generator_is_left_alone(sets):
    backbone, config = network(), settings(iterations=1, precise=0)
    state = torch.random.get_rng_state()
    first = detection(config, backbone, *sets)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(3)
    assert detection(config, backbone, *sets).losses == first.losses
    assert detection(settings(iterations=1, precise=0, seed=1), backbone, *sets).losses != first.losses


def test_precise_statistics_are_the_mean_over_batches(sets):
    config = settings(precise=2, iterations=3).resolved(4)
    detector = build_detector(network(), config, 2)
    seen: list[torch.Tensor] = []
    norm = detector.backbone.stem[1]
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    momentum = norm.momentum
    reestimate_batchnorm_(detector, config, sets[0], torch.device("cpu"))
    assert len(seen) == 2
    torch.testing.assert_close(norm.running_mean, torch.stack(seen).mean(0))
    assert norm.momentum == momentum


def test_an_epoch_shows_every_image_once_with_its_boxes(sets):
    config = settings().resolved(4)
    shown = []
    for step in range(2):
        for image, target in zip(*batch_at(config, sets[0], step, torch.device("cpu"))):
            assert target["labels"].tolist() == [1, 2]
            red, blue = target["boxes"].long().tolist()
            x0, y0, x1, y1 = red
            assert (image[:, y0:y1, x0:x1] == torch.tensor([1.0, 0, 0])[:, None, None]).all()
            x0, y0, x1, y1 = blue
            assert (image[:, y0:y1, x0:x1] == torch.tensor([0, 0, 1.0])[:, None, None]).all()
            shown.append((red[3] - red[1], blue[3] - blue[1], red[1]))
    assert sorted(shown) == sorted(
        (int(b[0, 3] - b[0, 1]), int(b[1, 3] - b[1, 1]), int(b[0, 1])) for b in (one.boxes for one in sets[0].truths)
    )


def test_a_flip_twice_is_none():
    image, boxes = torch.rand(3, 4, 10), torch.tensor([[1.0, 0, 3, 2]])
    mirrored, moved = flip_left_right(image, boxes)
    assert moved.tolist() == [[7, 0, 9, 2]]
    assert torch.equal(mirrored[:, :, 7:9], image[:, :, 1:3].flip(2))
    assert torch.equal(flip_left_right(mirrored, moved)[1], boxes)


def test_what_cannot_be_fine_tuned_is_one_sentence(sets):
    train, test = sets
    odd = network(name="amdim32", rkhs=32)
    with pytest.raises(UserError, match="stages of a resnet18, resnet34 or resnet50, which amdim32 has not"):
        detection(settings(), odd, train, test)
    with pytest.raises(UserError, match="3 channels, not 1"):
        detection(settings(), network(channels=1), train, test)
    with pytest.raises(UserError, match="other classes"):
        detection(settings(), network(), train, test.only_classes("red"))
    with pytest.raises(UserError, match="diverged at step 2 of 6"):
        detection(settings(lr=1e30, warmup=0, iterations=6), network(), train, test)
