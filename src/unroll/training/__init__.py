"""Building, training and running networks: batches, loop, optimizers, checkpoints."""
