"""The recipes of DeiT and AAL, and of ConViT, PiT and Swin: `{config: {name: (value, source)}}`.

Sources: "AAL" and "DeiT" are the papers; "main.py", "datasets.py", "samplers.py", "losses.py",
"engine.py" and "README_deit.md" are DeiT's published code (facebookresearch/deit), which pins timm
0.3.2; "convit", "pit" and "swin" are theirs. "ours" is told by neither.
"""

import math

IN1K = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def pipeline(size=224, bgr=True, load=True):
    """datasets.py: timm's create_transform with --aa, --reprob and the rest of main.py."""
    mean, std = (values[::-1] if bgr else values for values in (IN1K["mean"], IN1K["std"]))
    return [
        *([("LoadImageFromFile", {})] if load else []),
        (
            "RandomResizedCrop",
            dict(
                scale=(size, size),
                crop_ratio_range=(0.08, 1.0),
                aspect_ratio_range=(3 / 4, 4 / 3),
                interpolation="bicubic",
            ),
        ),
        ("RandomFlip", dict(prob=0.5, direction="horizontal")),
        (  # rand-m9-mstd0.5-inc1
            "RandAugment",
            dict(
                num_policies=2,
                magnitude_level=9,
                magnitude_std=0.5,
                total_level=10,
                pad_val=[round(value) for value in mean],
                policies=[
                    ("AutoContrast",),
                    ("Equalize",),
                    ("Invert",),
                    ("Rotate", (0, 30)),
                    ("Posterize", (4, 0)),
                    ("Solarize", (256, 0)),
                    ("SolarizeAdd", (0, 110)),
                    ("ColorTransform", (0, 0.9)),
                    ("Contrast", (0, 0.9)),
                    ("Brightness", (0, 0.9)),
                    ("Sharpness", (0, 0.9)),
                    ("Shear", (0, 0.3), "horizontal"),
                    ("Shear", (0, 0.3), "vertical"),
                    ("Translate", (0, 0.45), "horizontal"),
                    ("Translate", (0, 0.45), "vertical"),
                ],
            ),
        ),
        (  # one rectangle of normal noise: of the pixels' own mean and std, before normalisation
            "RandomErasing",
            dict(
                erase_prob=0.25,
                mode="rand",
                min_area_ratio=0.02,
                max_area_ratio=1 / 3,
                aspect_range=(0.3, 10 / 3),
                fill_color=mean,
                fill_std=std,
            ),
        ),
        ("PackInputs", {}),
    ]


def test_view(size=224, edge=256):
    return [
        ("LoadImageFromFile", {}),
        ("ResizeEdge", dict(edge="short", scale=edge, interpolation="bicubic")),
        ("CenterCrop", dict(crop_size=(size, size))),
        ("PackInputs", {}),
    ]


def lr_at(lr, *epochs, of=300, floor=1e-5):
    """main.py and timm 0.3.2's CosineLRScheduler: warm-up to epoch 6, then the cosine of e - 1."""

    def value(epoch):
        t = max(epoch - 1, 0)
        if t < 5:
            return 1e-6 + t * (lr - 1e-6) / 5
        return floor + 0.5 * (lr - floor) * (1 + math.cos(math.pi * t / of))

    return {epoch: value(epoch) for epoch in epochs or range(of)}


DECAY = {
    **dict(linear=0.05, convolutions=0.05, classifier=0.05, pos_embed=0.0, cls_token=0.0),
    **{"biases": 0.0, "norms": 0.0, "norm biases": 0.0},
}
LINKS_DECAY = {"links": 0.05, "link biases": 0.0}
TOKEN = {"dist_token": 0.0}
START = dict(
    **dict(linear=(0.0, 0.02), classifier=(0.0, 0.02), cls_token=(0.0, 0.02)),
    **dict(pos_embed=(0.0, 0.02), convolutions=(0.0, 768**-0.5 / 3**0.5), norms=(1.0, 0.0)),
)
TOKEN_START = {"dist_token": (0.0, 0.02)}
MIXING = [("Mixup", dict(alpha=0.8, share=0.5)), ("CutMix", dict(alpha=1.0, share=0.5))]
SMOOTHING = ("LabelSmoothLoss", dict(label_smooth_val=0.1, mode="original"))

