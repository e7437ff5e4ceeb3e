"""Many runs -> leaderboard, page, W&B board."""
