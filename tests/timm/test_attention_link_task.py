import copy
import math
from contextlib import nullcontext

import pytest
import torch
from timm.data.loader import PrefetchLoader
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask
from torch import nn

from aal_plugin.core import AttentionRecorder, TimmTeacher, link_distance, link_weight, resize_maps
from aal_plugin.core.student.recorder import Recorder
from aal_plugin.timm import AttentionLinkTask

from .small import CLASSES, PIT, SIZE, SMALL, SWIN, batch, gradients, student, task


def test_zero_weight_runs_neither_teacher_nor_recorder():
    ours = task(stop_epoch=1)
    ours.set_epoch(1)
    ours.teacher.forward = ours.get_trainable_module().recorder.start = (
        None  # would fail when called
    )
    ours(*batch())["loss"].backward()
    assert all(p.grad.abs().sum() == 0 for p in ours.get_trainable_module().links.parameters())


def test_loss_is_task_loss_plus_lambda_times_the_distance_of_equation_5():
    ours = task(links=[(1, 1), (1, 2), (2, 3), (3, 3)], loss_weight=50.0)
    images, target = batch()
    result = ours(images, target)

    model = student()  # the same weights, without a task
    recorder = AttentionRecorder(model)
    recorder.start(images.shape[-2:])
    output = model(images)
    maps = recorder.stop()
    activations, _ = ours.teacher(images)
    distance = channels = 0
    for (first, last), link, level in zip(
        [(1, 1), (1, 2), (2, 3), (3, 3)], ours.get_trainable_module().links, activations
    ):
        augmented = link(torch.cat(maps[first - 1 : last], dim=1))
        distance += level.shape[1] * link_distance(augmented, resize_maps(level, (4, 4)))
        channels += level.shape[1]
    task_loss = nn.functional.cross_entropy(output, target)
    assert set(result) == {"loss", "output", "task_loss", "link_loss"}
    torch.testing.assert_close(result["output"], output)
    torch.testing.assert_close(result["task_loss"], task_loss)
    torch.testing.assert_close(result["link_loss"], 50 * distance / channels)
    torch.testing.assert_close(result["loss"], result["task_loss"] + result["link_loss"])


def test_lambda_follows_the_epoch_told():
    ours = task(gammas=(0.9, 0.5), milestones=(2,), stop_epoch=5)
    for epoch in (4, 0, 5, 3):  # in any order: it has no memory
        ours.set_epoch(epoch)
        expected = link_weight(epoch, 2000.0, (0.9, 0.5), (2,), 5)
        assert ours.link_weight == expected
        result = ours(*batch())
        assert (result["link_loss"] > 0) == (expected > 0)


def test_epoch_metrics_are_means_of_the_epochs_training_steps():
    """Not of a validation with the task; train.py sets the trainable module's mode alone."""
    ours = task(loss_weight=10.0, gammas=(1.0,), milestones=())
    ours(*batch(seed=0))
    ours.set_epoch(1)
    results = [ours(*batch(seed=seed)) for seed in (1, 2)]
    link, label = (
        sum(each[key].item() for each in results) / 2 for key in ("link_loss", "task_loss")
    )
    results[0]["task_loss"].detach().zero_()  # as a CUDA graph overwrites its outputs
    for module in (ours, ours.get_trainable_module()):
        module.eval()
        ours(*batch(seed=3))
        ours.train()
    expected = dict(link_weight=10.0, link_distance=link / 10, task_loss=label)
    assert ours.epoch_metrics() == pytest.approx(expected)
    assert not any(step.requires_grad for step in ours._steps)
    ours = task(stop_epoch=1)
    ours.set_epoch(1)
    ours(*batch())
    assert math.isnan(ours.epoch_metrics()["link_distance"])


def test_a_loss_that_is_no_number_ends_the_epoch_with_its_name_and_step():
    ours = task()
    images, labels = batch()
    ours(images, labels)
    ours.check_finite()
    for value in (float("nan"), 0.0):
        images[0, 0, 0, 0] = value
        ours(images, labels)
    with pytest.raises(FloatingPointError, match="step 2 of the epoch: task_loss is nan.*2000"):
        ours.check_finite()
    ours.set_epoch(1)
    ours.check_finite()


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16"])
def test_teacher_moves_with_the_task_and_keeps_a_dtype_of_its_own(dtype):
    own = TimmTeacher("test_resnet", dtype=dtype, num_classes=5, allow_random_weights=True)
    ours = AttentionLinkTask(student(), own, nn.CrossEntropyLoss(), verbose=False)
    ours.setup_ema(device=torch.device("cpu"))
    ours.double()
    expected = getattr(torch, dtype or "float64")
    assert {p.dtype for p in ours.teacher.model.parameters()} == {expected}
    images, target = batch()
    loss = ours(images.double(), target)["loss"]
    assert loss.dtype == torch.float64 and loss.isfinite()


