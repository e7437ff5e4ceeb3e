"""Real trainer, real W&B client, real processes; folders mirror gold_style/, helpers/ is shared."""
