import copy
import traceback

import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import AttentionLinks, FrozenTeacher, TimmTeacher, Unregistered


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4))
        self.layer2 = nn.Sequential(
            nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Dropout(0.5)
        )
        self.fc = nn.Linear(6, 5)

    def forward_features(self, x):
        return self.layer2(self.layer1(x))

    def forward(self, x):
        return self.fc(self.forward_features(x).mean((2, 3)))


def test_levels_are_the_stage_outputs():
    model = SmallCNN().eval()
    teacher = FrozenTeacher(model)
    images = torch.randn(2, 3, 32, 48)
    maps, logits = teacher(images, with_logits=True)
    assert teacher.layers == ["layer1", "layer2"] and teacher.channels == [4, 6]
    first = model.layer1(images)
    torch.testing.assert_close(maps[0], first)
    torch.testing.assert_close(maps[1], model.layer2(first))
    torch.testing.assert_close(logits, model(images))


def test_classifier_is_not_run_when_no_logits_are_wanted():
    model = SmallCNN()
    teacher = FrozenTeacher(model, features=model.forward_features)
    teacher.model.fc.register_forward_hook(lambda *_: pytest.fail("the classifier ran"))
    maps, logits = teacher(torch.randn(1, 3, 32, 32))
    assert logits is None and len(maps) == 2


def test_teacher_stays_in_eval_after_train_and_takes_no_gradient():
    teacher = FrozenTeacher(SmallCNN(), fold_norms=False)
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    running = teacher.model.layer1[1].running_mean.clone()
    maps, _ = teacher(torch.randn(4, 3, 32, 32, requires_grad=True))
    assert not any(level.requires_grad for level in maps)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert torch.equal(teacher.model.layer1[1].running_mean, running)


def test_images_are_renormalised_to_the_teachers_mean_std_and_channel_order():
    pixels = torch.randint(0, 256, (2, 3, 16, 16)).float()  # R, G, B
    student = dict(mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0])
    own_mean, own_std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([40.0, 30.0, 20.0])
    for rgb in (True, False):
        seen = []
        teacher = FrozenTeacher(SmallCNN(), mean=own_mean.tolist(), std=own_std.tolist(), rgb=True)
        teacher.match_input(**student, rgb=rgb)
        teacher.model.layer1.register_forward_pre_hook(
            lambda m, args, seen=seen: seen.append(args[0])
        )
        ordered = pixels if rgb else pixels.flip(1)
        mean, std = (torch.tensor(student[k]).view(3, 1, 1) for k in ("mean", "std"))
        teacher((ordered - mean) / std)
        expected = (pixels - own_mean.view(3, 1, 1)) / own_std.view(3, 1, 1)
        torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_same_normalisation_costs_nothing():
    teacher = FrozenTeacher(SmallCNN(), mean=[1.0, 2, 3], std=[4.0, 5, 6])
    teacher.match_input([1.0, 2, 3], [4.0, 5, 6], rgb=True)
    assert teacher.images.scale is None


def test_owner_neither_registers_nor_copies_nor_moves_twice():
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.held = Unregistered(FrozenTeacher(SmallCNN()))

        def _apply(self, fn, *args):
            self.held.apply(fn)
            return super()._apply(fn, *args)

    owner = Owner()
    assert list(owner.state_dict()) == ["layer.weight", "layer.bias"]
    twin = copy.deepcopy(owner)
    assert twin.held.module is owner.held.module
    twin.double()
    assert owner.held.module.model.fc.weight.dtype == torch.float32
    owner.double()
    assert owner.held.module.model.fc.weight.dtype == torch.float64


def test_unknown_layer_lists_near_names():
    with pytest.raises(ValueError, match="SmallCNN has no module 'layer3'; near names: layer"):
        FrozenTeacher(SmallCNN(), layers=["layer1", "layer3"])


def test_a_layer_that_returns_no_map_is_named_with_what_to_choose():
    words = r"'fc' of SmallCNN returns \(1, 5\); expected \(B, C, h, w\).* Choose a layer ahead of"
    with pytest.raises(ValueError, match=words):
        FrozenTeacher(SmallCNN(), layers=["fc"])


