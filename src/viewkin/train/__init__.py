"""The training loop, its checkpoints, logs and monitors."""

from viewkin.train import lazily  # before any module of this package imports Fabric

__all__ = ["lazily"]
