"""One check for every student that people bring, and the row that docs/students.md has for it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from aal_plugin.core import AttentionLinkLoss, AttentionRecorder, FeatureRecorder
from aal_plugin.core.student.families import find_reader
from aal_plugin.core.student_losses import Guidance

from .attention_loops import InterceptedWeights, class_row, received

PAGE = Path(__file__).parents[3] / "docs" / "students.md"
HEADER = (
    "| Student | Run in the test | Maps of each block | Grid of each block | Map |\n"
    "|---|---|---|---|---|"
)

# What a block's attention matrices, in their order of computation, say that the maps must be.
Expected = Callable[[nn.Module, list[Tensor]], list[Tensor]]


def class_rows(prefix: int = 1) -> Expected:
    def expected(model, weights):
        return [torch.stack([class_row(w, prefix, (1, w.shape[-1] - prefix)) for w in block])
                for block in weights]  # fmt: skip

    return expected


def received_rows(prefix: int = 0) -> Expected:
    def expected(model, weights):
        return [torch.stack([received(w, prefix, (1, w.shape[-1] - prefix)) for w in block])
                for block in weights]  # fmt: skip

    return expected


@dataclass
class Student:
    """A student, and what its blocks' own attention matrices make of its maps."""

    family: str  # the row's first column
    name: str  # what is run
    make: Callable[[], nn.Module]
    size: tuple[int, int]
    expected: Expected
    map: str = "Eq. 3"  # or 'received', and what else a reader should know
    std: float = 0.3  # of the parameters: large enough that maps differ, and too small for one-hot


def check(student: Student) -> str:
    """Run all checks, and return the row."""
    maps = _maps_are_the_blocks_own(student)
    _a_step_trains_queries_and_keys(student)
    heads = _runs([block.shape[1] for block in maps])
    grids = _runs([f"{block.shape[-2]}×{block.shape[-1]}" for block in maps])
    return f"| {student.family} | {student.name} | {heads} | {grids} | {student.map} |"


def _maps_are_the_blocks_own(student: Student) -> list[Tensor]:
    torch.manual_seed(0)
    model = student.make().double()
    for parameter in model.parameters():  # away from zero biases and uniform attention
        nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=student.std)
    model.eval()  # not chained: MMPretrain's backbones return None
    images = torch.randn(2, 3, *student.size, dtype=torch.float64)
    keys = list(model.state_dict())
    with torch.no_grad():
        before = _tensor_of(model(images))
        recorder, features = AttentionRecorder(model), FeatureRecorderOrNone(model)
        recorder.start(student.size)
        features.start(student.size)
        with InterceptedWeights() as seen:
            after = _tensor_of(model(images))
        maps, levels = recorder.stop(), features.stop()
    assert torch.equal(before, after), "the student's output changed"
    assert keys == list(model.state_dict())
    expected = student.expected(model, seen.weights)
    assert len(maps) == len(expected), (len(maps), len(expected))
    assert recorder.heads == [block.shape[1] for block in maps]
    for got, wanted in zip(maps, expected):
        torch.testing.assert_close(got.flatten(2), wanted.flatten(2))
        assert (got.amax((-2, -1)) > 1.001 * got.mean((-2, -1))).all(), "uniform maps hide mistakes"
    for level, block in zip(levels, maps):
        assert level.shape[-2:] == block.shape[-2:]
    # Guidance finds its widths by one image of a size that the student accepts.
    if student.family != "MMPretrain XCiT":  # its stages have names of their own
        guidance = Guidance(model, channels=[4])
        assert [conv.out_channels for conv in guidance.regressors] == [4]
    return maps


def _a_step_trains_queries_and_keys(student: Student) -> None:
    """One AAL step in training mode: every block's projections get a gradient from L_att alone.

    It is a step of a deep copy, such as an EMA, which has a recorder of its own.
    """
    torch.manual_seed(0)
    model = student.make()
    model.train()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=student.std)
    twin, link_loss = copy.deepcopy((model, AttentionLinkLoss(model, channels=[4], map_size=4)))
    link_loss.start(student.size)
    twin(torch.randn(2, 3, *student.size))
    link_loss([torch.rand(2, 4, 8, 8)]).backward()
    assert all(grad.abs().sum() > 0 for grad in _gradients(find_reader(twin)))
    assert all(parameter.grad is None for parameter in model.parameters())


def _gradients(reader) -> list[Tensor]:
    """Of the query and key projections of every block."""
    gradients = []
    for block in reader.blocks:
        found = [
            parameter.grad
            for name, parameter in block.attention.named_parameters()
            if parameter.dim() > 1 and name.split(".")[0] in PROJECTIONS
        ]
        assert found and None not in found
        gradients += found
    return gradients


PROJECTIONS = {"qkv", "qk", "q", "k", "kv", "q_proj", "k_proj", "query", "key", "in_proj"}


class FeatureRecorderOrNone:
    """A `FeatureRecorder` where the family's blocks have tokens on their grid."""

    def __init__(self, model):
        has_tokens = all(block.block is not None for block in find_reader(model).blocks)
        self._recorder = FeatureRecorder(model) if has_tokens else None

    def start(self, size):
        if self._recorder is not None:
            self._recorder.start(size)

    def stop(self):
        return [] if self._recorder is None else self._recorder.stop()


def _tensor_of(output):
    while not isinstance(output, Tensor):
        output = output[0]
    return output


def _runs(values) -> str:
    """'2, 2, 4' → '2 × 2, 4'."""
    runs: list[list] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return ", ".join(
        f"{value} ({count} blocks)" if count > 1 else f"{value}" for value, count in runs
    )
