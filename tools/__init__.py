"""Command lines. tools/bench and tools/studies are in the checkout alone, not in the wheel."""
