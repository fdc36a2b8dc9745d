#!/usr/bin/env python
"""Test a checkpoint, with the options of MMPretrain's tools/test.py.

    tools/test.py CONFIG CHECKPOINT [--work-dir DIR] [--out FILE]

In addition, several ranks run on a machine without a GPU, and a checkpoint of another model is an
error.
"""

from aal_plugin.mmpretrain_options import check_options
from aal_plugin.process import leaving_in_order, plain_errors


def main() -> None:
    check_options("test")
    # After the options: these imports take seconds.
    from aal_plugin.checkpoint_file import check_checkpoint
    from aal_plugin.mm.configs.check import check_config
    from aal_plugin.mm.configs.files import check_data
    from aal_plugin.mm.datasets.own_folder import fill_in_own_folder
    from aal_plugin.mm.launch import mmpretrain_script
    from aal_plugin.mm.runs.as_data import guard_loaders
    from aal_plugin.mm.runs.protection import checked

    guard_loaders()
    script = mmpretrain_script("test")
    merge_args = script.merge_args

    def merge(cfg, args):
        cfg = merge_args(cfg, args)
        fill_in_own_folder(cfg)
        check_config(
            cfg,
            lambda: check_checkpoint(args.checkpoint),
            lambda: check_data(cfg, ("test_dataloader",)),
        )
        return checked(cfg)

    script.merge_args = merge
    script.main()


if __name__ == "__main__":
    with leaving_in_order(), plain_errors():
        main()
