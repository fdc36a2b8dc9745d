import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing

from aal_plugin.core.student.recorder import Recorder
from tests.mm.small import AAL, PLAIN, TEACHER, batch, build, total


def twins(**changes):
    """A plain classifier and an AAL one with the same student weights."""
    plain, aal = build(PLAIN), build(AAL, **changes)
    aal.load_state_dict(plain.state_dict(), strict=False)
    return plain, aal


def gradients(model, data, mode="loss"):
    model.zero_grad()
    total(model(*data, mode=mode)).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_student_keys_are_image_classifiers_and_the_rest_are_links():
    plain, aal = twins()
    extra = [key for key in aal.state_dict() if key not in plain.state_dict()]
    assert [k for k in aal.state_dict() if k in plain.state_dict()] == list(plain.state_dict())
    assert extra == [f"link_head.links.{i}.{p}" for i in range(4) for p in ("weight", "bias")]


def test_outputs_are_image_classifiers_to_the_bit_and_run_neither_teacher_nor_recorder(monkeypatch):
    plain, aal = twins()
    monkeypatch.setattr(aal.teacher, "forward", lambda *_: pytest.fail("the teacher ran"))
    monkeypatch.setattr(
        aal.attention_recorder, "start", lambda *_: pytest.fail("the recorder was started")
    )
    images, samples = batch()
    plain.eval(), aal.eval()
    with torch.no_grad():
        assert torch.equal(plain(images, mode="tensor"), aal(images, mode="tensor"))
        for a, b in zip(
            plain(images, copy.deepcopy(samples), mode="predict"),
            aal(images, copy.deepcopy(samples), mode="predict"),
        ):
            assert torch.equal(a.pred_score, b.pred_score)


def test_loss_adds_the_weighted_distance_and_logs_distance_and_weight():
    plain, aal = twins()
    data = batch()
    losses, expected = aal(*data, mode="loss"), plain(*data, mode="loss")["loss"]
    assert losses["loss"] == expected
    assert losses["link_weight"] == 2000
    torch.testing.assert_close(losses["loss_link"], 2000 * losses["link_distance"])
    parsed, logged = aal.parse_losses(losses)
    torch.testing.assert_close(parsed, expected + losses["loss_link"])
    assert {"loss_link", "link_distance", "link_weight"} <= set(logged)


def test_links_learn_and_supervise_the_students_attention():
    _, aal = twins()
    grads = gradients(aal, batch())
    assert all(grads[k].abs().sum() > 0 for k in grads if k.startswith("link_head"))
    plain_grads = gradients(build(PLAIN), batch())
    key = "backbone.layers.0.attn.qkv.weight"
    assert not torch.allclose(grads[key], plain_grads[key])


def test_zero_weight_equals_baseline_and_leaves_the_teacher_alone(monkeypatch):
    plain, aal = twins()
    aal.link_head.set_weight(0.0)
    monkeypatch.setattr(aal.teacher, "forward", lambda *_: pytest.fail("the teacher ran"))
    data = batch()
    assert total(aal(*data, mode="loss")) == plain(*data, mode="loss")["loss"]
    expected, got = gradients(plain, data), gradients(aal, data)
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert all((got[name] == 0).all() for name in got if name.startswith("link_head"))


def test_nothing_holds_a_teacher_tensor_and_all_hold_the_links():
    aal = build(AAL)
    teacher = {t.data_ptr() for t in (*aal.teacher.parameters(), *aal.teacher.buffers())}
    ema = ExponentialMovingAverage(aal)
    for held in (
        aal.state_dict().values(),
        aal.parameters(),
        aal.buffers(),
        ema.state_dict().values(),
    ):
        assert not teacher & {tensor.data_ptr() for tensor in held}
    links = "module.link_head.links.0.weight"
    assert links in ema.state_dict()
    assert sum(p.numel() for p in ema.parameters()) == sum(p.numel() for p in aal.parameters())
    assert ema.module.teacher is aal.teacher


def test_init_weights_does_not_touch_the_teacher():
    aal = build(AAL)
    before = copy.deepcopy(aal.teacher.state_dict())
    aal.init_weights()
    assert all(torch.equal(t, before[k]) for k, t in aal.teacher.state_dict().items())


def test_teacher_sees_the_pixels_it_was_trained_on():
    aal = build(AAL)
    seen = []
    aal.teacher.model.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    aal.teacher._features = aal.teacher.model
    pixels = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)  # B, G, R
    data = aal.data_preprocessor(dict(inputs=pixels, data_samples=batch(2)[1]), training=True)
    aal(**data, mode="loss")
    own = aal.teacher.model.pretrained_cfg
    mean, std = (torch.tensor(own[k]).view(3, 1, 1) for k in ("mean", "std"))
    torch.testing.assert_close(seen[0], (pixels.flip(1) / 255 - mean) / std, rtol=1e-4, atol=1e-4)


