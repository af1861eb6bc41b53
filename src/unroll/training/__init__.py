"""The loop, optimizers and schedules, checkpoints, the health of gradients."""
