"""What a method remembers between steps."""
