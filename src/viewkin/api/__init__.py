"""The Python API: train, open runs, embed, evaluate, compare, plot. Nothing here prints."""
