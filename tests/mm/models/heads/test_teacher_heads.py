"""Distillation and attention transfer within AALClassifier."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from aal_plugin.core.losses.attention_transfer import attention_map, attention_transfer
from aal_plugin.core.losses.distillation import soft_distillation
from tests.mm.small import AAL, PLAIN, TEACHER, batch, build, total

TEN = dict(TEACHER, num_classes=10)
DISTILLED = dict(
    PLAIN,
    backbone=dict(PLAIN["backbone"], type="DistilledVisionTransformer"),
    head=dict(PLAIN["head"], type="DeiTClsHead"),
)
CNN = dict(
    PLAIN,
    backbone=dict(type="ResNet_CIFAR", depth=18, base_channels=8, stem_channels=8),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=64),
)
AT = dict(type="ActivationTransferHead")
HEADS = {
    "soft": dict(distill_head=dict(type="DistillHead", kind="soft")),
    "hard": dict(distill_head=dict(type="DistillHead")),
    "token": dict(distill_head=dict(type="DistillHead", token=True)),
    "activations": dict(transfer_head=AT),
    "hints": dict(transfer_head=dict(type="HintHead")),
    "gradient": dict(transfer_head=dict(type="GradientTransferHead")),
    "symmetry": dict(transfer_head=dict(type="GradientTransferHead", kind="symmetry")),
    "norm": dict(transfer_head=dict(type="GradientTransferHead", kind="norm")),
    "links + token": dict(
        link_head=AAL["link_head"], distill_head=dict(type="DistillHead", token=True)
    ),
    "gradient + links + hard": dict(
        transfer_head=dict(type="GradientTransferHead"),
        link_head=AAL["link_head"],
        distill_head=dict(type="DistillHead"),
    ),
}


def teach(student, heads, **changes):
    config = dict(student, type="AALClassifier", teacher=TEN, **heads, **changes)
    if "type" in config["head"] and "VisionTransformer" in config["head"]["type"]:
        return build(config)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    for layer in getattr(model.head, "layers", []):
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight)
    return model


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("student", [DISTILLED, CNN], ids=["vit", "cnn"])
def test_every_mix_trains_and_runs_the_teacher_at_most_once(monkeypatch, name, student):
    if student is CNN and ("token" in name or "links" in name):
        return
    model = teach(student, HEADS[name]).train()
    calls = []
    forward = model.teacher.forward
    monkeypatch.setattr(
        model.teacher, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    losses = model(*batch(), mode="loss")
    total(losses).backward()
    assert len(calls) == (0 if name in ("symmetry", "norm") else 1)
    assert all(value.isfinite().all() for value in losses.values())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())


def test_soft_and_hard_share_the_label_with_the_teacher():
    data = batch()
    labels = torch.cat([sample.gt_label for sample in data[1]])
    for kind, weight in (("soft", 0.1), ("hard", 0.5)):
        model = teach(PLAIN, dict(distill_head=dict(type="DistillHead", kind=kind))).train()
        losses = model(*data, mode="loss")
        with torch.no_grad():
            logits = model(data[0])
            _, teachers = model.teacher(data[0], with_logits=True)
        label = F.cross_entropy(logits, labels)
        distance = (
            soft_distillation(logits, teachers, 3.0)
            if kind == "soft"
            else F.cross_entropy(logits, teachers.argmax(1))
        )
        torch.testing.assert_close(losses["loss"], (1 - weight) * label)
        torch.testing.assert_close(losses["loss_distill"], weight * distance)


def test_class_token_learns_the_label_and_distillation_token_the_teacher():
    model = teach(DISTILLED, HEADS["token"]).train()
    data = batch()
    labels = torch.cat([sample.gt_label for sample in data[1]])
    losses = model(*data, mode="loss")
    class_token, distillation_token = model.extract_feat(data[0])[-1]
    layers = model.head.layers
    _, teachers = model.teacher(data[0], with_logits=True)
    torch.testing.assert_close(
        losses["loss"], 0.5 * F.cross_entropy(layers.head(class_token), labels)
    )
    torch.testing.assert_close(
        losses["loss_distill"],
        0.5 * F.cross_entropy(layers.head_dist(distillation_token), teachers.argmax(1)),
    )
    model.eval()
    average = (layers.head(class_token) + layers.head_dist(distillation_token)) / 2
    torch.testing.assert_close(model(data[0]), average)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        (
            dict(type="LeViT", arch="128s", img_size=224, patch_size=16),
            dict(type="LeViTClsHead", in_channels=384, num_classes=10),
        ),
        (
            dict(type="EfficientFormer", arch="l1"),
            dict(type="EfficientFormerClsHead", in_channels=448, num_classes=10),
        ),
    ],
    ids=["levit", "efficientformer"],
)
def test_heads_that_mmpretrain_refuses_to_train_learn_from_the_teacher(backbone, head):
    neck = dict(type="GlobalAveragePooling") if head["type"].startswith("LeViT") else None
    if head["type"].startswith("Efficient"):
        neck = dict(type="GlobalAveragePooling", dim=1)
    model = teach(dict(PLAIN, backbone=backbone, neck=neck, head=head), HEADS["token"]).train()
    images, samples = batch(image=(224, 224), size=2)
    total(model(images, samples, mode="loss")).backward()
    second = model.head.head_dist if hasattr(model.head, "head_dist") else model.head.dist_head
    assert all(p.grad.abs().sum() > 0 for p in second.parameters())
    model.distill_head.set_weight(0.0)  # MMPretrain would refuse it now
    losses = model(images, samples, mode="loss")
    assert total(losses) == losses["loss"] > 0


def test_mixed_labels_are_distilled_too():
    mixes = dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)])
    model = teach(DISTILLED, HEADS["links + token"], train_cfg=mixes).train()
    images = [torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8) for _ in range(4)]
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert "gt_score" in data["data_samples"][0]
    total(model(data["inputs"], data["data_samples"], mode="loss")).backward()


def test_activation_transfer_compares_the_pairs_that_are_named():
    head = dict(AT, pairs=[(3, 4)], kind="max", power=1, reduction="paper", loss_weight=7.0)
    model = teach(CNN, dict(transfer_head=head)).train()
    data = batch()
    losses = model(*data, mode="loss")
    model.backbone.out_indices = (2,)
    student = attention_map(model.backbone(data[0])[0], "max", 1)
    activations, _ = model.teacher(data[0])
    wanted = 7 * attention_transfer(student, attention_map(activations[3], "max", 1), "paper")
    torch.testing.assert_close(losses["loss_transfer"], wanted, atol=1e-4, rtol=1e-4)


def test_levels_of_a_transformer_are_its_blocks_patch_tokens():
    model = teach(DISTILLED, dict(transfer_head=dict(AT, pairs=[(1, 3), (3, 4)])))
    images, samples = batch()
    model(images, samples, mode="loss")
    recorder = model.transfer_head.recording
    kept = []
    model.backbone.layers[0].register_forward_hook(lambda m, i, out: kept.append(out))
    recorder.start((24, 24))
    model.extract_feat(images)
    levels = recorder.stop()
    assert [tuple(level.shape) for level in levels] == [(4, 16, 3, 3)] * 3
    torch.testing.assert_close(levels[0], kept[0][:, 2:].mT.reshape(4, 16, 3, 3))


@pytest.mark.parametrize("kind", ["teacher", "symmetry", "norm"])
def test_gradient_transfer_steps_under_mixed_precision(kind):
    head = dict(type="GradientTransferHead", kind=kind, loss_weight=10.0)
    model = teach(CNN, dict(transfer_head=head)).train()
    scaler = torch.amp.GradScaler("cpu")
    optim = torch.optim.SGD(model.parameters(), lr=1e-2)
    before = [parameter.clone() for parameter in model.parameters()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(*batch(), mode="loss")
    assert losses["loss_gradient"].dtype == torch.float32
    scaler.scale(total(losses)).backward()
    scaler.step(optim)
    scaler.update()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters()))


def label_loss(model, images, samples, token):
    """The label's cross-entropy with the class token's logits, or the mean of both tokens'."""
    class_token, distillation_token = model.extract_feat(images)[-1]
    own, other = (
        model.head.layers.head(class_token),
        model.head.layers.head_dist(distillation_token),
    )
    labels = torch.cat([sample.gt_label for sample in samples])
    return F.cross_entropy(own if token else (own + other) / 2, labels)


