"""Claims about the protocols that show a trained network images, from the command line."""

import json

import pytest
import torch

from commandline import images_in, viewkin

SHORT = ("--holdout", "0.5", "--set", "epochs=2", "--set", "batch_size=8", "--out", "found.json")
CLASSES = ("cat", "dog", "fox")
STAGES = [f"conv{n} top-1" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("protocol", "options", "measures", "setting"),
    [
        ("finetune", (), ["top-1", "top-5"], ("head_factors", [5.0])),
        ("semi", ("--set", "preset=invp-10", "--set", "share=0.5"), ["top-1", "top-5"], ("head_constant", True)),
        ("stages", (), STAGES, ("nesterov", True)),
        ("stages", ("--set", "preset=places", "--set", "learning_rates=0.01,0.1"), STAGES, ("milestones", [4, 8, 12])),
    ],
)
def test_every_protocol_judges_the_network_and_the_untrained_one_and_writes_its_settings(
    workplace, trained, protocol, options, measures, setting
):
    images_in(workplace / "data", 36, classes=CLASSES)
    before = (trained / "backbone.safetensors").read_bytes()
    ended = viewkin("evaluate", protocol, trained, "data", *SHORT, *options)
    assert (ended.code, ended.err) == (0, "")
    found = json.loads((workplace / "found.json").read_text())
    assert [one["model"].split(",")[0] for one in found] == ["chance", "untrained", "backbone"]
    for one in found:
        assert list(one["values"]) == measures
        assert all(0 <= value <= 100 for value in one["values"].values())
        assert one["settings"][setting[0]] == setting[1]
        assert one["settings"]["epochs"] == 2
    assert (trained / "backbone.safetensors").read_bytes() == before


def test_blocks_are_judged_with_invps_settings(workplace, trained):
    images_in(workplace / "data", 24, classes=CLASSES)
    ended = viewkin("evaluate", "stages", trained, "data", *SHORT, "--set", "preset=invp", "--no-baselines")
    assert (ended.code, ended.err) == (0, "")
    (_, found) = json.loads((workplace / "found.json").read_text())
    assert list(found["values"])[:3] == ["conv1 top-1", "conv2.1 top-1", "conv2.2 top-1"]
    assert len(found["values"]) == 9  # ResNet-18


def test_the_order_of_settings_and_preset_does_not_matter(workplace, trained):
    images_in(workplace / "data", 24, classes=CLASSES)
    found = []
    for options in (("preset=invp-1", "share=0.5"), ("share=0.5", "preset=invp-1")):
        texts = [part for option in options for part in ("--set", option)]
        assert viewkin("evaluate", "semi", trained, "data", *SHORT, *texts, "--no-baselines").code == 0
        (_, one) = json.loads((workplace / "found.json").read_text())
        found.append((one["values"], one["settings"]))
    assert found[0] == found[1]
    assert found[0][1]["share"] == 0.5


def test_a_network_without_stages_is_refused_in_a_sentence(workplace, trained, monkeypatch):
    from viewkin.nets.resnet import ResNet

    images_in(workplace / "data", 24, classes=CLASSES)
    monkeypatch.delattr(ResNet, "stages")
    ended = viewkin("evaluate", "stages", trained, "data", *SHORT)
    assert ended.code == 2
    assert ended.err == ("error: this backbone has no stages, so stages cannot judge it: take a ResNet of viewkin's.\n")


def test_the_evaluation_leaves_torchs_global_stream_alone(workplace, trained):
    images_in(workplace / "data", 24, classes=CLASSES)
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        assert viewkin("evaluate", "finetune", trained, "data", *SHORT, "--no-baselines").code == 0
        values.append(json.loads((workplace / "found.json").read_text())[-1]["values"])
    assert values[0] == values[1]
