#!/usr/bin/env python
"""Train from a config. Options are those of MMPretrain's tools/train.py; see --help.

It also runs several ranks on a machine without a GPU. With --resume it skips a checkpoint that a
killed run left half written. It reports mistakes in a config before it builds anything.

--dry-run builds everything, takes two steps, and prints what the run would be; missing images are
replaced by made-up ones. --images-per-second N is the speed from which it computes the hours. It
exits with status 2 if a file is missing.

--check ends after the check of the config, of the folders of the data and of the teacher's file.
--test measures test_dataloader with test_evaluator once, after the last epoch.

--verbose prints the environment, the config and the hooks too, which are in the log file.
"""

from aal_plugin.process import (
    STOP,
    end_with_parent,
    hide_known_warnings,
    leaving_in_order,
    plain_errors,
)

if __name__ == "__main__":
    STOP.listen()

import sys
from argparse import ArgumentParser, Namespace

from aal_plugin.mmpretrain_options import check_options


def main() -> None:
    own = own_options()
    if not own.verbose:
        hide_known_warnings()
    check_options("train")
    # After the options: these imports take seconds.
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from aal_plugin.checkpoint_file import check_checkpoint
    from aal_plugin.mm.configs.check import check_config, check_numbers
    from aal_plugin.mm.configs.files import check_data, check_teacher
    from aal_plugin.mm.datasets.own_folder import fill_in_own_folder
    from aal_plugin.mm.dry_run import dry_run
    from aal_plugin.mm.launch import mmpretrain_script, read_for_training
    from aal_plugin.mm.runs.protection import protected, switch_on
    from aal_plugin.mm.runs.resuming import resume_from_whole_checkpoint
    from aal_plugin.mm.runs.screen import keep_listings_off_the_screen

    switch_on()
    if not own.verbose:
        keep_listings_off_the_screen()
    script = mmpretrain_script("train")
    args = script.parse_args()
    cfg = read_for_training(script, args)
    fill_in_own_folder(cfg)
    if not own.check:
        resume_from_whole_checkpoint(cfg)
    loaders: tuple[str, ...] = ("train_dataloader", "val_dataloader")
    if own.test:
        check_test_split(cfg)
        loaders += ("test_dataloader",)
    files = (
        lambda: check_checkpoint(cfg.get("load_from")),
        lambda: check_teacher(cfg.model.get("teacher")),
        lambda: check_data(cfg, loaders),
    )
    check_config(cfg, lambda: check_numbers(cfg, loaders), *(() if own.dry_run else files))
    if own.check:
        return
    protected(cfg)
    if own.dry_run:
        tried = dry_run(cfg, own.images_per_second)
        print("\n".join([f"{args.config}, a dry run", *tried.lines]))
        sys.exit(2 if tried.missing else 0)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    runner.train()
    if own.test:
        runner.test()


def check_test_split(cfg: dict) -> None:
    """Raise ValueError unless the config says what --test measures, and how."""
    for key in ("test_dataloader", "test_evaluator", "test_cfg"):
        if cfg.get(key) is None:
            raise ValueError(f"--test needs {key}, and the config has none; set it, or drop --test")


def own_options() -> Namespace:
    """Parse our own options and remove them from the command line."""
    parser = ArgumentParser(
        add_help=False,
        allow_abbrev=False,
        usage="options of aal_plugin, in addition to those below:",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="build, take two steps, print a summary"
    )
    parser.add_argument(
        "--images-per-second", type=float, metavar="N", help="speed of all ranks together"
    )
    parser.add_argument("--check", action="store_true", help="check config and files, then stop")
    parser.add_argument("--verbose", action="store_true", help="print config and hooks too")
    parser.add_argument(
        "--test", action="store_true", help="after training, measure the test split too"
    )
    own, sys.argv[1:] = parser.parse_known_args()
    if {"-h", "--help"} & set(sys.argv):
        print(f"{__doc__}\n{parser.format_help()}")
    return own


if __name__ == "__main__":
    end_with_parent()
    with leaving_in_order(), plain_errors():
        main()
