"""From answers to numbers: verdicts, rates, intervals, tests. Pure functions over texts and run files, without a model.

answers (text -> judged answer) -> summary (judged answers -> rates) -> details (what lies behind the rates); samples
is the file that all of it can be computed from again, statistics the arithmetic, second_opinion what a likelihood or
another rater says.
"""
