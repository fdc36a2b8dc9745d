"""`WholeFSDPStrategy`: MMEngine's FSDPStrategy, with checkpoints that can be resumed."""

from __future__ import annotations

from typing import Any

from mmengine._strategy import FSDPStrategy
from mmengine.registry import STRATEGIES
from torch.distributed.fsdp import FullyShardedDataParallel


@STRATEGIES.register_module()
class WholeFSDPStrategy(FSDPStrategy):
    """FSDP that saves one file per checkpoint, with the weights of the whole model.

    MMEngine's strategy saves shards by default, which cannot be loaded safely. It also passes the
    optimizer state to torch in the argument order of torch 2.0, which later versions reject. The
    arguments are FSDPStrategy's.
    """

    def __init__(self, *, state_dict_cfg: Any = "full", **kwargs: Any) -> None:
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        optimizer = self.optim_wrapper.optimizer
        loaded = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(loaded)
