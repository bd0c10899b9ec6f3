"""A trained network that takes images as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from viewkin.api.notebook import progress_where_seen
from viewkin.augment.views import test_view
from viewkin.data.dataset import Dataset, Images
from viewkin.data.source import Source
from viewkin.encode.model import Model, model_of, stored_size
from viewkin.nets import backbone_file
from viewkin.nets.backbone import BackboneConfig
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import counted

if TYPE_CHECKING:
    from viewkin.commands.export import Export


class Backbone(nn.Module):
    """A trained network (B, 3, H, W) -> (B, F), in evaluation mode, with what is needed to feed it.

    It is an ordinary module: move it with ``to``, put a head behind it, fine-tune it.
    """

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network that :func:`viewkin.nets.backbone_file.load_backbone` read."""
        super().__init__()
        self.network = network
        facts: Any = network
        self.config: BackboneConfig = facts.config
        """How the network was built."""
        self.feature_dim: int = facts.feature_dim
        """F, numbers of a feature."""
        self.image_size: int = facts.image_size
        """Side of the images it was trained for, pixels."""
        self.mean: tuple[float, ...] = facts.mean
        """Mean of each channel, for values in 0 to 1."""
        self.std: tuple[float, ...] = facts.std
        """Standard deviation of each channel."""
        self.extra: dict[str, Any] = facts.extra
        """Whatever else was stored: recipe, augmentation policy."""
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Compute features: (B, 3, H, W) normalised -> (B, F)."""
        return self.network(x)

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def preprocess(self, images: Images) -> Tensor:
        """Decode, resize, crop and normalise images as they were when the network was evaluated.

        Args:
            images: a path, a PIL image, an array (H, W, 3) or (N, H, W, 3) of uint8, a tensor (3, H, W) or
                (N, 3, H, W) of uint8, a list of any of these, a folder, or a Parquet file.

        Returns:
            (B, 3, S, S) float32 on the network's device, S the :attr:`image_size`.

        Raises:
            UserError: an image cannot be read.
        """
        model, source = self._opened(images)
        pixels = source.images(torch.arange(len(source)))
        return test_view(pixels.to(self.device), size=model.image_size, policy=model.policy).contiguous()

    @torch.no_grad()
    def embed(self, images: Images) -> Tensor:
        """Compute the features of images, without gradient: (B, F) float32 on the CPU, not normalised.

        Args:
            images: as :meth:`preprocess` takes them.

        Raises:
            UserError: an image cannot be read.
        """
        model, source = self._opened(images)
        return model.features(source, self.device)

    def export(
        self,
        to: str,
        path: Path | str,
        *,
        overwrite: bool = False,
        license: str | None = None,
        images: Images | None = None,
    ) -> Export:
        """Write the network as it is now for another library, load it again there, and compare its features.

        The model card says nothing of how the network was trained; that of :meth:`viewkin.Run.export` does.

        Args:
            to: ``onnx``, ``timm``, ``torchvision``, ``hf``, ``pt2``, ``safetensors`` or ``detectron2``.
            path: folder to write.
            overwrite: replace an earlier export there.
            license: licence for the model card, such as ``mit``.
            images: images to compare on; None: rendered ones.

        Raises:
            UserError: an unknown target, a network that it has no place for, a missing package, or a place that cannot
                be written.
        """
        # Reading a network must not wait for all that writing a model card imports.
        from viewkin.commands.export import ExportRequest, export_network

        request = ExportRequest(model="", to=to, out=Path(path), overwrite=overwrite, licence=license, images=images)
        with progress_where_seen():
            return export_network(self.network, request)

    def _opened(self, images: Images) -> tuple[Model, Source]:
        """Open images as the network wants them; rows come without names, so none may be left out."""
        dataset, model = Dataset.of(images), model_of(self.network)
        size = stored_size(dataset.survey(), model.image_size)
        source = dataset.source(size=size, squash=model.policy.squash, least=1, value_range=model.value_range)
        if source.skipped:
            first, count = source.skipped[0], len(source.skipped)
            raise UserError(
                f"{counted(count, 'image')} cannot be read, such as {first.key} ({first.reason}); leave them out, or "
                "use viewkin.embed, whose rows have names."
            )
        return model, source

    def __repr__(self) -> str:
        """Say what it is in a line; ``print(backbone.network)`` shows the layers."""
        recipe = f", trained by {self.extra['recipe']}" if "recipe" in self.extra else ""
        return f"Backbone({self.config.name}, images of {self.image_size} px -> {self.feature_dim} numbers{recipe})"


def load_backbone(path: Path | str) -> Backbone:
    """Load a trained network, in evaluation mode, on the CPU.

    Args:
        path: a run directory (its ``backbone.safetensors``), a ``.safetensors`` file or a ``.ckpt`` checkpoint.

    Raises:
        UserError: the file is missing, broken or not one of this library, or its weights do not fit its description.
    """
    return Backbone(backbone_file.load_backbone(path))
