"""Students, teachers and steps: DeiT-S and EfficientNet-B3 on a GPU, tiny models on a CPU."""

import timm
import torch
import torch.nn.functional as F

from aal_plugin.core import LinkedStudent, TimmTeacher
from aal_plugin.timm import AttentionLinkTask

WEIGHT = 2000.0
CLASSES = 10
LARGE = dict(student="deit_small_patch16_224", teacher="efficientnet_b3", size=224)
TINY = dict(student="test_vit", teacher="test_resnet", size=64)


def models(device):
    return LARGE if device == "cuda" else TINY


def student(device, seed=0, **settings):
    torch.manual_seed(seed)
    names = models(device)
    model = timm.create_model(
        names["student"], num_classes=CLASSES, img_size=names["size"], **settings
    )
    torch.nn.init.normal_(model.head.weight, std=0.02)  # zeros would stop all gradients
    return model.to(device)


def teacher(device, **settings):
    torch.manual_seed(1)
    name = models(device)["teacher"]
    made = TimmTeacher(name, num_classes=CLASSES, allow_random_weights=True, **settings)
    return made.to(device)


def linked(device, channels, seed=0, **settings):
    model = LinkedStudent(student(device, seed, **settings), channels, links="alpha")
    return model.to(device)


def task(device, seed=0, dtype=None, **settings):
    return AttentionLinkTask(
        student(device, seed, **settings),
        teacher(device, dtype=dtype),
        torch.nn.CrossEntropyLoss(),
        links="alpha",
        verbose=False,
    )


def batch(device, count=4, seed=2):
    generator = torch.Generator().manual_seed(seed)
    size = models(device)["size"]
    images = torch.randn(count, 3, size, size, generator=generator)
    return images.to(device), torch.randint(CLASSES, (count,), generator=generator).to(device)


def loss_of(model, cnn, images, target, dtype=None):
    """The loss of one step (AAL, Eq. 6), under autocast if a dtype is given."""
    with torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not None):
        logits, distance = model(images, cnn(images)[0])
        return F.cross_entropy(logits, target) + WEIGHT * distance


def gradients(model):
    """All gradients as one vector, in float64 on the CPU."""
    return torch.cat([p.grad.detach().double().cpu().flatten() for p in model.parameters()])


def off(got, expected):
    """‖got − expected‖ / ‖expected‖."""
    return float((got - expected).norm() / expected.norm())
