"""Pictures to look at: they know images, neighbours and logged numbers, never a method."""