def test_teacher_is_in_no_state_and_stays_in_eval():
    ours = task()
    ours.setup_ema()
    ours.train()
    assert not any(module.training for module in ours.teacher.modules())
    teachers = {p.data_ptr() for p in ours.teacher.parameters()}
    held = [*ours.parameters(), *ours.state_dict().values(), *ours.buffers()]
    held += ours.get_trainable_module(ema=True).state_dict().values()
    assert not teachers & {tensor.data_ptr() for tensor in held}


class RepeatingTeacher(nn.Module):
    """Stands for a teacher of three channels: two levels, and what it was told of the images."""

    channels = (2, 3)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=8, padding=1).requires_grad_(False)

    def match_input(self, mean, std, rgb, advice=""):
        self.mean, self.std = mean, std

    def forward(self, images, with_logits=False):
        shape = (1, len(self.mean), 1, 1)
        pixels = images * torch.tensor(self.std).view(shape) + torch.tensor(self.mean).view(shape)
        return list(self.conv(pixels[:, :1].expand(-1, 3, -1, -1)).split((2, 3), dim=1)), None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_other_channels_have_one_mean_each_as_in_timms_loader(channels):
    """Timm's configs always have three values; its loader normalises with their average."""
    model = student(in_chans=channels)
    mean, std = (0.1, 0.2, 0.6), (0.5, 0.6, 0.7)
    model.pretrained_cfg = dict(model.pretrained_cfg, mean=mean, std=std)
    cnn = RepeatingTeacher()
    ours = AttentionLinkTask(model, cnn, nn.CrossEntropyLoss(), verbose=False)

    pixels = torch.randint(256, (4, channels, SIZE, SIZE)).to(torch.uint8)
    loaded = [(pixels, batch()[1])]
    loader = PrefetchLoader(
        loaded, mean, std, channels=channels, device=torch.device("cpu"), img_dtype=torch.float32
    )
    images, target = next(iter(loader))
    shape = (1, channels, 1, 1)
    seen = images * torch.tensor(cnn.std).view(shape) + torch.tensor(cnn.mean).view(shape)
    torch.testing.assert_close(seen, pixels.float(), rtol=0, atol=1e-3)
    result = ours(images, target)
    result["loss"].backward()
    assert result["link_loss"].isfinite() and result["link_loss"] > 0


def test_eval_model_is_the_plain_student_also_of_the_ema_copy():
    model = student()
    ours = task(model)
    assert ours.get_eval_model() is model
    assert ours.get_eval_model(ema=True) is None and not ours.has_ema()
    ours.setup_ema(decay=0.5)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        ours.get_trainable_module().links[0].bias.fill_(1.0)
        model.head.bias.fill_(1.0)
    ours.update_ema()
    copied = ours.get_eval_model(ema=True)
    assert type(copied) is type(model) and copied is not model
    torch.testing.assert_close(copied.head.bias, 0.5 * before["head.bias"] + 0.5)
    ema_links = ours.get_task_state(ema=True)["links"]["state_dict"]
    assert not torch.equal(ema_links["links.0.bias"], ours.get_trainable_module().links[0].bias)


def test_ema_copy_reads_its_own_attention():
    """The copy's recorder are its own: a step of it leaves the student's maps alone."""
    ours = task()
    ours.setup_ema()
    copied = ours.get_trainable_module(ema=True).module
    activations, _ = ours.teacher(batch()[0])
    with torch.no_grad():
        copied.student.blocks[0].attn.qkv.weight.zero_()
    _, distance = copied(batch()[0], activations)
    assert distance.requires_grad and copied.recorder is not ours.get_trainable_module().recorder
    _, expected = ours.get_trainable_module()(batch()[0], activations)
    assert not torch.equal(distance, expected)


@pytest.mark.parametrize("layer_decay", [None, 0.5])
@pytest.mark.parametrize(
    "name, shape",
    [
        ("deit_tiny_distilled_patch16_224", SMALL),
        ("pit_ti_224", PIT),  # has no group_matcher
        ("swin_tiny_patch4_window7_224", SWIN),
    ],
)
def test_optimizer_groups_of_the_student_are_those_of_the_plain_student(name, shape, layer_decay):
    options = dict(opt="adamw", lr=1.0, weight_decay=0.1, layer_decay=layer_decay)

    def groups(module, prefix):
        settings = {}
        names = {id(p): name for name, p in module.named_parameters()}
        for group in create_optimizer_v2(module, **options).param_groups:
            for p in group["params"]:
                name = names[id(p)]
                settings[name[len(prefix) :] if name.startswith(prefix) else name] = (
                    group["weight_decay"],
                    group.get("lr_scale"),
                )
        return settings

    model = student(name, shape=shape)
    expected = groups(model, "")
    assert len({scale for _, scale in expected.values()}) == 1 or layer_decay
    assert len({scale for _, scale in expected.values()}) > 4 or not layer_decay
    ours = groups(task(model).get_trainable_module(), "student.")
    assert {name: ours[name] for name in expected} == expected
    last = max(expected.values(), key=lambda group: (group[1] or 0, group[0]))
    assert ours["link_loss.links.0.weight"] == last


