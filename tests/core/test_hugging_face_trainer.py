"""The page's code for Hugging Face's Trainer, with the settings that people give the Trainer."""

import pytest
import torch

from tests.pages import ROOT, blocks
from tests.test_docs_code import SMALLER, stand_ins

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of other people's trainers

PAGE = ROOT / "docs" / "any_loop.md"
(CODE,) = (one.text for one in blocks(PAGE, "python") if "LinkedTrainer" in one.text)


def ran(**settings):
    """What the page's code defines, after its two epochs on eight images in batches of four."""
    code, given = CODE, dict(optim="sgd", learning_rate=0.1, logging_steps=1, **settings)
    for large, small in SMALLER.items():
        if large == "num_train_epochs=300":
            small += "".join(f", {key}={value!r}" for key, value in given.items())
        code = code.replace(large, small)
    if "per_device_train_batch_size" in settings:
        code = code.replace("per_device_train_batch_size=4, ", "")
    torch.manual_seed(0)
    names = stand_ins()
    exec(compile(code, PAGE.name, "exec"), names)
    return names


def checkpoints(model):
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def label_loss(names, smoothing):
    """The mean over all images of -Σ q log p, with q the smoothed label."""
    dataset, student = names["dataset"], names["student"].eval()
    total = 0.0
    with torch.no_grad():
        for item in dataset:
            chances = student(item["pixel_values"][None]).logits[0].double().softmax(0)
            wanted = torch.full_like(chances, smoothing / len(chances))
            wanted[item["labels"]] += 1 - smoothing
            total -= float((wanted * chances.log()).sum())
    return total / len(dataset)


@pytest.fixture(autouse=True)
def work_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The model of an ordinary run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("plain"))
        return ran()["model"]


def test_evaluation_gives_the_labels_loss_alone_and_the_logits():
    names = ran(label_smoothing_factor=0.3)
    expected = label_loss(names, smoothing=0.3)
    assert names["trainer"].evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-4)
    predicted = names["trainer"].predict(names["dataset"])
    assert predicted.predictions.shape == (8, 5) and len(predicted.label_ids) == 8


def test_evaluation_every_epoch_keeps_the_best_student_and_resumes():
    keep = dict(eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    names = ran(**keep)
    trainer = names["trainer"]
    losses = [line["eval_loss"] for line in trainer.state.log_history if "eval_loss" in line]
    assert len(losses) == 2
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), rel=1e-4)
    trainer.args.num_train_epochs = 3
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 6


@pytest.mark.parametrize(
    "settings",
    [
        dict(gradient_checkpointing=True),
        dict(per_device_train_batch_size=2, gradient_accumulation_steps=2),
    ],
    ids=["checkpoints", "accumulation"],
)
def test_saving_memory_changes_no_weight(settings, plain):
    saving = ran(**settings)["model"]
    assert not checkpoints(plain) and checkpoints(saving) == ("gradient_checkpointing" in settings)
    for (name, ours), other in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-6, msg=name)
