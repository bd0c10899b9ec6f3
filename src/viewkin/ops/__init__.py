"""Kernels that more than one place needs: nearest neighbours, k-means, number types."""