def test_the_trainable_module_answers_as_the_student_does():
    model = student()
    linked = task(model).get_trainable_module()
    assert linked.num_classes == CLASSES and linked.pretrained_cfg is model.pretrained_cfg
    assert linked.get_classifier() is model.head
    linked.set_grad_checkpointing()
    assert model.grad_checkpointing
    with pytest.raises(AttributeError, match="VisionTransformer.*no_such_thing"):
        linked.no_such_thing  # noqa: B018


def test_clip_parameters_are_student_and_links_and_without_head_as_timm_has_it():
    model = student()
    ours, plain = task(model), ClassificationTask(model, nn.CrossEntropyLoss(), verbose=False)
    links = list(ours.get_trainable_module().links.parameters())
    everything = [*plain.get_clip_parameters(), *links]
    assert [id(p) for p in ours.get_clip_parameters()] == [id(p) for p in everything]
    without = [p for p in model.parameters()][:-2] + links
    assert [id(p) for p in ours.get_clip_parameters(exclude_head=True)] == [id(p) for p in without]


def test_compiled_step_equals_the_eager_one_and_a_new_lambda_compiles_nothing():
    compiled_graphs = []

    def backend(graph, inputs):
        compiled_graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    eager, compiled = task(links="alpha"), task(links="alpha")
    compiled.setup_ema(decay=0.5)
    eval_model = compiled.compile(backend=backend)
    assert compiled.get_eval_model() is eval_model
    for one in (eager, compiled):
        one(*batch())["loss"].backward()
    expected = gradients(eager.get_trainable_module())
    found = gradients(compiled.get_trainable_module()._orig_mod)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

    count = len(compiled_graphs)
    compiled.set_epoch(3)
    compiled(*batch())["loss"].backward()
    compiled.update_ema()
    assert len(compiled_graphs) == count
    for ema in ("", "_ema"):
        keys = compiled.get_checkpoint_state(ema=bool(ema))[f"state_dict{ema}"].keys()
        assert list(keys) == list(student().state_dict())
    torch.testing.assert_close(eval_model(batch()[0]), eager.get_eval_model()(batch()[0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, None])
def test_half_precision_keeps_the_distance_in_float32(dtype):
    """Under autocast, and of a student that is in bfloat16 itself."""
    ours, (images, target) = task(), batch()
    expected = ours(images, target)["link_loss"]
    if dtype is None:
        ours = task(student().bfloat16(), dtype=torch.bfloat16)
        images = images.bfloat16()
    with nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype):
        result = ours(images, target)
    links = ours.get_trainable_module().links
    assert {parameter.dtype for parameter in links.parameters()} == {torch.float32}
    assert result["link_loss"].dtype == torch.float32
    torch.testing.assert_close(result["link_loss"], expected, rtol=3e-2, atol=0)
    result["loss"].backward()
    assert all(g.isfinite().all() for g in gradients(ours.get_trainable_module()).values())


@pytest.mark.parametrize(
    "name, shape, last",
    [
        ("deit_tiny_distilled_patch16_224", SMALL, "blocks.2.attn.qkv"),
        ("vit_small_patch14_reg4_dinov2", SMALL, "blocks.2.attn.qkv"),
        ("pit_ti_distilled_224", PIT, "transformers.2.blocks.0.attn.qkv"),
        ("swin_tiny_patch4_window7_224", SWIN, "layers.1.blocks.1.attn.qkv"),
    ],
)
def test_students_learn_from_the_links(name, shape, last):
    model = student(name, shape=shape)
    ours = task(model, links="alpha")
    ours.train()
    result = ours(*batch(side=shape["img_size"]))
    result["link_loss"].backward()
    assert result["output"].shape == (4, CLASSES)
    gradient = model.get_submodule(last).weight.grad
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert ours.get_checkpoint_state()["state_dict"].keys() == model.state_dict().keys()


def test_an_error_in_a_step_leaves_nothing_recording(monkeypatch):
    ours = task()
    model = ours.get_eval_model()
    with monkeypatch.context() as patch:
        patch.setattr(model.blocks[2].mlp, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ours(*batch())
    hooks = [hook for module in model.modules() for hook in module._forward_hooks.values()]
    recorders = [hook for hook in hooks if isinstance(hook, Recorder)]
    assert recorders and not any(k._recording or k._value is not None for k in recorders)
    assert ours(*batch())["loss"].isfinite()
