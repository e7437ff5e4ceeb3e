"""From answers to numbers: verdicts, rates, intervals, tests. Pure functions: no model, no files, no clock.

answers (text -> judged answer) -> rates -> summary, with details; samples are the lines that all of it can be computed
from again, statistics the arithmetic, likelihood what the teacher's likelihood says.
"""
