"""The recipes of attention transfer: `{config: {name: (value, source)}}`.

Sources: "AT" is the paper; "cifar.py", "imagenet.py" and "utils.py" are its published code
(szagoruyko/attention-transfer), which has Wide ResNets on CIFAR and ResNets on ImageNet alone:
neither NIN, nor hints, gradients, CUB or Scenes. "ours" is told by neither.
"""

import math

from .deit import changed


def lr_at(lr, drops, ratio, epochs):
    """cifar.py and imagenet.py: at the start of an epoch, counted from 1, that is a drop."""
    rates = {}
    for epoch in range(epochs):
        if epoch + 1 in drops:
            lr = lr * ratio
        rates[epoch] = lr
    return rates


# (inputs, outputs, kernel) of every convolution.
def wrn_convolutions(depth, k):
    layers, channels = [(3, 16, 3)], 16
    for width in (16 * k, 32 * k, 64 * k):
        for _ in range((depth - 4) // 6):
            layers += [(channels, width, 3), (width, width, 3)]
            layers += [(channels, width, 1)] if channels != width else []
            channels = width
    return layers


def nin_convolutions(width):
    group = [(width, width, 3), (width, width, 1), (width, width, 1)]
    return [(3, width, 3), *group[1:], *group, *group]


RESNET18 = [(3, 64, 7), *[(64, 64, 3)] * 4]
for channels in (128, 256, 512):
    RESNET18 += [(channels // 2, channels, 3), (channels // 2, channels, 1)]
    RESNET18 += [(channels, channels, 3)] * 3


def network(student, convolutions, norms, classifier, biases=False, classes=10):
    """Weights and start: variance 2 / fan-in; norms hold two numbers a channel."""
    sizes = [i * o * k * k for i, o, k in convolutions]
    squares = sum(o * 2.0 for _, o, _ in convolutions)  # n weights of variance 2 / fan-in
    count = sum(sizes) + (sum(o for _, o, _ in convolutions) if biases else 0)
    count += 2 * norms + (classifier + 1) * classes
    start = {
        "convolutions": (0.0, math.sqrt(squares / sum(sizes))),
        "classifier": (0.0, math.sqrt(2 / classifier)),
    }
    decayed = ["convolutions", "classifier", "biases"]
    if norms:
        start["norms"] = (0.5, 12**-0.5)
        decayed += ["norms", "norm biases"]
    return dict(
        student=(student, "AT 4.1"),
        parameters=(count, "AT, Table 1: 0.2M, 0.7M, 0.6M, 2.2M; NIN 0.2M and 1M"),
        init=(start, "utils.py conv_params, linear_params, bnparams: rand(n)"),
        decay=({kind: 5e-4 for kind in decayed}, "cifar.py --weight_decay, of all that is trained"),
    )


def wrn(depth, k):
    blocks = (depth - 4) // 6
    # Two norms a block, of its inputs and of its outputs, and one at the end.
    norms = sum(w * blocks * 2 for w in (16 * k, 32 * k, 64 * k)) + 64 * k
    norms += 16 - 16 * k + 16 * k - 32 * k + 32 * k - 64 * k  # first blocks' inputs are narrower
    return network("WideResNet", wrn_convolutions(depth, k), norms, 64 * k)


def nin(width, batch_norm=True):
    norms = 9 * width if batch_norm else 0
    convolutions = nin_convolutions(width)
    return network("NetworkInNetwork", convolutions, norms, width, biases=not batch_norm)


FLIP = ("RandomFlip", dict(prob=0.5, direction="horizontal"))
PACK = ("PackInputs", {})
CROP = dict(pad_if_needed=False, pad_val=0, padding=None)
CIFAR = dict(
    **wrn(16, 1),
    head=("LinearClsHead", "cifar.py"),
    classes=(10, "CIFAR-10"),
    start=(None, "from scratch"),
    drop_path=(0.0, "none"),
    images=(50_000, "the data set"),
    gpus=(1, "cifar.py --ngpu"),
    batch=(128, "cifar.py --batch_size"),
    iterations=(391, "cifar.py: the last batch is kept"),
    drop_last=(False, "cifar.py: DataLoader"),
    sampler=(("DefaultSampler", dict(shuffle=True, round_up=True)), "cifar.py: DataLoader"),
    train_pipeline=(
        [
            ("NumpyToPIL", dict(to_rgb=False)),
            (
                "RandomCrop",
                dict(size=(32, 32), padding=4, pad_if_needed=False, fill=0, padding_mode="reflect"),
            ),
            ("PILToNumpy", dict(to_bgr=False, dtype=None)),
            FLIP,
            PACK,
        ],
        "cifar.py create_dataset",
    ),
    test_pipeline=([PACK], "cifar.py create_dataset"),
    pixels=(
        dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], order="as read"),
        "cifar.py create_dataset",
    ),
    mixing=(None, "none"),
    loss=(("CrossEntropyLoss", dict(use_soft=False, use_sigmoid=False)), "cifar.py"),
    epochs=(200, "cifar.py --epochs"),
    optimizer=("SGD", "cifar.py create_optimizer"),
    momentum=(0.9, "cifar.py create_optimizer"),
    nesterov=(False, "cifar.py create_optimizer"),
    dampening=(0, "cifar.py create_optimizer"),
    momentum_reset=(True, "cifar.py on_start_epoch: a new optimizer at each drop"),
    lr=(0.1, "cifar.py --lr"),
    lr_at=(lr_at(0.1, (60, 120, 160), 0.2, 200), "cifar.py --epoch_step --lr_decay_ratio"),
    clipping=(None, "none"),
)

LAYERS = ["backbone.layer1", "backbone.layer2", "backbone.layer3"]
TEACHERS = {
    "wrn-16-2": ("WideResNet", [32, 64, 128], LAYERS),
    "wrn-40-1": ("WideResNet", [16, 32, 64], LAYERS),
    "wrn-40-2": ("WideResNet", [32, 64, 128], LAYERS),
    "nin-wide": ("NetworkInNetwork", [208] * 3, LAYERS),
    "nin-wide-norelu": ("NetworkInNetwork", [208] * 3, [f"{layer}.6" for layer in LAYERS]),
}


def taught(row, teacher, source="AT, Table 1", **losses):
    """A row with a teacher and some of the losses at, hint, gradient and kd."""
    model, channels, layers = TEACHERS[teacher]
    weights = f"work_dirs/{teacher}_cifar10/epoch_200.pth"
    row = changed(
        row, teacher=(dict(model=model, channels=channels, weights=weights), source), **losses
    )
    if "transfer" in losses:
        value, origin = losses["transfer"]
        row["transfer"] = (dict(value, teacher_layers=layers), origin)
    return row


def decaying(beta):
    """AT 4.1.1 and 4.1.2: beta decays with KD and with hints; 0.98 an epoch is ours."""
    return dict(
        weight_at=({e: beta * 0.98**e for e in (0, 1, 100, 199)}, "AT 4.1.1, 4.1.2; rate ours")
    )


def at(levels=(1, 2, 3)):
    return dict(
        transfer=(
            dict(
                type="ActivationTransferHead",
                kind="sum",
                power=2,
                reduction="mean",
                pairs=[(level, level) for level in levels],
                weight=1000.0,
            ),
            "utils.py at, at_loss; README.md --beta 1e+3; AT 4.1.1: F_sum^2",
        )
    )


def hints():
    return dict(
        transfer=(
            dict(type="HintHead", pairs=[(1, 1), (2, 2), (3, 3)], weight=1.0),
            "AT 4.1.2; beta is ours",
        )
    )


def kd(temperature):
    source = "AT 4.1: alpha 0.9, temperature 4 for ResNets; NIN's is ours: FitNets' 3"
    value = dict(kind="soft", token=False, weight=0.9, temperature=temperature)
    return dict(distillation=(value, source))


def gradient(kind):
    value = dict(type="GradientTransferHead", kind=kind, weight=1.0)
    return dict(transfer=(value, "AT 3.2, Eq. 4 and 6, 4.1.3; beta is ours"))


def hinted(row, teacher):
    """1×1 convolutions where widths differ, none where they are the same (AT 4.1.2)."""
    row = taught(row, teacher, **hints(), **decaying(1.0))
    convolutions = row["student"][0] != "WideResNet" or teacher == "wrn-16-2"
    if not convolutions:
        return row
    pairs = list(zip(HINTED[teacher], TEACHERS[teacher][1]))
    more = sum(s * t + t for s, t in pairs)
    weights = sum(s * t for s, t in pairs)
    # torch's Conv2d: U(-1, 1) / sqrt(fan-in), of variance 1 / (3 fan-in).
    spread = math.sqrt(sum(t / 3 for _, t in pairs) / weights)
    return changed(
        row,
        parameters=(row["parameters"][0] + more, "AT 4.1.2: 1×1 convolutions"),
        decay=({"transfer": 5e-4, "transfer biases": 5e-4}, "cifar.py --weight_decay"),
        init=({"transfer": (0.0, spread)}, "ours: torch's Conv2d"),
    )


HINTED = {"wrn-16-2": [16, 32, 64], "nin-wide": [96] * 3}
RECIPES = {}
for name, row in {
    "wrn-16-1": CIFAR,
    "wrn-16-2": changed(CIFAR, **wrn(16, 2)),
    "wrn-40-1": changed(CIFAR, **wrn(40, 1)),
    "wrn-40-2": changed(CIFAR, **wrn(40, 2)),
    "nin-thin": changed(CIFAR, **nin(96)),
    "nin-wide": changed(CIFAR, **nin(208)),
    "nin-wide-norelu": changed(CIFAR, **nin(208)),
}.items():
    RECIPES[f"attention_transfer/{name}_cifar10"] = row
for student, teacher, end in (
    ("nin-thin", "nin-wide", ""),
    ("wrn-16-1", "wrn-16-2", ""),
    ("wrn-16-1", "wrn-40-1", "-wrn-40-1"),
    ("wrn-16-2", "wrn-40-2", ""),
):
    row, soft = (
        RECIPES[f"attention_transfer/{student}_cifar10"],
        kd(3.0 if "nin" in student else 4.0),
    )
    RECIPES[f"attention_transfer/at_{student}_cifar10{end}"] = taught(row, teacher, **at())
    RECIPES[f"attention_transfer/kd_{student}_cifar10{end}"] = taught(row, teacher, **soft)
    RECIPES[f"attention_transfer/hint_{student}_cifar10{end}"] = hinted(row, teacher)
    RECIPES[f"attention_transfer/at-kd_{student}_cifar10{end}"] = taught(
        row, teacher, **at(), **soft, **decaying(1000.0)
    )

# Table 3: without batch norm.
NOBN = {
    **CIFAR,
    **nin(96, batch_norm=False),
    "decay": (dict(convolutions=0.0, classifier=0.0, biases=0.0), "AT 4.1.3: no weight decay"),
    "train_pipeline": ([FLIP, PACK], "AT 4.1.3: just horizontal flips"),
    "lr": (0.01, "ours"),
    "lr_at": (lr_at(0.01, (60, 120, 160), 0.2, 200), "cifar.py --epoch_step; lr ours"),
}
TABLE_3 = "AT, Table 3 and 4.1.3"
RECIPES["attention_transfer/nin-thin-nobn_cifar10"] = NOBN
RECIPES["attention_transfer/at_nin-thin-nobn_cifar10"] = taught(
    NOBN, "nin-wide-norelu", TABLE_3, **at()
)
RECIPES["attention_transfer/kd_nin-thin-nobn_cifar10"] = taught(
    NOBN, "nin-wide", TABLE_3, **kd(3.0)
)
RECIPES["attention_transfer/gradient_nin-thin-nobn_cifar10"] = taught(
    NOBN, "nin-wide", TABLE_3, **gradient("teacher")
)
RECIPES["attention_transfer/symmetry_nin-thin-nobn_cifar10"] = {**NOBN, **gradient("symmetry")}
RECIPES["attention_transfer/norm_nin-thin-nobn_cifar10"] = {**NOBN, **gradient("norm")}

# Table 5: ImageNet.
LOAD = ("LoadImageFromFile", {})
RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], order="BGR turned to RGB")
VIEW = [
    LOAD,
    ("ResizeEdge", dict(edge="short", scale=256, interpolation="bilinear")),
    ("CenterCrop", dict(crop_size=(224, 224))),
    PACK,
]
RESNET_NORMS = 64 + 4 * 64 + 5 * (128 + 256 + 512)  # a shortcut's too
IN1K = {
    **CIFAR,
    **network("ResNet depth=18", RESNET18, RESNET_NORMS, 512, classes=1000),
    "classes": (1000, "ImageNet"),
    "images": (1_281_167, "ImageNet"),
    "gpus": (8, "ours; README.md: 2"),
    "batch": (256, "imagenet.py --batch_size"),
    "full_batch": (256, "imagenet.py --batch_size"),
    "iterations": (5005, "the last batch is kept"),
    "train_pipeline": (
        [
            LOAD,
            (
                "RandomResizedCrop",
                dict(
                    scale=(224, 224),
                    crop_ratio_range=(0.08, 1.0),
                    aspect_ratio_range=(3 / 4, 4 / 3),
                    interpolation="bilinear",
                ),
            ),
            FLIP,
            PACK,
        ],
        "imagenet.py get_iterator",
    ),
    "test_pipeline": (VIEW, "imagenet.py get_iterator"),
    "pixels": (RGB, "imagenet.py get_iterator"),
    "epochs": (100, "imagenet.py --epochs"),
    "lr_at": (lr_at(0.1, (30, 60, 90), 0.1, 100), "imagenet.py --epoch_step --lr_decay_ratio"),
}
IN1K["decay"] = (
    {kind: 1e-4 for kind in IN1K["decay"][0]},
    "imagenet.py --weight_decay",
)
RECIPES["attention_transfer/resnet18_in1k"] = IN1K
LATE = dict(
    weight_at=(
        {0: 0.0, 59: 0.0, 60: 1000.0, 99: 1000.0},
        "AT, Table 5: transfer losses are added on epoch 60/100",
    )
)
RECIPES["attention_transfer/at_resnet18_in1k"] = changed(
    IN1K,
    teacher=(
        dict(model="resnet34.tv_in1k", channels=[64, 128, 256, 512], weights="timm's"),
        "AT 4.2.2: ResNet-34; 26.1 % error, torchvision's 26.7 %",
    ),
    transfer=(
        dict(
            at(levels=(1, 2, 3, 4))["transfer"][0],
            teacher_layers=[f"layer{i}" for i in (1, 2, 3, 4)],
        ),
        "imagenet.py: four groups",
    ),
    **LATE,
)

