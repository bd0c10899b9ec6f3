"""A run: from a request to a directory, and back from a directory."""
