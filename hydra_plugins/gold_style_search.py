"""Makes gold_style.sweep.search known to Hydra, whose plugins live under `hydra_plugins`: `hydra/sweeper=gold_style_search`."""

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper


class Search(Sweeper):
    """Hands everything to gold_style.sweep.search, which is imported only where it is used."""

    def setup(self, *, hydra_context, task_function, config) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> dict:
        from gold_style.sweep.search import search

        return search(self, arguments)


ConfigStore.instance().store(
    group="hydra/sweeper", name="gold_style_search", node={"_target_": f"{__name__}.Search"}, provider="gold_style"
)