# DeiT-S on ImageNet without a teacher; the others are changes to it.
DEIT_S = dict(
    student=("VisionTransformer embed_dims=384 num_layers=12", "models.py deit_small_patch16_224"),
    parameters=(22_050_664, "README_deit.md: 22M"),
    head=("VisionTransformerClsHead", "models.py"),
    classes=(1000, "ImageNet"),
    image_size=((224, 224), "main.py --input-size"),
    init=(START, "models.py and timm: trunc_normal_ 0.02; the patch embedding is torch's Conv2d"),
    start=(None, "from scratch"),
    drop_path=((0.0, 0.1), "main.py --drop-path"),
    images=(1_281_167, "ImageNet"),
    gpus=(8, "ours; README_deit.md has 4 × 256"),
    batch=(1024, "README_deit.md"),
    full_batch=(1024, "README_deit.md"),
    iterations=(1251, "samplers.py: 1281167 // 256 * 256 / 8 images a rank, of which 128 a step"),
    drop_last=(True, "main.py: DataLoader(drop_last=True)"),
    sampler=(("RepeatAugSampler", dict(shuffle=True, num_repeats=3)), "main.py --repeated-aug"),
    train_pipeline=(pipeline(), "datasets.py, main.py --aa --reprob --train-interpolation"),
    test_pipeline=(test_view(), "datasets.py: 224 / 0.875"),
    pixels=({**IN1K, "order": "BGR turned to RGB"}, "datasets.py"),
    mixing=(MIXING, "main.py --mixup --cutmix --mixup-switch-prob"),
    loss=(SMOOTHING, "main.py --smoothing, timm's Mixup"),
    epochs=(300, "main.py --epochs, AAL 5.1"),
    optimizer=("AdamW", "main.py --opt"),
    betas=((0.9, 0.999), "main.py --opt-betas: torch's"),
    lr=(1e-3, "main.py --lr: 5e-4 * batch / 512"),
    lr_at=(lr_at(1e-3), "main.py --warmup-epochs --warmup-lr --min-lr, lr_scheduler.step(epoch)"),
    decay=(DECAY, "main.py --weight-decay, timm's add_weight_decay and no_weight_decay"),
    clipping=(None, "main.py --clip-grad"),
    ema=(
        dict(momentum=4e-5, measured="raw", saved="raw"),
        "main.py --model-ema-decay 0.99996; evaluate(model)",
    ),
)