def test_model_without_stages_asks_for_layers():
    with pytest.raises(ValueError, match=r"give teacher.layers=\[...\], names among \['0'"):
        FrozenTeacher(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_weights_are_demanded_and_from_one_place():
    with pytest.raises(ValueError, match="teacher has no weights .* teacher.checkpoint=FILE"):
        TimmTeacher("resnet18")
    with pytest.raises(ValueError, match="two sources of weights"):
        TimmTeacher("resnet18", pretrained=True, checkpoint="x.pth")
    with pytest.raises(ValueError, match="'resnet81' is not a timm model; near names: .*resnet"):
        TimmTeacher("resnet81", allow_random_weights=True)
    with pytest.raises(ValueError, match="teacher.num_classes=True; choose a whole number"):
        TimmTeacher("test_resnet", allow_random_weights=True, num_classes=True)


def test_checkpoints_missing_truncated_and_foreign_are_told_apart(tmp_path):
    path = tmp_path / "teacher.pth"
    with pytest.raises(FileNotFoundError, match="teacher.checkpoint=.*teacher.pth.*no such file"):
        TimmTeacher("test_resnet", checkpoint=str(path))
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), path)
    whole = TimmTeacher("test_resnet", checkpoint=str(path), num_classes=3)
    assert torch.equal(whole.model.fc.bias, torch.load(path)["fc.bias"])
    words = "classifier has 3 classes, and the teacher's 1000; give teacher.num_classes=3"
    with pytest.raises(ValueError, match=words):
        TimmTeacher("test_resnet", checkpoint=str(path))
    with pytest.raises(
        ValueError, match="does not fit the teacher: (?s:.*)conv_stem.weight"
    ) as raised:
        TimmTeacher("test_efficientnet", checkpoint=str(path))
    assert len(str(raised.value)) < 3000
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="teacher.pth' cannot be read; it may be incomplete"):
        TimmTeacher("test_resnet", checkpoint=str(path))


def test_the_pass_ends_at_the_last_level_unless_logits_are_wanted():
    model = timm.create_model("test_efficientnet", num_classes=3)
    teacher = FrozenTeacher(model, features=model.forward_features, copy_model=False)
    ran = []
    model.conv_head.register_forward_hook(lambda *_: ran.append("head"))
    images = torch.randn(1, 3, 64, 64)
    maps, _ = teacher(images)
    assert not ran
    model(images)  # by others, to its end
    assert ran.pop()
    whole, logits = teacher(images, with_logits=True)
    assert ran and logits.shape == (1, 3)
    for a, b in zip(maps, whole):
        torch.testing.assert_close(a, b)


def test_levels_in_another_order_than_they_are_run():
    model = SmallCNN()
    first, second = FrozenTeacher(model, ["layer2", "layer1"])(torch.randn(1, 3, 32, 32))[0]
    assert first.shape[1] == 6 and second.shape[1] == 4


@pytest.mark.parametrize("options", [dict(channels_last=False), dict(fold_norms=False)])
def test_speed_options_change_no_map(options):
    torch.manual_seed(0)
    slow = TimmTeacher(
        "test_efficientnet", allow_random_weights=True, channels_last=False, fold_norms=False
    )
    torch.manual_seed(0)
    fast = TimmTeacher("test_efficientnet", allow_random_weights=True, **options)
    images = torch.randn(2, 3, 64, 64)
    for got, expected in zip(fast(images)[0], slow(images)[0]):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_teacher_infers_in_that_format_on_images_of_either():
    teacher = TimmTeacher("test_efficientnet", allow_random_weights=True)
    seen = []
    teacher.model.conv_stem.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    images = torch.randn(2, 3, 64, 64)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        maps, _ = teacher(images.to(memory_format=memory_format))
        assert all(m.is_contiguous(memory_format=torch.channels_last) for m in (*maps, *seen))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_teacher_is_near_the_float32_one_whatever_autocast_says(dtype):
    torch.manual_seed(0)
    exact = TimmTeacher("test_efficientnet", allow_random_weights=True)
    torch.manual_seed(0)
    half = TimmTeacher("test_efficientnet", allow_random_weights=True, dtype=dtype)
    images = torch.randn(2, 3, 64, 64)
    for context in (torch.autocast("cpu", enabled=False), torch.autocast("cpu", torch.bfloat16)):
        with context:
            maps, logits = half(images, with_logits=True)
        assert {level.dtype for level in (*maps, logits)} == {getattr(torch, dtype)}
        for got, expected in zip(maps, exact(images)[0]):
            assert (got.float() - expected).norm() < 0.05 * expected.norm()


def test_unknown_dtype_lists_the_choices():
    words = r"teacher.dtype='int8'; choose one of \['bfloat16', 'float16'\]"
    with pytest.raises(ValueError, match=words):
        FrozenTeacher(SmallCNN(), dtype="int8")


def test_compiled_teacher_gives_the_eager_ones_maps_and_logits(monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda run: compile(run, backend="aot_eager"))
    torch.manual_seed(0)
    eager = TimmTeacher("test_resnet", allow_random_weights=True)
    torch.manual_seed(0)
    compiled = TimmTeacher("test_resnet", allow_random_weights=True, compile=True)
    images = torch.randn(2, 3, 48, 48)
    for with_logits in (False, True):
        got, expected = compiled(images, with_logits), eager(images, with_logits)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_does_not_run_is_named():
    model = SmallCNN()
    model.spare = nn.Conv2d(3, 4, 3)
    with pytest.raises(ValueError, match=r"layers: \['spare'\] did not run in .* SmallCNN"):
        FrozenTeacher(model, ["layer1", "spare"])


