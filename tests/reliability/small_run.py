"""The default run of the kill matrix, with everything that draws random numbers."""

from mmengine.config import Config

from tests.mm.small import AAL, training


def small_run() -> Config:
    """Four epochs of four steps, three steps to one of the optimizer, save_best, two workers."""
    model = dict(
        AAL,
        backbone=dict(AAL["backbone"], drop_path_rate=0.3),
        train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8)]),
    )
    wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3), accumulative_counts=3)
    config = training("nowhere", model, epochs=4, optim_wrapper=wrapper)
    config.train_dataloader.update(num_workers=2, persistent_workers=True)
    config.train_dataloader.dataset.pipeline = [
        dict(type="RandomCrop", crop_size=24, padding=4),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackInputs"),
    ]
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, max_keep_ckpts=1, save_best="auto"
    )
    config.default_hooks.ema = dict(type="KeptEMAHook", momentum=0.1)
    return config