@pytest.mark.parametrize("token", [True, False])
def test_the_labels_logits_stay_the_same_when_lambda_reaches_zero(token):
    model = teach(DISTILLED, dict(distill_head=dict(type="DistillHead", token=token))).train()
    data = batch()
    expected = label_loss(model, *data, token)
    assert not torch.allclose(expected, label_loss(model, *data, not token), rtol=1e-3)
    for weight in (0.5, 1e-4, 0.0):
        model.distill_head.set_weight(weight)
        model.zero_grad()
        losses = model(*data, mode="loss")
        torch.testing.assert_close(losses["loss"], (1 - weight) * expected)
        total(losses).backward()  # DDP waits for every gradient
        assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.head.layers.head_dist.weight.grad.any() != token


ACCURACY = {
    "links": dict(link_head=AAL["link_head"]),
    "hard": HEADS["hard"],
    "zero": dict(distill_head=dict(type="DistillHead", loss_weight=0.0)),
    "token": HEADS["token"],
    "gradient": HEADS["gradient"],
}


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize("student", [PLAIN, DISTILLED], ids=["plain", "distilled"])
def test_heads_that_count_accuracy_still_log_it(student, name):
    if student is PLAIN and name == "token":
        return
    head = dict(student["head"], cal_acc=True, topk=(1, 3))
    model = teach(dict(student, head=head), ACCURACY[name]).train()
    images, samples = batch(size=6)
    _, logged = model.parse_losses(model(images, samples, mode="loss"))
    if name == "token":
        logits = model.head.layers.head(model.extract_feat(images)[-1][0])
    else:
        logits = model.eval()(images)
    for k in (1, 3):
        best = logits.argsort(1, descending=True)[:, :k].tolist()
        right = sum(int(one.gt_label) in classes for one, classes in zip(samples, best))
        assert float(logged[f"accuracy_top-{k}"]) == pytest.approx(100 * right / 6)


