"""Batched augmentation on the images' own device: uint8 images in, normalised float views out.

``geometry``, ``colour`` and ``blur`` have pure functions of images and per-sample parameters. ``operations`` combines
each with its settings and its random draw. ``policies`` has one policy per paper. ``views`` makes the views of a batch.
"""
