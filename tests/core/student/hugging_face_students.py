"""Hugging Face's students, from configs: nothing is downloaded."""

from .students import Student, class_rows

SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
             image_size=(32, 48), patch_size=16, num_labels=5)  # fmt: skip


def classifier(kind, **kwargs):
    def make():
        import transformers

        config = getattr(transformers, f"{kind}Config")(**{**SMALL, **kwargs})
        return getattr(transformers, f"{kind}ForImageClassification")(config)

    return make


def dinov3():
    import transformers

    config = transformers.DINOv3ViTConfig(**{**SMALL, "image_size": 32}, num_register_tokens=4)
    return transformers.DINOv3ViTModel(config)


STUDENTS = [
    Student("Hugging Face ViT", "`ViTForImageClassification`", classifier("ViT"), (32, 48),
            class_rows()),
    Student("Hugging Face DeiT", "`DeiTForImageClassification`", classifier("DeiT"), (32, 48),
            class_rows(2)),
    Student("Hugging Face BEiT", "`BeitForImageClassification`, relative positions",
            classifier("Beit", use_relative_position_bias=True), (32, 48), class_rows()),
    Student("Hugging Face BEiT, shared bias", "`BeitForImageClassification`",
            classifier("Beit", use_shared_relative_position_bias=True), (32, 48), class_rows()),
    Student("Hugging Face DINOv2", "`Dinov2ForImageClassification`",
            classifier("Dinov2", image_size=32), (48, 32), class_rows()),
    Student("Hugging Face DINOv2 with registers",
            "`Dinov2WithRegistersForImageClassification`, 4 registers",
            classifier("Dinov2WithRegisters", image_size=32, num_register_tokens=4), (48, 32),
            class_rows(5)),
    Student("Hugging Face DINOv3 ViT", "`DINOv3ViTModel`, 4 registers", dinov3, (48, 32),
            class_rows(5)),
]  # fmt: skip
