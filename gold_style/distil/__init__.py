"""What distils: student and teacher behind small interfaces, rollouts, the window of one optimizer step, the trainer."""
