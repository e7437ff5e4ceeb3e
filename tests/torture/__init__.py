"""Real faults against real runs: SIGKILL in every phase, signals, full disks, a W&B server that fails, thousands of bad inputs.

    make torture                                        everything, with the table of docs/reliability.md written anew
    python -m tests.torture --only kills     one part; --seed N for other moments

Each run is compared, bit for bit, with one that nothing happened to.
"""
