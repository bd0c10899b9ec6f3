"""One module a target that backbones are written for."""
