"""A task for the search that costs nothing: `python search_task.py -m hydra/sweeper=gold_style_search x=interval(0,1) ...`.

Trial 1 raises, trial 3 is not a number, and where the file `die` is there, trial 4 takes the whole process with it, once.
"""

import json
import math
import os
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

SEARCH = {"trials": 6, "parallel": 1, "startup_trials": 2, "prune": True, "seed": 0, "trial": None}
ConfigStore.instance().store(name="config", node={"x": 0.0, "kind": "a", "n": 1, "sweep": {"search": SEARCH}})


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg: DictConfig) -> float:
    number = HydraConfig.get().job.num
    with open("trials.jsonl", "a") as file:
        file.write(json.dumps({"number": number, "x": cfg.x, "kind": cfg.kind, "n": cfg.n, "trial": cfg.sweep.search.trial}) + "\n")
    if number == 4 and Path("die").exists():
        Path("die").unlink()
        os._exit(9)
    if number == 1:
        raise RuntimeError("out of memory")
    return math.nan if number == 3 else -((cfg.x - 0.3) ** 2)


if __name__ == "__main__":
    main()
