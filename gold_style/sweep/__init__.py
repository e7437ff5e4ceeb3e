"""Many runs from one command: `python train.py -m ...`. Hydra's sweepers and launchers decide what runs where; this decides how.

directory (where a sweep is, and how it is found again) -> isolation (a process of its own for each job) -> jobs (skip, go on or
start) -> progress (one line for all) -> command (what train.py calls) and search (Optuna behind Hydra's sweeper interface).
"""
