"""Claims about where the images of a run lie."""

import pytest
import torch

from viewkin.data.dataset import open_source
from viewkin.data.source import ResidentSource
from viewkin.training.fabric import FOR_IMAGES, placed

GPU = torch.device("cuda", 0)


@pytest.mark.parametrize(("spare", "moves"), [(0, True), (-1, False)])
def test_images_go_to_a_gpu_that_has_room_for_them(monkeypatch, spare, moves):
    source = open_source("generated:images=64,size=16")
    free = int(64 * 3 * 16 * 16 / FOR_IMAGES) + spare
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * 2**30))
    asked = []
    monkeypatch.setattr(ResidentSource, "to", lambda self, device: asked.append(device) or self)
    assert placed(source, GPU) is source
    assert asked == [GPU] * moves
