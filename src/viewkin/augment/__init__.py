"""Batched augmentation on the images' own device: uint8 images in, normalised float views out.

``geometry``, ``colour`` and ``blur`` hold pure functions of images and per-sample parameters; ``operations`` couples
each with its settings and its random draw; ``policies`` holds one policy a paper; ``views`` makes the views of a batch.
"""
