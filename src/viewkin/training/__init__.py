"""The training loop, its checkpoints, logs and monitors."""