# Table 4: fine-tuning, of which AT 4.2.1 tells crops, what is frozen and which groups are compared.
FINE = {
    **IN1K,
    "gpus": (1, "ours"),
    "batch": (32, "ours"),
    "full_batch": (None, "ours"),
    "lr": (1e-3, "ours"),
    "lr_at": ({e: 1e-3 if e < 60 else 1e-4 for e in range(100)}, "ours"),
    "momentum_reset": (True, "as in imagenet.py"),
    "decay": (
        {"convolutions": 5e-4, "classifier": 5e-4, "biases": 5e-4},
        "AT 4.2.1: batch norms are fixed; 5e-4 is ours",
    ),
}
SCENES = dict(classes=67, images=5_360, iterations=168)
CUB = dict(classes=200, images=5_994, iterations=188)
for name, data in dict(cub=CUB, scenes=SCENES).items():
    box = [("CropToBox", {})] if name == "cub" else []
    crop = dict(crop_size=(224, 224), padding_mode="constant", **CROP)
    source = "AT 4.2.1: crop bounding boxes (CUB), rescale to 256 in one dimension, random crop"
    views = dict(
        train_pipeline=([LOAD, *box, VIEW[1], ("RandomCrop", crop), FLIP, PACK], source),
        test_pipeline=([LOAD, *box, *VIEW[1:]], source),
    )
    # Blocks of 64, 128, 256, 512 channels: 34 has more of the same, all trained but the first.
    for depth, blocks in {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}.items():
        layers = [(3, 64, 7), *[(64, 64, 3)] * (2 * blocks[0])]
        trained = []
        for channels, count in zip((128, 256, 512), blocks[1:]):
            trained += [(channels // 2, channels, 3), (channels // 2, channels, 1)]
            trained += [(channels, channels, 3)] * (2 * count - 1)
        norms = sum(o for _, o, _ in layers + trained)
        parts = network(
            f"ResNet depth={depth}",
            layers + trained,
            norms,
            512,
            False,
            **{"classes": data["classes"]},
        )
        RECIPES[f"attention_transfer/resnet{depth}_{name}"] = {
            **FINE,
            **{key: (value, "the data set") for key, value in data.items()},
            **views,
            "student": parts["student"],
            "parameters": parts["parameters"],
            "start": (f"torchvision://resnet{depth}", "AT 4.2.1: pretrained on ImageNet"),
            "kept_as_it_is": (
                dict(
                    parameters=sum(i * o * k**2 for i, o, k in layers) + 2 * norms,
                    norms=len(layers + trained),
                ),
                "AT 4.2.1: batch norm and the first group of layers stay as they are",
            ),
            # What the files of weights replace is not looked at: MMPretrain's own start.
            "init": (
                {
                    "convolutions": (0.0, 0.0116 if depth == 18 else 0.0108),
                    "classifier": (0.0, 0.01),
                },
                "MMPretrain's; fine-tuning's classifier is ours",
            ),
        }
    teacher = dict(
        teacher=(
            dict(
                model="ResNet depth=34",
                channels=[64, 128, 256, 512],
                weights=f"work_dirs/resnet34_{name}/epoch_100.pth",
            ),
            "AT 4.2.1: finetuned ResNet-34",
        )
    )
    student = changed(RECIPES[f"attention_transfer/resnet18_{name}"], **teacher)
    layers = [f"backbone.layer{i}" for i in (1, 2, 3, 4)]
    two = dict(at(levels=(3, 4))["transfer"][0], teacher_layers=layers)
    RECIPES[f"attention_transfer/at_resnet18_{name}"] = changed(
        student, transfer=(two, "AT 4.2.1: on the 2 last groups"), **LATE
    )
    RECIPES[f"attention_transfer/kd_resnet18_{name}"] = changed(student, **kd(4.0))