def test_mixed_precision_steps_with_loss_scaling():
    """MMEngine's AmpOptimWrapper demands a GPU; these are its autocast and its scaler."""
    _, aal = twins()
    before = copy.deepcopy(aal.state_dict())
    optimizer = torch.optim.SGD(aal.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    with torch.autocast("cpu", dtype=torch.float16):
        losses = aal(*batch(), mode="loss")
    assert losses["loss_link"].dtype == torch.float32
    scaler.scale(total(losses)).backward()
    scaler.step(optimizer)
    changed = [k for k, v in aal.state_dict().items() if not torch.equal(v, before[k])]
    assert "link_head.links.0.weight" in changed and "backbone.layers.0.attn.qkv.weight" in changed
    assert all(torch.isfinite(v).all() for v in aal.state_dict().values())


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    _, aal = twins()
    images, samples = batch(4)
    whole = gradients(aal, (images, samples))
    aal.zero_grad()
    wrapper = OptimWrapper(torch.optim.SGD(aal.parameters(), lr=0.0), accumulative_counts=2)
    wrapper.initialize_count_status(aal, 0, 2)
    wrapper.zero_grad = lambda **_: None  # keep them, to look at
    for half in (slice(0, 2), slice(2, 4)):
        with wrapper.optim_context(aal):
            losses = aal(images[half], samples[half], mode="loss")
        wrapper.update_params(total(losses))
    for name, p in aal.named_parameters():
        torch.testing.assert_close(p.grad, whole[name], rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient():
    _, aal = twins()
    expected = gradients(aal.train(), batch())
    turn_on_activation_checkpointing(aal, [f"backbone.layers.{i}" for i in range(3)])
    got = gradients(aal.train(), batch())
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])


def test_compiled_step_equals_the_eager_one():
    _, aal = twins()
    expected = gradients(aal, batch())
    weight = expected.pop("link_head.links.0.weight")
    step = torch.compile(lambda *data: total(aal(*data, mode="loss")), backend="aot_eager")
    aal.zero_grad()
    loss = step(*batch())
    loss.backward()
    torch.testing.assert_close(aal.link_head.links[0].weight.grad, weight)
    for name, p in aal.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-5)


def test_a_compiled_step_of_all_heads_is_one_graph_whatever_the_weight():
    backbone = dict(AAL["backbone"], drop_path_rate=0.1)
    heads = dict(
        distill_head=dict(type="DistillHead", kind="soft"),
        transfer_head=dict(type="ActivationTransferHead"),
        guidance=2.5,
    )
    model = build(dict(AAL, backbone=backbone, teacher=dict(TEACHER, num_classes=10), **heads))
    counter = torch._dynamo.testing.CompileCounter()
    step = torch.compile(
        lambda *data: total(model(*data, mode="loss")), backend=counter, fullgraph=True
    )
    step(*batch()).backward()  # raises where a graph breaks
    assert model.link_head.links[0].weight.grad.abs().sum() > 0
    for weight in (1980.0, 1960.2):
        model.link_head.set_weight(weight)
        step(*batch())
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(link_head=dict(type="AttentionLinkHead", links="gamma")), "links='gamma'; choose"),
        (
            dict(link_head=dict(type="AttentionLinkHead", links=[(1, 4)] * 4)),
            r"level 1 has \(1, 4\); choose 1 <= first <= last <= 3",
        ),
        (
            dict(link_head=dict(type="AttentionLinkHead", links=[(1, 3)] * 7)),
            "7 .* pairs, but the teacher has 4 levels",
        ),
        (dict(link_head=dict(type="AttentionLinkHead", loss_weight=-1.0)), "loss_weight=-1.0"),
        (dict(link_head=dict(type="AttentionLinkHead", map_size=0)), "link_head.map_size=0"),
        (
            dict(link_head=dict(type="AttentionLinkHead", map_size=4000)),
            r"map_size=\(4000, 4000\) is larger than the images of 24×24",
        ),
        (dict(link_head=None), "AALClassifier has no link_head"),
        (
            dict(teacher=dict(TEACHER, layers=["layer9"])),
            "has no module 'layer9'; near names: layer",
        ),
        (dict(teacher=dict(TEACHER, allow_random_weights=False)), "the teacher has no weights"),
        (dict(backbone=dict(type="ResNet", depth=18)), "ResNet: AAL does not know how to read its"),
        (dict(backbone=dict(PLAIN["backbone"], img_size=30)), "images of 30×30 pixels: .*8×8"),
    ],
)
def test_bad_configs_are_told_what_is_wrong_before_training(changes, words):
    with pytest.raises(ValueError, match=words):
        build(AAL, **changes)


def test_a_backbone_whose_stages_are_all_frozen_is_reported():
    frozen, free = (
        build(AAL, backbone=dict(PLAIN["backbone"], frozen_stages=stages)).train()
        for stages in (3, 2)
    )
    with pytest.warns(UserWarning, match="frozen .*frozen_stages.*AAL trains its links only"):
        total(frozen(*batch(), mode="loss")).backward()
    assert not any(parameter.grad is not None for parameter in frozen.backbone.parameters())
    total(free(*batch(), mode="loss")).backward()  # the suite makes a warning an error
    assert free.backbone.layers[2].attn.qkv.weight.grad.any()


@pytest.mark.parametrize("where", ["student", "teacher"])
def test_an_error_in_a_step_leaves_nothing_recording(monkeypatch, where):
    heads = dict(
        link_head=AAL["link_head"],
        transfer_head=dict(type="ActivationTransferHead", pairs=[(3, 4)]),
    )
    model = build(AAL, **heads).train()
    data = batch()
    model(*data, mode="loss")  # from the second step on the teacher stops early
    broken = model.backbone.layers[2] if where == "student" else model.teacher.model.layer3
    with monkeypatch.context() as patch:
        patch.setattr(broken, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(*data, mode="loss")
    hooks = [hook for module in model.modules() for hook in module._forward_hooks.values()]
    recorders = [hook for hook in hooks if isinstance(hook, Recorder)]
    assert recorders and not any(k._recording or k._value is not None for k in recorders)
    assert not model.teacher._levels._stops and not model.teacher._levels._recorded
    total(model(*data, mode="loss")).backward()


def test_a_whole_model_can_be_saved_as_a_plain_one_can():
    import io

    model = build(AAL)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    losses = [m.train().loss(*batch()) for m in (model, again)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    model.eval(), again.eval()
    torch.testing.assert_close(again(batch()[0]), model(batch()[0]))
