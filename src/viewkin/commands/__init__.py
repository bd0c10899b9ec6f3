"""What the command line and the Python API do, one module a verb; values in, values out."""
