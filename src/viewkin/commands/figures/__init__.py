"""Figures, one module each: models and images in, a drawing out."""
