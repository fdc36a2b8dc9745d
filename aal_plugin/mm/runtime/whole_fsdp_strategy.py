"""`WholeFSDPStrategy`: MMEngine's FSDPStrategy, whose checkpoints can be resumed from."""

from __future__ import annotations

from typing import Any

from mmengine._strategy import FSDPStrategy
from mmengine.registry import STRATEGIES
from torch.distributed.fsdp import FullyShardedDataParallel


@STRATEGIES.register_module()
class WholeFSDPStrategy(FSDPStrategy):
    """FSDP whose checkpoints are one file, with the weights of a model that is not sharded.

    MMEngine's own saves shards by default, which cannot be read as data alone, and hands the
    optimizer's state to torch in the order of torch 2.0, which later ones refuse. Arguments are
    FSDPStrategy's.
    """

    def __init__(self, *, state_dict_cfg: Any = "full", **kwargs: Any) -> None:
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        optimizer = self.optim_wrapper.optimizer
        loaded = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(loaded)
