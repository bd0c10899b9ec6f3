"""The training loop, its checkpoints, logs and monitors."""

from viewkin.training import fabric_import  # before any module of this package imports Fabric

__all__ = ["fabric_import"]
