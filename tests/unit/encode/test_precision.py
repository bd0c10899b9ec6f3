"""Claims about the form that a network runs in: the vectors stay nearly the same, and the fastest form is taken."""

import sys

import pytest
import torch
from torch import nn

from viewkin.augment.policies import policy
from viewkin.encode import int8, precision
from viewkin.encode.model import Model
from viewkin.encode.precision import FastEncoder, in_precision
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.runtime.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model("backbone, 64-d", build_backbone(BackboneConfig(width=8)).eval(), 32, policy("moco-v2"))


@pytest.fixture
def views() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(6, 3, 32, 32)


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_the_form_that_is_asked_for_is_taken(model, views, asked):
    plain = model.encode(views, CPU)
    chosen = in_precision(model, asked, views, CPU)
    assert chosen.precision == asked
    rows = chosen.model.encode(views, CPU)
    assert rows.dtype == torch.float32
    cosine = nn.functional.cosine_similarity(rows, plain).min().item()
    assert chosen.cosine == pytest.approx(cosine, abs=1e-6)
    assert cosine > (0.999999 if asked == "float32" else 0.999)
    assert torch.equal(rows, plain) is False or asked == "float32"
    assert (chosen.note is None) == (asked == "float32")


def test_weights_keep_their_values(model, views):
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    in_precision(model, "auto", views, CPU)
    assert all(torch.equal(value, model.encoder.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [
        ({"plain": 3.0, "float32": 2.0, "bfloat16": 1.0}, "bfloat16"),
        ({"plain": 3.0, "float32": 2.0, "bfloat16": 1.9}, "float32"),
        ({"plain": 1.0, "float32": 2.0, "bfloat16": 1.9}, "float32"),
    ],
)
def test_bfloat16_must_be_clearly_faster(model, views, monkeypatch, seconds, taken):
    real = precision.compared
    monkeypatch.setattr(precision, "compared", lambda forms, views: (real(forms, views)[0], seconds))
    chosen = in_precision(model, "auto", views, CPU)
    assert chosen.precision == taken
    assert chosen.faster == seconds["plain"] / min(
        seconds[n] for n in ([taken] if taken == "bfloat16" else ["plain", "float32"])
    )


def test_vectors_that_bfloat16_spoils_are_not_taken(views, monkeypatch):
    class Spoilt(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.flatten(1)[:, :8] @ torch.eye(8)
            return y * -1 if y.dtype == torch.bfloat16 else y

    model = Model("spoilt", Spoilt().eval(), 32, policy("moco-v2"))
    seconds = {"plain": 3.0, "float32": 3.0, "bfloat16": 0.1}
    real = precision.compared
    monkeypatch.setattr(precision, "compared", lambda forms, views: (real(forms, views)[0], seconds))
    assert in_precision(model, "auto", views, CPU).precision == "float32"
    asked = in_precision(model, "bfloat16", views, CPU)
    assert asked.cosine == pytest.approx(-1, abs=0.01)
    assert "cosine to float32 at least -1.0" in asked.note or "-0.99" in asked.note


def test_a_method_of_a_network_runs_in_another_form_too(model, views):
    encoder = FastEncoder(model.encoder.forward, reduced=True, channels_last=True)
    encoder.adopt()
    assert encoder.owner is model.encoder
    assert model.encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_int8_gives_nearly_the_same_vectors(model, views):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    chosen = in_precision(model, "int8", views, CPU)
    plain, rows = model.encode(views, CPU), chosen.model.encode(views, CPU)
    cosine = nn.functional.cosine_similarity(rows, plain, dim=1).min().item()
    assert chosen.precision == "int8"
    assert chosen.cosine == pytest.approx(cosine, abs=1e-5)
    assert 0.98 < cosine < 0.9999999  # alike, and not the network in float32 itself
    assert "int8" in chosen.note
    more = torch.randn(17, 3, 32, 32)  # any number of images
    assert chosen.model.encode(more, CPU).shape == (17, 64)


def test_int8_without_its_library_or_on_a_head_is_one_sentence(model, views, monkeypatch):
    pytest.importorskip("onnxruntime")
    head = Model("head", lambda x: x.flatten(1), 32, policy("moco-v2"))
    with pytest.raises(UserError, match="features alone"):
        int8.quantised(head, views)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'viewkin\[int8\]'"):
        in_precision(model, "int8", views, CPU)
