"""Run a frozen encoder over images."""
