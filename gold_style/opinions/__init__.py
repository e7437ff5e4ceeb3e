"""A second opinion on a run: a language model as judge, and people who fill in blind sheets (docs/judges.md).

rated_run is what is judged or rated, labels what judge and people may say. endpoint -> judge -> judge_summary asks a
model and makes judge.json; sheets -> filled_sheets -> annotation_summary asks people and makes annotations.json.
"""
