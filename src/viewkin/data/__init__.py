"""Where images come from: sources, decoding, cache and loaders. Every image carries its index."""
