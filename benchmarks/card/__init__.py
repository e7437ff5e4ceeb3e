"""The sections of benchmarks/gpu.py: what is measured on one graphics card, each part in a process of its own."""