def of_images(images, gpus, batch):
    return dict(
        images=(images, "the data set"),
        iterations=(math.ceil(images / gpus) // (batch // gpus), "samplers.py, drop_last"),
    )


def subset(fraction):
    """AAL 5.1: a share of each class."""
    return of_images(round(fraction * 1_281_167), 8, 1024)


def changed(row, **changes):
    """A row with some values changed; dicts of `decay` and `init` gain keys."""
    merged = {**row, **changes}
    for name in ("decay", "init"):
        if name in changes and name in row:
            merged[name] = ({**row[name][0], **changes[name][0]}, changes[name][1])
    return merged


DEIT_T = changed(
    DEIT_S,
    student=("VisionTransformer embed_dims=192 num_layers=12", "models.py deit_tiny_patch16_224"),
    parameters=(5_717_416, "README_deit.md: 5M"),
)
DEIT_B = changed(
    DEIT_S,
    student=("VisionTransformer embed_dims=768 num_layers=12", "models.py deit_base_patch16_224"),
    parameters=(86_567_656, "README_deit.md: 86M"),
    gpus=(16, "README_deit.md: 2 nodes with 8 GPUs, 64 a GPU"),
)


def distilled(row, kind="hard", classes=1000, **changes):
    """DeiT's class + distillation token; `kind` None where no teacher gives labels."""
    width = int(row["student"][0].split("embed_dims=")[1].split()[0])
    # The token, its place in the position embedding, and a second classifier.
    more = 2 * width + (width + 1) * classes
    row = changed(
        row,
        student=("Distilled" + row["student"][0], "models.py deit_*_distilled_patch16_224"),
        head=("DeiTClsHead", "models.py: head and head_dist, averaged"),
        parameters=(row["parameters"][0] + more, "README_deit.md: 6M, 22M, 87M"),
        decay=(TOKEN, "timm since 0.4.9; with 0.3.2, which main.py pins, it is decayed"),
        init=(TOKEN_START, "models.py"),
        **changes,
    )
    return changed(row, **distillation(kind, token=True)) if kind else row


def distillation(kind, token=False):
    if kind == "hard":
        value = dict(kind="hard", token=token, weight=0.5, temperature=None)
        source = "DeiT, section 4; losses.py, main.py --distillation-alpha"
    else:
        value = dict(kind="soft", token=token, weight=0.1, temperature=3.0)
        source = "DeiT, section 5: tau 3, lambda 0.1; losses.py divides by batch * classes"
    return dict(distillation=(value, source))


REGNETY = dict(
    teacher=(
        dict(model="regnety_160.deit_in1k", channels=[224, 448, 1232, 3024], weights="timm's"),
        "README_deit.md --teacher-model regnety_160",
    )
)
B3 = [24, 32, 48, 96, 136, 232, 384]
EFFICIENTNET = (
    dict(model="efficientnet_b3.ra2_in1k", channels=B3, weights="timm's"),
    "AAL 5.1: EfficientNet-B3",
)
FULL = [(1, 12)] * 7
ALPHA = [(1, 3), (1, 5), (3, 5), (4, 6), (4, 6), (6, 11), (7, 12)]
BETA = [(1, 2), (1, 5), (3, 5), (4, 6), (4, 7), (6, 10), (7, 10)]
LAMBDA = {0: 2000.0, 1: 1980.0, 199: 2000 * 0.99**199, 299: 2000 * 0.99**200 * 0.98**99}


def aal(row, ranges=ALPHA, heads=6, teacher=EFFICIENTNET, epochs=(0, 1, 199, 299), **changes):
    """AAL's teacher, links and λ. `heads` is a number for each block."""
    heads = [heads] * 12 if isinstance(heads, int) else heads
    weights = sum(
        channels * sum(heads[first - 1 : last])
        for channels, (first, last) in zip(teacher[0]["channels"], ranges)
    )
    fan_in = [sum(heads[first - 1 : last]) for first, last in ranges]
    squares = sum(
        channels * fan * (1 / (3 * fan)) for channels, fan in zip(teacher[0]["channels"], fan_in)
    )
    links = dict(ranges=ranges, weights=weights, grid=changes.pop("grid", None), antialias=False)
    row = changed(
        row,
        teacher=teacher,
        links=(links, "AAL, Table 1; section 5.3: beta on all of ImageNet, alpha on less"),
        weight_at=({e: LAMBDA[e] for e in epochs}, "AAL 5.1: 2000, 0.99, from epoch 200 on 0.98"),
        decay=(LINKS_DECAY, "timm's add_weight_decay: what is no vector"),
        init=({"links": (0.0, (squares / weights) ** 0.5)}, "ours: torch's Conv2d"),
        **changes,
    )
    return row


AAL_S = aal(distilled(DEIT_S), BETA)
AAL_S_FULL = aal(distilled(DEIT_S), FULL)
RECIPES = {
    "baselines/deit-s_in1k": DEIT_S,
    "baselines/deit-t_in1k": DEIT_T,
    "baselines/deit-b_in1k": DEIT_B,
    "aal_deit-s_in1k": AAL_S,
    "aal_deit-s_in1k-full": AAL_S_FULL,
    "aal_deit-b_in1k": aal(distilled(DEIT_B), BETA, heads=12),
    "aal_deit-s_in1k-resnet34": aal(
        distilled(DEIT_S),
        # Levels 1 to 4 of 4 take Table 1's levels 1, 3, 5 and 7.
        [BETA[0], BETA[2], BETA[4], BETA[6]],
        teacher=(
            dict(model="resnet34.a1_in1k", channels=[64, 128, 256, 512], weights="timm's"),
            "AAL, Table 5",
        ),
    ),
}
for size, row in dict(t=DEIT_T, s=DEIT_S, b=DEIT_B).items():
    for kind in ("hard", "soft"):
        RECIPES[f"deit/deit-{size}_in1k-{kind}"] = changed(row, **REGNETY, **distillation(kind))
    RECIPES[f"deit/deit-{size}_in1k-token"] = distilled(row, **REGNETY)
for percent in (5, 10, 30, 50):
    share, part = f"-{percent}pct", subset(percent / 100)
    RECIPES[f"baselines/deit-s_in1k{share}"] = changed(DEIT_S, **part)
    RECIPES[f"aal_deit-s_in1k{share}"] = aal(distilled(DEIT_S), ALPHA, **part)
    RECIPES[f"aal_deit-s_in1k{share}-full"] = changed(AAL_S_FULL, **part)
RECIPES["aal_deit-s_in1k-5pct-240e"] = aal(
    distilled(DEIT_S),
    epochs=(0, 1, 199),
    **subset(0.05),
)
RECIPES["aal_deit-s_in1k-5pct-240e"].update(
    epochs=(240, "AAL, Table 8"),
    lr_at=(lr_at(1e-3, of=240), "main.py --epochs 240"),
)

RECIPES["deit/deit-b_in1k-token-384px"] = distilled(
    changed(DEIT_B, **REGNETY),
    image_size=((384, 384), "README_deit.md --input-size 384"),
    start=("work_dirs/deit-b_in1k-token/epoch_300.pth", "README_deit.md --finetune"),
    drop_path=(0.0, "engine.py, main.py: the model stays in eval mode in DeiT's fine-tuning"),
    train_pipeline=(pipeline(384), "datasets.py"),
    test_pipeline=(test_view(384, 438), "datasets.py: 384 / 0.875"),
    epochs=(30, "README_deit.md --epochs 30"),
    batch=(512, "README_deit.md: 16 × 32"),
    full_batch=(512, "README_deit.md"),
    iterations=(2502, "samplers.py: 1281167 // 256 * 256 / 16 images a rank, of which 32 a step"),
    lr=(5e-6, "README_deit.md --lr 5e-6"),
    lr_at=(lr_at(5e-6, of=30, floor=5e-6), "README_deit.md --min-lr 5e-6; five warm-up epochs"),
)
RECIPES["deit/deit-b_in1k-token-384px"].update(
    parameters=(87_630_032, "README_deit.md: 88M"),
    decay=({name: d and 1e-8 for name, d in {**DECAY, **TOKEN}.items()}, "--weight-decay 1e-8"),
)

# The small data sets, from scratch.
CIFAR = changed(
    DEIT_S,
    **of_images(50_000, 8, 1024),
    classes=(10, "CIFAR-10"),
    parameters=(22_050_664 - 990 * 385, "22M with ten classes"),
    train_pipeline=(pipeline(bgr=False, load=False), "datasets.py; images are RGB as read"),
    test_pipeline=(
        [
            ("Resize", dict(scale=(256, 256), interpolation="bicubic", keep_ratio=False)),
            *test_view()[2:],
        ],
        "datasets.py: 224 / 0.875",
    ),
    pixels=({**IN1K, "order": "as read"}, "datasets.py"),
)
CIFAR_S = distilled(CIFAR, kind=None, classes=10)
WEAK = dict(
    train_pipeline=(
        [
            (
                "RandomCrop",
                dict(
                    crop_size=(32, 32),
                    padding=4,
                    pad_if_needed=False,
                    pad_val=0,
                    padding_mode="constant",
                ),
            ),
            ("RandomFlip", dict(prob=0.5, direction="horizontal")),
            ("Resize", dict(scale=(224, 224), interpolation="bicubic", keep_ratio=False)),
            ("PackInputs", {}),
        ],
        "AAL 5.3: random crops and horizontal flips; datasets.py crops images of 32 px so",
    ),
    mixing=(None, "AAL 5.3"),
)
CIFAR_TEACHER = (
    dict(
        model="efficientnet_b3.ra2_in1k",  # the architecture; its weights are the checkpoint's
        channels=B3,
        weights="work_dirs/efficientnet-b3_cifar10-scratch/epoch_300.pth",
    ),
    "AAL 5.3: a teacher pre-trained by CIFAR10",
)
TABLE6 = {
    "baselines/deit-s_cifar10": CIFAR_S,
    "baselines/deit-s_cifar10-soft": changed(
        CIFAR_S, teacher=CIFAR_TEACHER, **distillation("soft", token=True)
    ),
    "baselines/deit-s_cifar10-hard": changed(
        CIFAR_S, teacher=CIFAR_TEACHER, **distillation("hard", token=True)
    ),
    "aal_deit-s_cifar10-ownteacher": aal(CIFAR_S, teacher=CIFAR_TEACHER),
    "aal_deit-s_cifar10-hard": aal(
        CIFAR_S, teacher=CIFAR_TEACHER, **distillation("hard", token=True)
    ),
}
RECIPES.update(TABLE6)
RECIPES.update({f"{name}-weak": changed(row, **WEAK) for name, row in TABLE6.items()})
RECIPES["aal_deit-s_cifar10"] = aal(CIFAR_S)
RECIPES["baselines/deit-b_cifar10"] = changed(
    CIFAR, student=DEIT_B["student"], parameters=(86_567_656 - 990 * 769, "86M with ten classes")
)
for name, classes, images in (("cub", 200, 5_994), ("flowers", 102, 2_040)):
    RECIPES[f"baselines/deit-s_{name}"] = changed(
        DEIT_S,
        **of_images(images, 8, 512),
        classes=(classes, "the data set"),
        parameters=(22_050_664 - (1000 - classes) * 385, "22M"),
        batch=(512, "ours; main.py --batch-size 64 a GPU"),
        full_batch=(512, "ours"),
        lr=(5e-4, "main.py --lr: 5e-4 * batch / 512"),
        lr_at=(lr_at(5e-4), "main.py"),
    )
    RECIPES[f"aal_deit-s_{name}"] = aal(
        distilled(RECIPES[f"baselines/deit-s_{name}"], kind=None, classes=classes)
    )
# The CNN that teaches in Table 6: its training is ours, with DeiT's recipe but for the length.
CNN = changed(
    CIFAR,
    student=("efficientnet_b3.ra2_in1k", "AAL 5.1"),
    parameters=(10_711_602, "timm"),
    head=("LinearClsHead", "ours"),
    loss=(("CrossEntropyLoss", dict(use_soft=True, use_sigmoid=False)), "ours"),
    image_size=(None, ""),
    drop_path=(0.0, "ours"),
)
CNN.update(
    decay=(
        {
            **dict(convolutions=0.05, classifier=0.05),
            **{"biases": 0.0, "norms": 0.0, "norm biases": 0.0},
        },
        "main.py --weight-decay",
    ),
    init=(
        dict(convolutions=(0.0, 0.108), classifier=(0.0, 0.01), norms=(1.0, 0.0)),
        "timm's, and MMPretrain's for the classifier",
    ),
)
RECIPES["baselines/efficientnet-b3_cifar10-scratch"] = CNN
RECIPES["baselines/efficientnet-b3_cifar10"] = changed(
    CNN,
    start=("timm's efficientnet_b3", "ours: knows ImageNet too"),
    epochs=(30, "ours"),
    lr_at=(lr_at(1e-3, of=30), "ours: main.py --epochs 30"),
)

# ConViT and PiT, with DeiT's recipe.
for data, row in {"in1k": DEIT_S, "cifar10": CIFAR}.items():
    classes = row["classes"][0]
    RECIPES[f"baselines/convit-s_{data}"] = changed(
        row,
        student=("convit_small.fb_in1k", "convit models.py convit_small"),
        parameters=(27_777_322 + (classes - 1000) * 433, "convit: 27M"),
        image_size=(None, ""),
        drop_path=((0.1 / 11, 0.1), "convit main.py --drop-path; no module for block 1's 0"),
        decay=({"other vectors": 0.0}, "the gates: timm's add_weight_decay"),
        init=(
            # The local layers' value and position weights start as a convolution.
            {"linear": (0.0, 0.0236), "other vectors": (1.0, 0.0)},
            "convit.py: trunc_normal_ 0.02 and local_init",
        ),
    )
RECIPES["baselines/convit-s_in1k-5pct"] = changed(
    RECIPES["baselines/convit-s_in1k"], **subset(0.05)
)
RECIPES["baselines/pit-s_in1k-5pct"] = changed(
    DEIT_S,
    **subset(0.05),
    student=("pit_s_224.in1k", "pit pit.py pit_s"),
    parameters=(23_461_912, "pit README: 23.5M"),
    image_size=(None, ""),
    drop_path=((0.1 / 11, 0.1), "main.py --drop-path; timm's last block has 0.1, pit.py's 0.092"),
    init=(
        dict(linear=(0.0, 0.0242), classifier=(0.0, 0.0241), convolutions=(0.0, 0.0532)),
        "pit.py: torch's, but for tokens and position embedding",
    ),
)
RECIPES["aal_pit-s_in1k-5pct"] = aal(
    RECIPES["baselines/pit-s_in1k-5pct"], heads=[3] * 2 + [6] * 6 + [12] * 4, grid=None
)


def swin_lr_at(*epochs):
    """Swin lr_scheduler.py: by iteration, 20 warm-up epochs before the cosine of the other 280."""

    def value(epoch):
        if epoch < 20:
            return 1e-6 + epoch / 20 * (1e-3 - 1e-6)
        return 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * (epoch - 20) / 280))

    return {epoch: value(epoch) for epoch in epochs}