def test_ema_weights_are_taken_where_there_are_some_unless_told_otherwise(tmp_path, caplog):
    """As timm's train.py with --model-ema writes them: `state_dict` beside `state_dict_ema`."""
    path = tmp_path / "run.pth"
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(timm.create_model("test_resnet").state_dict())
    torch.save(dict(epoch=1, state_dict=states[0], state_dict_ema=states[1]), path)
    caplog.set_level("INFO", "timm")
    given = dict(checkpoint=str(path), fold_norms=False)
    for options, state, key in (
        ({}, states[1], "state_dict_ema"),
        (dict(use_ema=False), states[0], "state_dict"),
    ):
        caplog.clear()
        teacher = TimmTeacher("test_resnet", **given, **options)
        for name, tensor in teacher.model.state_dict().items():
            assert torch.equal(tensor, state[name]), name
        assert f"Loaded {key} from" in caplog.text
    torch.save(dict(epoch=1, state_dict=states[0]), path)
    teacher = TimmTeacher("test_resnet", **given)
    assert torch.equal(teacher.model.conv1[0].weight, states[0]["conv1.0.weight"])
    with pytest.raises(ValueError, match="teacher.use_ema='yes'; choose True or False"):
        TimmTeacher("test_resnet", **given, use_ema="yes")


def test_weights_and_statistics_that_are_not_finite_are_refused(tmp_path):
    for name, value in (("layer1.0.weight", float("nan")), ("layer2.1.running_var", float("inf"))):
        model = SmallCNN()
        model.state_dict()[name].view(-1)[3] = value
        with pytest.raises(ValueError, match=f"teacher SmallCNN has weights.*first in '{name}'"):
            FrozenTeacher(model)
    state = timm.create_model("test_resnet").state_dict()
    state["fc.bias"][7] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="teacher test_resnet has weights.*'fc.bias'"):
        TimmTeacher("test_resnet", checkpoint=str(tmp_path / "nan.pth"))
    model = SmallCNN()
    model.register_buffer("mask", torch.full((2, 2), float("-inf")))  # by design
    FrozenTeacher(model)


def test_a_teacher_that_fails_on_its_own_size_is_named():
    class Fixed(SmallCNN):
        def forward(self, x):
            assert x.shape[-1] == 48
            return super().forward(x)

    with pytest.raises(ValueError, match="teacher fixed_48 does not accept an image of 224×224"):
        FrozenTeacher(Fixed(), name="fixed_48")
    FrozenTeacher(Fixed(), name="fixed_48", input_size=(48, 48))


def test_weights_that_cannot_be_fetched_name_the_model_and_what_to_give(monkeypatch):
    def no_network(*args, **kwargs):
        try:
            raise TimeoutError("first of many")
        except TimeoutError as error:
            raise OSError("no route") from error

    monkeypatch.setattr(timm, "create_model", no_network)
    words = "timm's weights for 'resnet18' could not be downloaded; give teacher.checkpoint=FILE"
    with pytest.raises(ValueError, match=words) as raised:
        TimmTeacher("resnet18", pretrained=True)
    text = "".join(traceback.format_exception(None, raised.value, None))
    assert "no route" in text and "first of many" not in text and len(text.splitlines()) < 8


def test_a_model_that_timm_has_no_weights_of_is_no_random_teacher():
    """Timm itself says so in the log alone, and goes on with random weights."""
    bare = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(ValueError, match=f"timm has no weights for '{bare}'; give teacher.check"):
        TimmTeacher(bare, pretrained=True)


def test_a_float16_map_that_overflows_leaves_the_loss_finite():
    model = SmallCNN()
    torch.nn.init.constant_(model.layer1[0].weight, 60.0)
    model.layer1[1] = nn.Identity()
    model.layer2 = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(2), nn.Softmax(-1), Grid())
    teacher = FrozenTeacher(model, dtype="float16", fold_norms=False, copy_model=False)
    maps, logits = teacher(torch.full((2, 3, 16, 16), 300.0), with_logits=True)
    assert model.layer1(torch.full((2, 3, 16, 16), 300.0).half()).isinf().any()
    links = AttentionLinks([(1, 1), (1, 1)], [2], [4, 6])
    attention = torch.rand(2, 2, 4, 4, requires_grad=True)
    loss = links.distance([attention], maps)
    loss.backward()
    assert loss.isfinite() and attention.grad.isfinite().all() and logits.isfinite().all()


class Grid(nn.Module):
    def forward(self, x):
        side = int(x.shape[-1] ** 0.5)
        return x.unflatten(-1, (side, side))
