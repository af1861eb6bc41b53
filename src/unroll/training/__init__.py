"""The loop, optimisers and schedules, checkpoints, the health of gradients."""
