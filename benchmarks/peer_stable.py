"""Another other side of the training step: methods of ``stable-pretraining``, as its documentation runs them.

Its ``Module`` with ``forward.simclr``, or with its class ``MoCov2`` as ``model``, under Lightning's ``Trainer`` at
``bf16-mixed``, its transforms in the workers of a DataLoader; same network, batch and images. The online probes, which
the documentation adds, are left out. Its MoCo passes the first view through the slow network too, for these probes:
that is in its ``forward``, and stays. Its queue is filled before the first step, as ours is; the slow network is moved
by its ``TeacherStudentCallback``. Every run is a process of its own, whose clock starts after the first steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

METHODS = ("simclr", "moco")
"""What is compared."""


def available() -> bool:
    """Whether stable-pretraining is installed."""
    return find_spec("stable_pretraining") is not None


class StablePeer:
    """Its trainer on our images, some steps at a time."""

    def __init__(self, data: str, method: str, **settings: int) -> None:
        self.settings = {"data": data, "method": method, **settings}

    def run(self, steps: int, warmup: int = 2) -> tuple[float, None]:
        """Train ``warmup`` and then ``steps`` steps; return the seconds of the latter. What it waits is not known."""
        work = json.dumps({**self.settings, "steps": steps, "warmup": warmup})
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.settings["threads"])}
        command = [sys.executable, str(Path(__file__).resolve()), work]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1]), None


def train(
    data: str,
    method: str,
    width: int,
    batch: int,
    size: int,
    queue: int,
    seed: int,
    threads: int,
    workers: int,
    steps: int,
    warmup: int,
) -> float:
    """Train in this process; seconds of ``steps`` steps."""
    import lightning
    import stable_pretraining as spt
    import torch
    from peer import Pictures
    from stable_pretraining.data import transforms as t

    from viewkin.data.dataset import open_source
    from viewkin.nets.backbone import BackboneConfig, build_backbone

    class NamedPictures(Pictures):
        """The images as dicts, which its transforms take."""

        def __getitem__(self, index: int) -> Any:
            return self.transform({"image": self.picture(index), "label": 0})

    class Clock(lightning.Callback):
        """Looks at the clock at the end of each step."""

        times: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, *_: Any) -> None:
            self.times.append(time.perf_counter())

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    view = t.Compose(
        t.RGB(),
        t.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        t.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        t.RandomGrayscale(p=0.2),
        t.RandomHorizontalFlip(p=0.5),
        t.ToImage(**spt.data.static.CIFAR10),
    )
    pictures = NamedPictures(open_source(data), t.MultiViewTransform([view, view]))
    loader = torch.utils.data.DataLoader(pictures, batch, shuffle=True, drop_last=True, num_workers=workers)
    backbone = build_backbone(BackboneConfig(width=width))
    module = spt.Module(
        **(moco(backbone, width, queue) if method == "moco" else simclr(backbone, width)),
        optim={"optimizer": {"type": "SGD", "lr": 0.06}, "scheduler": {"type": "ConstantLR"}, "interval": "epoch"},
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        accelerator="auto",
        precision="bf16-mixed",
        max_steps=warmup + steps,
        callbacks=[spt.callbacks.TeacherStudentCallback(), Clock()],
        enable_model_summary=False,
        **quiet,
    )
    trainer.fit(module, loader)
    return Clock.times[-1] - Clock.times[warmup - 1]


def simclr(backbone: Any, width: int) -> dict[str, Any]:
    """SimCLR from its parts."""
    import stable_pretraining as spt
    from stable_pretraining.forward import simclr as forward

    return {
        "backbone": backbone,
        "projector": spt.backbone.MLP(8 * width, [8 * width, 128]),
        "forward": forward,
        "simclr_loss": spt.losses.NTXEntLoss(temperature=0.5),
    }


def moco(backbone: Any, width: int, queue: int) -> dict[str, Any]:
    """MoCo v2, the class that it brings."""
    import torch
    from stable_pretraining.methods import MoCov2

    def forward(self: Any, batch: dict[str, Any], stage: str) -> dict[str, Any]:
        first, second = batch["views"]
        found = self.model.forward(first["image"], second["image"])
        self.log(f"{stage}/loss", found.loss, on_step=True, on_epoch=True, sync_dist=True)
        return {"loss": found.loss, "embedding": found.embedding}

    model = MoCov2(backbone, projector_dims=(8 * width, 128), queue_length=queue)
    model.queue.append(torch.nn.functional.normalize(torch.randn(queue, 128), dim=1))
    return {"model": model, "forward": forward}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(train(**json.loads(sys.argv[1])))
