"""Records values of a student's forward pass, and makes maps of them.

# B batch, M maps of a block, C channels, h w grid
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .readers import StudentReader

# A module of a library that gives its attributes no types.
Foreign = Any
Grid = tuple[int, int]
# Chooses a value of a call: `select(args, kwargs, output)`.
Select = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]


class Source(NamedTuple):
    """A module, and the value of its call to record."""

    module: nn.Module
    select: Select


def output_of(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    return output


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    return args[0]


def second_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    return args[1]


def keyword(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str) -> Any:
    return kwargs.get(name)


def constant(args: Any, kwargs: Any, output: Any, grid: Grid) -> Grid:
    """A fixed grid, of a student that is built for one image size."""
    return grid


def output_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Grid:
    """(h, w) of an output (B, C, h, w)."""
    return tuple(output.shape[-2:])


def input_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Grid:
    """(h, w) of an input (B, h, w, C)."""
    return tuple(args[0].shape[1:3])


def second_output_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Grid:
    """(h, w), the second of two outputs."""
    if output[1] is None:
        raise ValueError(
            "the batch holds images with patch grids of their own (NaFlex mode); AAL needs one "
            "grid for all images: give the student a tensor (B, 3, H, W)"
        )
    height, width = output[1]
    return height, width


class Recorder:
    """Forward hook that stores `select(args, kwargs, output)` of a call between `start` and `stop`.

    There is one object for each module, and no index into a common list: `torch.compile` would
    specialise on the index, and compile the blocks of a student one by one.

    Args:
        module, select: see `Source`.
        attention: the attention module that AAL trains through the value; it is an error if the
            value has no gradient while this module trains.
        block: the number of its block, for the error.
    """

    def __init__(
        self, module: nn.Module, select: Select, attention: nn.Module | None = None, block: int = 0
    ) -> None:
        self._select = select
        self._attention = attention
        self._block = block
        self._recording = False
        self._value: Any = None
        module.register_forward_hook(self, with_kwargs=True)

    def start(self) -> None:
        self._value = None
        self._recording = True

    def stop(self) -> Any:
        """Stop recording and return the last value, or None if the module did not run."""
        self._recording = False
        value, self._value = self._value, None
        return value

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # rest: kwargs and output; quantisation moves hooks to its own modules without kwargs.
        if not self._recording:
            return
        value = self._select(args, rest[0], rest[-1])
        attention = self._attention
        if (
            attention is not None
            and attention.training
            and not value.requires_grad
            and not torch.is_grad_enabled()  # if it is, nothing before this value trains
            and any(parameter.requires_grad for parameter in attention.parameters())
        ):
            raise ValueError(
                f"block {self._block} ran without gradients, so AAL could not reach the student: "
                "checkpoint its activations with use_reentrant=False, or do not checkpoint them. "
                "with_cp=True of a backbone has no such option: set with_cp=False there; "
                "MMPretrain's RevVisionTransformer needs no_custom_backward=True"
            )
        self._value = value


# The attributes in which torch's own wrappers hold a module: its hooks still see the same calls.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class MapRecorder:
    """Records the maps of a student that a reader reads; see `AttentionRecorder` for its use."""

    _parts = "blocks"  # what has maps, for errors

    def __init__(self, student: nn.Module, reader: StudentReader) -> None:
        self.image_size, self._patch = reader.image_size, reader.patch
        self._started: Grid | None = None  # the (H, W) of the images
        if self.image_size is not None:
            self._check_size(*self.image_size)
        # Blocks share the source of their grid: it is recorded once.
        recorders: dict[Source, Recorder] = {}
        modules: list[nn.Module] = []
        self._blocks = []
        for number, block in enumerate(reader.blocks, start=1):
            for place, source in enumerate((*block.sources, block.grid)):
                if source is not None and source not in recorders:
                    # The first value is trained; others may be tables that need no gradient.
                    trained = () if place else (block.attention, number)
                    recorders[source] = Recorder(*source, *trained)
            values = [recorders[source] for source in block.sources]
            self._blocks.append((block.read, values, block.grid and recorders[block.grid]))
            used = getattr(block.read, "keywords", {}).values()  # of a partial
            modules += [module for module in used if isinstance(module, nn.Module)]
        self._recorders = list(recorders.values())
        # Every step of the path to such a module: its name, its owner, its own name, what is there.
        self._steps: dict[str, tuple[nn.Module, str, nn.Module]] = {}
        names = {module: name for name, module in student.named_modules()}
        for module in dict.fromkeys([*(source.module for source in recorders), *modules]):
            path, found = "", student
            for part in filter(None, names[module].split(".")):
                path = f"{path}.{part}".lstrip(".")
                owner, found = found, getattr(found, part)
                self._steps[path] = (owner, part, found)

    def start(self, image_size: Sequence[int]) -> None:
        """Start to record, before a forward pass on images of (H, W) pixels.

        Raises:
            ValueError: the student's patches do not divide this size; a module that AAL
                records was replaced since (LoRA).
        """
        height, width = image_size
        self._check_size(height, width)
        self._check_modules()
        self._started = height, width
        for recorder in self._recorders:
            recorder.start()

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        for recorder in self._recorders:
            recorder.stop()

    def stop(self) -> list[Tensor]:
        """Stop recording and return the maps of every block, (B, M, h, w) each.

        Raises:
            ValueError: some blocks did not run since `start`.
        """
        found: dict[Recorder | None, Any] = {one: one.stop() for one in self._recorders}
        found[None] = self._started
        missing = [
            number
            for number, (_, values, grid) in enumerate(self._blocks, start=1)
            if any(found[one] is None for one in (*values, grid))
        ]
        if missing:
            raise ValueError(
                f"the student's {self._parts} {missing} did not run between start and stop, so AAL "
                "has no maps of them"
            )
        return [
            read(*(found[one] for one in values), grid=found[grid])
            for read, values, grid in self._blocks
        ]

    def _check_size(self, height: int, width: int) -> None:
        if self._patch is None:
            return
        patch_h, patch_w = self._patch
        if height % patch_h or width % patch_w:
            near = [
                max(1, round(n / patch)) * patch for n, patch in zip((height, width), self._patch)
            ]
            raise ValueError(
                f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
                "does not divide them, so attention maps and activation maps would not line up; "
                f"choose multiples, such as {near[0]}×{near[1]}"
            )

    def _check_modules(self) -> None:
        """LoRA, quantisation, fusion and SyncBatchNorm put another module where one was. A hook
        stays on the old module, which then computes something else, or is not called.
        """
        for path, (owner, part, module) in self._steps.items():
            found = owner._modules.get(part)
            if found is module or _unwrapped(found) is _unwrapped(module):
                continue
            now = "missing" if found is None else f"a {_class_of(found)}"
            raise ValueError(
                f"the student's {path!r} is {now} now, not the {_class_of(module)} that "
                "AAL records: link after LoRA. Replace modules first (LoRA, quantisation, fusion, "
                "SyncBatchNorm), then create LinkedStudent, AttentionRecorder or FeatureRecorder"
            )


def _unwrapped(module: nn.Module | None) -> nn.Module | None:
    for name in _WRAPPERS:
        if module is not None and name in module._modules:
            return _unwrapped(module._modules[name])
    return module


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
