"""Pure functions from typed tables to sample tensors and splits."""
