"""Claims about what a model card tells of a model: what is known, and no folder of the machine."""

import pytest

from viewkin.commands.model_facts import licence_of, public_command, starts_of, without_folders


@pytest.mark.parametrize(
    ("word", "public"),
    [
        ("/home/me/photos/", "photos"),
        ("photos", "photos"),
        ("../photos", "photos"),
        ("generated:images=64", "generated:images=64"),
        ("--out=/home/me/run", "--out=run"),
        ("init.source=/home/me/run", "init.source=run"),
        ("augment.least_area=0.5", "augment.least_area=0.5"),
        ("timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("timm/resnet50:/home/me/weights.pth", "timm/resnet50:weights.pth"),
        ("eir(interclr(byol))", "eir(interclr(byol))"),
        ("/", "/"),
    ],
)
def test_a_word_keeps_its_name_and_loses_its_folders(word, public):
    assert without_folders(word) == public


def test_a_command_keeps_its_quotes():
    assert public_command("viewkin train '/home/me/my photos' --method 'eir(moco)'") == (
        "viewkin train 'my photos' --method 'eir(moco)'"
    )
    assert public_command("viewkin train /home/me/'half a quote") == "viewkin train ''\"'\"'half' a quote"


def test_the_licence_of_weights_is_told_as_far_as_it_is_known():
    pytest.importorskip("timm")
    assert "Apache-2.0" in licence_of("efficientnet_lite0", None)
    assert licence_of("timm/resnet18.a1_in1k", None) == "timm states the licence apache-2.0."
    for unknown in ("timm/resnet18:weights.pth", "weights.pth", "timm/no_such_model"):
        assert licence_of(unknown, None).startswith("Their licence is not known here")


def test_weights_that_were_not_trained_here_are_named_where_they_have_a_name():
    assert [one.name for one in starts_of("efficientnet_lite0", None)] == ["efficientnet_lite0"]
    assert starts_of("weights.pth", None) == []
