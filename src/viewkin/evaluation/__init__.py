"""Protocols that measure features: they know an encoder ``(B, C, H, W) -> (B, D)`` and embeddings, never a method."""