NO_SWIN_ROW = ("image_size", "ema", "sampler", "full_batch")
RECIPES["baselines/swin-t_in1k-5pct"] = {
    **{name: value for name, value in DEIT_S.items() if name not in NO_SWIN_ROW},
    **subset(0.05),
    **dict(
        student=("SwinTransformer embed_dims=96 num_layers=4", "swin_tiny_patch4_window7_224.yaml"),
        parameters=(28_288_354, "swin README: 28M"),
        head=("LinearClsHead", "swin models: norm, mean, Linear"),
        drop_path=((0.0, 0.2), "swin_tiny_patch4_window7_224.yaml"),
        sampler=(("DefaultSampler", dict(shuffle=True, round_up=True)), "swin data/build.py"),
        full_batch=(1024, "swin get_started.md: 8 × 128"),
        iterations=(62, "swin data/build.py: drop_last"),
        # At whole epochs past the warm-up MMEngine's schedule is Swin's; within it is one
        # iteration ahead, since LinearLR is full at its last step.
        lr_at=(
            swin_lr_at(0, 20, 160, 299),
            "swin config.py, main.py: lr, 5e-7, 5e-6 * batch / 512",
        ),
        clipping=(dict(max_norm=5.0), "swin config.py TRAIN.CLIP_GRAD"),
        decay=(
            {
                **dict(linear=0.05, convolutions=0.05, classifier=0.05),
                **{"biases": 0.0, "norms": 0.0, "norm biases": 0.0},
                "relative_position_bias_table": 0.0,
            },
            "swin optimizer.py, swin_transformer.py no_weight_decay_keywords",
        ),
        init=(
            {
                **dict(linear=(0.0, 0.02), classifier=(0.0, 0.02), norms=(1.0, 0.0)),
                "convolutions": (0.0, (3 * 48) ** -0.5),
                "relative_position_bias_table": (0.0, 0.02),
            },
            "swin swin_transformer.py: trunc_normal_ 0.02",
        ),
    ),
}
RECIPES["aal_swin-t_in1k-5pct"] = aal(
    RECIPES["baselines/swin-t_in1k-5pct"], heads=[3] * 2 + [6] * 2 + [12] * 6 + [24] * 2
)
