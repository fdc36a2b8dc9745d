"""Probes are what scikit-learn says of the teacher's own features, on images without transforms."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tools.studies.probes import probed

PACK = [dict(type="PackInputs")]


def images(split, count, pipeline=PACK):
    return dict(type="ShapesDataset", split=split, num_images=count, size=48, pipeline=pipeline)


@pytest.fixture(scope="module")
def cfg():
    black = [dict(type="RandomErasing", erase_prob=1.0, min_area_ratio=0.9, max_area_ratio=0.95)]
    return Config(
        dict(
            model=dict(
                type="AALClassifier",
                backbone=dict(
                    type="VisionTransformer",
                    img_size=48,
                    patch_size=16,
                    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16),
                ),
                head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=16),
                teacher=dict(
                    type="TimmTeacher", model_name="test_resnet", allow_random_weights=True
                ),
                link_head=dict(type="AttentionLinkHead"),
            ),
            data_preprocessor=dict(num_classes=10, mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True),
            # Its transform must not be shown: nothing can be learned from erased images.
            train_dataloader=dict(
                dataset=dict(
                    type="RepeatedViews",
                    views=2,
                    dataset=dict(
                        type="ClassBalancedSubset",
                        fraction=0.5,
                        dataset=images("train", 160, [*black, *PACK]),
                    ),
                )
            ),
            val_dataloader=dict(dataset=images("val", 60)),
            test_dataloader=dict(dataset=images("test", 90)),
        )
    )


def dataset(cfg, split):
    from mmpretrain.registry import DATASETS

    if split == "train":
        whole = DATASETS.build(images("train", 160))
        from aal_plugin.mm import ClassBalancedSubset

        built = ClassBalancedSubset(whole, 0.5)
    else:
        built = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
    samples = [built[i] for i in range(len(built))]
    pixels = torch.stack([s["inputs"].flip(0).float() for s in samples])  # mmcv's BGR
    return (pixels - 127.5) / 64.0, np.array([int(s["data_samples"].gt_label) for s in samples])


def test_nearest_image_by_a_loop(cfg):
    (train, labels), (test, truth) = dataset(cfg, "train"), dataset(cfg, "test")
    found = [labels[((train - image) ** 2).flatten(1).sum(1).argmin()] for image in test]
    expected = 100 * np.mean(np.array(found) == truth)
    assert probed(cfg, "nearest image")["test"]["accuracy/top1"] == pytest.approx(expected)


def test_linear_probe_is_scikit_learns_on_what_the_teachers_classifier_receives(cfg):
    torch.manual_seed(3)
    result = probed(cfg, "linear probe")
    torch.manual_seed(3)
    from mmpretrain.registry import MODELS

    teacher = MODELS.build(cfg.model).eval().teacher
    network = teacher.model

    def features(split):
        # The student's normalisation is its own: the teacher receives its mean and std.
        pixels, labels = dataset(cfg, split)
        pixels = pixels * 64.0 + 127.5
        mean, std = (
            torch.tensor(v).view(3, 1, 1) for v in (teacher.images.mean, teacher.images.std)
        )
        with torch.no_grad():
            maps = network.forward_features((pixels - mean) / std)
            return network.forward_head(maps, pre_logits=True).numpy(), labels

    (train, labels), val, test = map(features, ("train", "val", "test"))
    scaler = StandardScaler().fit(train)
    best = max(
        (
            LogisticRegression(C=10.0**power, max_iter=3000).fit(scaler.transform(train), labels)
            for power in range(-4, 2)
        ),
        key=lambda fitted: fitted.score(scaler.transform(val[0]), val[1]),
    )
    assert result["top1"] == pytest.approx(
        100 * best.score(scaler.transform(val[0]), val[1]), abs=2
    )
    assert result["test"]["accuracy/top1"] == pytest.approx(
        100 * best.score(scaler.transform(test[0]), test[1]), abs=2
    )
    assert result["seconds"] > 0
