"""Parts of benchmarks/step.py: what is measured (shapes), the three sides, taking turns, memory, floor, result files, figure."""
