"""Damaged files for every reader of files, and properties of settings, texts and logs."""
