"""Small students, teachers and tasks that these tests build on."""

import timm
import torch
from torch import nn

from aal_plugin.core import TimmTeacher
from aal_plugin.timm import AttentionLinkTask

CLASSES = 5
SIZE = 32
SMALL = dict(img_size=SIZE, patch_size=8, embed_dim=16, depth=3, num_heads=2)


PIT = dict(img_size=64, base_dims=(8, 8, 8), depth=(1, 1, 1))
SWIN = dict(img_size=SIZE, window_size=4, embed_dim=8, depths=(1, 2), num_heads=(1, 2))


def student(name="vit_tiny_patch16_224", seed=0, shape=SMALL, **changes):
    torch.manual_seed(seed)
    model = timm.create_model(name, **{**shape, "num_classes": CLASSES, **changes})
    for head in (module for module in model.modules() if isinstance(module, nn.Linear)):
        if head.out_features == CLASSES:
            nn.init.normal_(head.weight)  # zeros would stop all gradients
    return model


def teacher(num_classes=CLASSES, seed=1):
    torch.manual_seed(seed)
    return TimmTeacher("test_resnet", num_classes=num_classes, allow_random_weights=True)


def task(model=None, criterion=None, **settings):
    model = student() if model is None else model
    criterion = nn.CrossEntropyLoss() if criterion is None else criterion
    return AttentionLinkTask(model, teacher(), criterion, verbose=False, **settings)


def batch(size=4, seed=2, side=SIZE):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, side, side, generator=generator)
    return images, torch.randint(CLASSES, (size,), generator=generator)


def gradients(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
