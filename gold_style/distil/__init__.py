"""Training: the rows of a step, their losses, the trainer and what watches it."""
