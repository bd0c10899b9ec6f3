"""What stands below everything: errors, files, progress, random draws, processes, memory, provenance."""
