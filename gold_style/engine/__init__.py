"""What reads and writes text with a model, training or not: decode step, prefix cache, rollouts, the teacher, the exam."""
