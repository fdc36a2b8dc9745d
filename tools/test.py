#!/usr/bin/env python
"""Test a checkpoint, with the options of MMPretrain's tools/test.py.

    tools/test.py CONFIG CHECKPOINT [--work-dir DIR] [--out FILE]

In addition, several ranks run on a machine without a GPU, and a checkpoint of another model is an
error. --check ends after the check of the config and its files. --verbose prints the environment,
the config and the hooks too, which are in the log file.
"""

import sys

from aal_plugin.mmpretrain_options import check_options
from aal_plugin.process import hide_known_warnings, leaving_in_order, plain_errors


def main() -> None:
    own = {"--check", "--verbose"} & set(sys.argv)
    sys.argv[:] = [word for word in sys.argv if word not in own]
    if "--verbose" not in own:
        hide_known_warnings()
    check_options("test")
    # After the options: these imports take seconds.
    from aal_plugin.mm.configs.check import check_config, check_numbers
    from aal_plugin.mm.configs.files import check_data, check_trained
    from aal_plugin.mm.datasets.own_folder import fill_in_own_folder
    from aal_plugin.mm.launch import mmpretrain_script
    from aal_plugin.mm.runs.as_data import guard_loaders
    from aal_plugin.mm.runs.protection import checked
    from aal_plugin.mm.runs.screen import keep_listings_off_the_screen

    guard_loaders()
    if "--verbose" not in own:
        keep_listings_off_the_screen()
    script = mmpretrain_script("test")
    merge_args = script.merge_args

    def merge(cfg, args):
        cfg = merge_args(cfg, args)
        fill_in_own_folder(cfg)
        check_config(
            cfg,
            lambda: check_numbers(cfg, ("test_dataloader",)),
            lambda: check_trained(args.checkpoint, args.config),
            lambda: check_data(cfg, ("test_dataloader",)),
        )
        if "--check" in own:
            sys.exit(0)
        return checked(cfg)

    script.merge_args = merge
    script.main()


if __name__ == "__main__":
    with leaving_in_order(), plain_errors():
        main()