def test_transfer_at_weight_zero_is_the_plain_classifier():
    plain = build(PLAIN)
    for heads in (
        dict(distill_head=dict(type="DistillHead", loss_weight=0.0)),
        dict(transfer_head=dict(AT, loss_weight=0.0)),
    ):
        model = teach(PLAIN, heads)
        model.load_state_dict(plain.state_dict())
        data = batch()
        losses = model(*data, mode="loss")
        assert losses["loss"] == plain(*data, mode="loss")["loss"]
        assert total(losses) == losses["loss"]


POOLED = dict(type="TIMMPooledBackbone", img_size=48)
PATCHES = {
    "swin": dict(
        POOLED,
        model_name="swin_tiny_patch4_window7_224",
        window_size=6,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
    ),
    "mmpretrain swin": dict(
        type="SwinTransformer",
        arch=dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2]),
        img_size=48,
        window_size=6,
        out_indices=(1,),
    ),
    "timm cnn": dict(type="TIMMPooledBackbone", model_name="test_resnet"),
}


@pytest.mark.parametrize("name", PATCHES)
def test_attention_transfers_to_students_of_every_kind(name):
    width = 96 if name == "timm cnn" else 16
    neck = dict(type="GlobalAveragePooling") if name == "mmpretrain swin" else None
    head = dict(type="LinearClsHead", num_classes=10, in_channels=width)
    student = dict(PLAIN, backbone=PATCHES[name], neck=neck, head=head)
    model = teach(student, HEADS["hints"]).train()
    losses = model(*batch(image=(48, 48)), mode="loss")
    total(losses).backward()
    assert losses["loss_hint"] > 0
    assert all(p.grad.abs().sum() > 0 for p in model.transfer_head.parameters())


@pytest.mark.parametrize(
    ("student", "changes", "words"),
    [
        (PLAIN, dict(distill_head=dict(type="DistillHead", kind="warm")), "kind='warm'; choose"),
        (PLAIN, dict(distill_head=dict(type="DistillHead", loss_weight=2.0)), "choose 0 to 1"),
        (PLAIN, dict(distill_head=dict(type="DistillHead", temperature=0.0)), "a number above 0"),
        (
            PLAIN,
            dict(distill_head=dict(type="DistillHead", kind="soft", temperature=float("nan"))),
            "distill_head.temperature=nan; choose a number above 0",
        ),
        (
            PLAIN,
            dict(distill_head=dict(type="DistillHead", kind="soft", reduction="mean")),
            r"distill_head.reduction='mean'; choose one of \['batch', 'elements'\]",
        ),
        (
            PLAIN,
            dict(distill_head=dict(type="DistillHead", reduction="elements")),
            "distill_head.reduction='elements' has no effect, because kind='hard'",
        ),
        (
            PLAIN,
            dict(distill_head=dict(type="DistillHead", loss_weight=float("nan"))),
            "distill_head.loss_weight=nan; choose 0 to 1",
        ),
        (
            PLAIN,
            dict(link_head=dict(AAL["link_head"], loss_weight=float("inf"))),
            "link_head.loss_weight=inf; choose a finite number",
        ),
        (PLAIN, HEADS["token"], "token=True: .* VisionTransformerClsHead has no distillation"),
        (
            PLAIN,
            dict(HEADS["hard"], teacher=dict(TEACHER, num_classes=7)),
            "the student has 10 classes and the teacher 7",
        ),
        (PLAIN, dict(HEADS["hard"], teacher=None), "has no teacher, .* teacher logits"),
        (PLAIN, dict(), "has no link_head, distill_head, transfer_head or guidance"),
        (PLAIN, dict(link_head=AT), "link_head: ActivationTransferHead does not belong there"),
        (CNN, dict(transfer_head=dict(AT, pairs=[(5, 1)])), r"pairs: \(5, 1\); choose .* at most"),
        (CNN, dict(transfer_head=dict(AT, kind="mean")), "transfer_head.kind='mean'; choose one"),
        (CNN, dict(transfer_head=dict(AT, power=0.5)), "transfer_head.power=0.5"),
        (
            CNN,
            dict(HEADS["gradient"], teacher=dict(TEACHER, num_classes=7)),
            "transfer_head: the student has 10 classes and the teacher 7",
        ),
        (
            dict(CNN, head=dict(type="ArcFaceClsHead", num_classes=10, in_channels=64)),
            HEADS["hard"],
            "distill_head computes .* model.head=ArcFaceClsHead overrides ClsHead.loss",
        ),
        (
            CNN,
            dict(transfer_head=dict(AT, student_layers=["layer9"])),
            "transfer_head.student_layers: .* no module 'layer9'; near names: layer",
        ),
    ],
)
def test_bad_configs_are_told_what_is_wrong(student, changes, words):
    config = dict(dict(student, type="AALClassifier", teacher=TEN), **changes)
    with pytest.raises(ValueError, match=words):
        build(config)
