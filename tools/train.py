#!/usr/bin/env python
"""Train from a config. Options are those of MMPretrain's tools/train.py; see --help.

Beyond it, several ranks run on a machine without a GPU, --resume passes over a checkpoint that a
killed run left half written, and mistakes in a config are told before anything is built of it.
"""

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from aal_plugin.mm.config_check import check_config
from aal_plugin.mm.config_file import read_config
from aal_plugin.mm.data_layout import check_data
from aal_plugin.mm.launch import (
    check_checkpoint,
    check_run,
    keep_checkpoints_whole,
    mmpretrain_script,
    resume_exactly,
    resume_from_whole_checkpoint,
    use_cpu_ranks,
)
from aal_plugin.mm.own_folder import fill_in_own_folder
from aal_plugin.plain_errors import plain_errors
from aal_plugin.ranks import end_with_parent, leaving_in_order


def main() -> None:
    script = mmpretrain_script("train")
    args = script.parse_args()
    cfg = script.merge_args(read_config(args.config), args)
    fill_in_own_folder(cfg)
    resume_from_whole_checkpoint(cfg)
    check_config(
        cfg,
        lambda: check_checkpoint(cfg.get("load_from")),
        lambda: check_data(cfg, ("train_dataloader", "val_dataloader")),
    )
    keep_checkpoints_whole(cfg)
    use_cpu_ranks(cfg)
    check_run(cfg)
    resume_exactly(cfg)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    runner.train()


if __name__ == "__main__":
    end_with_parent()
    with leaving_in_order(), plain_errors():
        main()
