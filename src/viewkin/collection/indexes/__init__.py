"""Nearest rows of a collection: exact products, and indexes that are caches beside the parts."""
