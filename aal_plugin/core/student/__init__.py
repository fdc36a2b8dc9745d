"""How a student shows its attention and features."""
