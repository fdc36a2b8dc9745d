"""The recipes of Locality Guidance on CIFAR-100: `{config: {name: (value, source)}}`.

Sources: "base", "ours" and "r-56" are deit-ti_c100_base.yaml, deit-ti_c100_ours.yaml and
r-56_c100.yaml of its published code (lkhl/tiny-transformers); other names are that code's files.
"""

import math

from .deit import CIFAR, FULL, LINKS_DECAY, changed, pipeline

WIDTH, MAPS, CHANNELS = 192, 36, [16, 32, 64]
SHUFFLED = ("DefaultSampler", dict(shuffle=True, round_up=True))
PLAIN_LOSS = ("CrossEntropyLoss", dict(use_soft=False, use_sigmoid=False))


def lr_at(*epochs):
    """optimizer.py: timm's CosineLRScheduler, here one epoch late, as DeiT's main.py steps it."""

    def value(epoch):
        step = max(epoch - 1, 0)
        if step < 20:
            return 5e-7 + step * (5e-4 - 5e-7) / 20
        return 5e-6 + 0.5 * (5e-4 - 5e-6) * (1 + math.cos(math.pi * step / 300))

    return {epoch: value(epoch) for epoch in epochs}


PLAIN = changed(
    {name: value for name, value in CIFAR.items() if name not in ("ema", "mixing")},
    student=("VisionTransformer embed_dims=192 num_layers=12", "base"),
    # DeiT-Ti of ImageNet without 900 classes.
    parameters=(5_717_416 - 900 * (WIDTH + 1), "deit.py"),
    classes=(100, "CIFAR-100"),
    gpus=(1, "base NUM_GPUS"),
    batch=(128, "base TRAIN.BATCH_SIZE"),
    full_batch=(128, "base TRAIN.BATCH_SIZE"),
    iterations=(390, "loader.py: drop_last"),
    sampler=(SHUFFLED, "loader.py"),
    test_pipeline=(
        [
            ("Resize", dict(scale=(224, 224), interpolation="bilinear", keep_ratio=False)),
            ("PackInputs", {}),
        ],
        "transforms.py create_test_transform",
    ),
    loss=(PLAIN_LOSS, "config.py: no label smoothing, MIXUP_ALPHA and CUTMIX_ALPHA are 0"),
    lr=(5e-4, "base OPTIM.BASE_LR"),
    lr_at=(lr_at(0, 1, 2, 20, 21, 22, 150, 299), "base OPTIM: warm-up of 20 epochs, then cosine"),
)
TEACHER = (
    dict(
        model="SmallResNet depth=56",
        channels=CHANNELS,
        image_size=(32, 32),
        weights="work_dirs/resnet-56_cifar100/epoch_300.pth",
    ),
    "ours DISTILLATION.TEACHER_MODEL, TEACHER_IMG_SIZE",
)


def guidance(row):
    weights = sum(WIDTH * channels for channels in CHANNELS)
    # torch's Conv2d: uniform of standard deviation 1 / sqrt(3 fan-in).
    start = {"guidance": (0.0, (3 * WIDTH) ** -0.5)}
    assert weights == 21_504
    return changed(
        row,
        teacher=TEACHER,
        guidance=(dict(weight=2.5, pairs=[(1, 1), (7, 2), (12, 3)]), "ours DISTILLATION.INTER_*"),
        decay=({"guidance": 0.05, "guidance biases": 0.0}, "optimizer.py"),
        init=(start, "distill.py: torch's Conv2d"),
    )


def aal(row):
    links = dict(ranges=FULL[:3], weights=MAPS * sum(CHANNELS), grid=None, antialias=False)
    course = 200 * math.log(0.99) + 100 * math.log(0.98)
    share = (course - math.log(0.98)) / course
    return changed(
        row,
        teacher=TEACHER,
        links=(links, "AAL, Table 1: full links"),
        # The paper's course, 0.99 and from epoch 200 on 0.98, to the power that ends at 0.05.
        weight_at=({0: 2000.0, 299: 2000 * 0.05**share}, "our guide: final=0.05"),
        decay=(LINKS_DECAY, "timm's add_weight_decay: what is no vector"),
        init=({"links": (0.0, (3 * MAPS) ** -0.5)}, "torch's Conv2d"),
    )


FROM = "r-56"
RECIPES = {
    "cifar100/deit-t_cifar100": PLAIN,
    "cifar100/guidance_deit-t_cifar100": guidance(PLAIN),
    "cifar100/aal_deit-t_cifar100": aal(PLAIN),
    "cifar100/aal-guidance_deit-t_cifar100": aal(guidance(PLAIN)),
    "cifar100/resnet-56_cifar100": dict(
        student=("SmallResNet depth=56", FROM),
        # He et al.: 3·16·9 + 9·2·16² ·9 + …; batch norms, 1×1 shortcuts, 100 classes.
        parameters=(861_620, "resnet.py _construct_cifar"),
        head=("LinearClsHead", "resnet.py ResHead"),
        loss=(PLAIN_LOSS, "net.py"),
        classes=(100, "CIFAR-100"),
        init=(
            dict(convolutions=(0.0, 0.0689), norms=(1.0, 0.0), classifier=(0.0, 0.01)),
            "blocks.py init_weights: convolutions by fan-out; config.py ZERO_INIT_FINAL_BN_GAMMA",
        ),
        drop_path=(0.0, "a CNN"),
        images=(50_000, "CIFAR-100"),
        gpus=(1, FROM),
        batch=(128, FROM),
        iterations=(390, "loader.py: drop_last"),
        drop_last=(True, "loader.py"),
        sampler=(SHUFFLED, "loader.py"),
        train_pipeline=(pipeline(32, bgr=False, load=False), "transforms.py, r-56 IMG_SIZE"),
        test_pipeline=([("PackInputs", {})], "transforms.py: resized to 32 px"),
        pixels=PLAIN["pixels"],
        epochs=(300, FROM),
        optimizer=("SGD", "config.py"),
        lr=(0.1, FROM),
        lr_at=({e: 0.05 * (1 + math.cos(math.pi * e / 300)) for e in range(300)}, FROM),
        momentum=(0.9, FROM),
        nesterov=(True, FROM),
        dampening=(0, "config.py"),
        decay=(
            {
                **dict(convolutions=5e-4, classifier=5e-4, biases=0.0, norms=0.0),
                "norm biases": 0.0,
            },
            "r-56, optimizer.py reset_lr_weight_decay",
        ),
    ),
}
