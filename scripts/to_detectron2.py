"""Write a trained backbone for Detectron2, and print the settings that it needs there.

    python scripts/to_detectron2.py runs/mine mine.pkl

The file is for MODEL.WEIGHTS. The stem must be ImageNet's (``--set backbone.stem=imagenet``), the network a ResNet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from viewkin.export.detectron2 import detectron2_settings, write_detectron2
from viewkin.nets.backbone_file import load_backbone
from viewkin.runtime.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="run directory, backbone .safetensors file or .ckpt file")
    parser.add_argument("out", type=Path, help="pickle to write")
    options = parser.parse_args(arguments)
    try:
        backbone = load_backbone(options.model)
        write_detectron2(options.out, backbone)
    except UserError as error:
        sys.exit(f"error: {error}")
    for name, value in {"MODEL.WEIGHTS": str(options.out), **detectron2_settings(backbone)}.items():
        print(f"{name} {value}")


if __name__ == "__main__":
    main()
