"""A number that moves during training: `{from, to, steps}` goes from one value to the other, linearly in optimizer steps, and then stays.

Its value is a function of the step's number only, so a resumed run needs to know nothing else.

    at_step({"from": 0.0, "to": 0.3, "steps": 40}, 20)      # 0.15; step 40 and later: 0.3
    shortened({"loss": {"beta": {"from": 0.0, "to": 0.3, "steps": 40}}})      # {"loss": {"beta": "0->0.3/40"}}
"""

from typing import Any

from gold_style.config.schema import Schedule


def at_step(value: float | Schedule, step: float) -> float:
    """The value at a step, counted from 0; of a plain number the number itself."""
    if not isinstance(value, dict):
        return value
    share = min(1.0, step / value["steps"])
    return value["to"] if share == 1 else value["from"] + share * (value["to"] - value["from"])


def lowest(value: float | Schedule) -> float:
    """The least that it ever is."""
    return min(value["from"], value["to"]) if isinstance(value, dict) else value


def shortened(value: Any) -> Any:
    """`value`, where it is a schedule or holds some, with each as a text such as "0->0.3/40"."""
    if isinstance(value, dict) and value.keys() == Schedule.__required_keys__:
        return f"{value['from']:.10g}->{value['to']:.10g}/{value['steps']}"
    return {name: shortened(item) for name, item in value.items()} if isinstance(value, dict) else value
