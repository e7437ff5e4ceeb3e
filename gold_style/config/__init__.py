"""What was asked for: the command line and conf/, checked and typed before torch is imported."""
