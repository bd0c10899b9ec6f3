import pytest
import torch
from torch import nn

from viewkin.encode.features import extract, recalibrated
from viewkin.runtime.errors import UserError


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


IMAGES = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def blocks(*parts: list[int]):
    return [(torch.tensor(part), IMAGES[part]) for part in parts]


def view(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255 - 0.5


def test_features_are_those_of_eval_mode():
    network = encoder()
    found = extract(network, blocks([0, 1, 2, 3], [4, 5, 6, 7, 8, 9]), view)
    with torch.no_grad():
        expected = network.eval()(view(IMAGES))
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_rows_come_in_the_order_of_their_index():
    in_order = extract(encoder(), blocks(list(range(10))), view)
    for total in (None, 10):
        mixed = extract(encoder(), blocks([7, 2, 9], [0, 1, 8], [6, 5, 4, 3]), view, total=total)
        torch.testing.assert_close(mixed, in_order)
    part = extract(encoder(), blocks([8], [3, 5]), view, total=10)
    torch.testing.assert_close(part, in_order[[3, 5, 8]])
    torch.testing.assert_close(extract(encoder(), blocks([8], [3, 5]), view), in_order[[3, 5, 8]])


def test_every_submodule_gets_its_own_mode_back():
    network = encoder().train()
    network[1].eval()  # a frozen BatchNorm inside a training network
    extract(network, blocks([0, 1]), view)
    assert [part.training for part in network] == [True, False, True, True, True, True]
    assert network.training


def test_modes_come_back_after_an_error():
    network = encoder().train()

    def broken(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("broken view")

    with pytest.raises(RuntimeError, match="broken view"):
        extract(network, blocks([0]), broken)
    assert network.training
    assert torch.is_grad_enabled()


def test_nothing_in_the_network_changes():
    network = encoder().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    extract(network, blocks([0, 1, 2]), view)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_plain_function_is_an_encoder_and_half_precision_gives_float32():
    assert extract(lambda x: x.flatten(1), blocks([0, 1]), view).shape == (2, 192)
    exact, rough = (extract(encoder(), blocks([0, 1]), view, precision=p) for p in ("32-true", "bf16-mixed"))
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"precision": "8-true"}, "precision"),
        ({"blocks": []}, "no images"),
        ({"encoder": nn.Conv2d(3, 4, 3)}, "pool"),
        ({"encoder": lambda x: x.flatten(1).repeat(2, 1)}, "one row"),
    ],
)
def test_bad_input_to_extract_is_one_sentence(change, word):
    given = {"encoder": encoder(), "blocks": blocks([0, 1]), "view": view} | change
    with pytest.raises(UserError, match=word):
        extract(**given)


def test_recalibration_moves_statistics_for_a_while():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3)).eval()
    views = [torch.randn(64, 3, 1, 1, generator=torch.Generator().manual_seed(n)) * 5 + 7 for n in range(50)]
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm1d)
    with recalibrated(network, views):
        assert not any(part.training for part in network.modules())
        assert norm.running_mean is not None
        torch.testing.assert_close(norm.running_mean, torch.full((3,), 7.0), atol=0.5, rtol=0)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert int(norm.num_batches_tracked or 0) == 0
    assert not any(part.training for part in network.modules())
    with recalibrated(network, []):
        assert torch.equal(norm.running_mean, torch.zeros(3))
