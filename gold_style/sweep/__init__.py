"""Many runs from one command: `python train.py -m ...`. Hydra's sweepers and launchers decide what runs where; this decides how.

directory (where a sweep is, and how it is found again) -> isolation (a process of its own for each job) -> jobs (skip, resume or
start) -> status_line (one line for all) -> command (what train.py calls) and search (Optuna as one of Hydra's sweepers).
"""
