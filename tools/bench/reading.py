"""How fast kept maps are read: images a second, from a cold and from a warm disk.

python -m tools.bench.reading --gigabytes 2 [--folder DISK]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from aal_plugin.core.teacher.kept_maps import KeptMaps
from aal_plugin.core.teacher.packing import packed_size

# EfficientNet-B3 at 224 px beside DeiT-S, whose grid is 14×14.
CHANNELS = (24, 32, 48, 96, 136, 232, 384)
SIDES = (14, 14, 14, 14, 14, 7, 7)


class _Entries(Dataset):
    """What a worker reads for a view, without its image."""

    def __init__(self, kept: KeptMaps) -> None:
        self.kept = kept

    def __len__(self) -> int:
        return self.kept.views

    def __getitem__(self, view: int) -> object:
        (entry,) = self.kept.read([view])
        assert entry is not None
        return entry


def reading(
    shapes: list[tuple[int, int, int]],
    gigabytes: float,
    batch: int,
    workers: list[int],
    folder: str | None = None,
) -> dict:
    """Images a second through a loader and `KeptMaps.unpacked`, in random order.

    Args:
        shapes: (C, h, w) of each level.
        gigabytes: the size of the file.
        workers: numbers of the loader's workers.
        folder: on the disk to measure; by default a temporary one.
    """
    with TemporaryDirectory(dir=folder, prefix="aal-kept-maps-") as place:
        entry = packed_size(shapes)
        kept = KeptMaps(place, max(1, int(gigabytes * 1e9 / entry)), shapes, key={})
        for view in range(kept.views):
            # Random values: a file system may compress equal ones.
            kept.write([view], kept.packed([torch.rand(1, *shape) for shape in shapes]))
        rows = []
        for count in workers:
            for disk in ("cold", "warm"):
                if disk == "cold":
                    forget(Path(place) / "maps.bin")
                rows.append(dict(workers=count, disk=disk, **_timed(kept, count, batch)))
    return dict(entry_bytes=entry, views=kept.views, rows=rows)


def forget(file: Path) -> None:
    """Drop a file from the system's memory, so that it is read from the disk."""
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def _timed(kept: KeptMaps, workers: int, batch: int) -> dict[str, float]:
    loader = DataLoader(
        _Entries(kept), batch_size=batch, shuffle=True, num_workers=workers, collate_fn=np.stack
    )
    started, own = time.perf_counter(), time.process_time()
    for entries in loader:
        kept.unpacked(entries)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    return dict(images_per_second=kept.views / seconds, own_ms_per_image=1e3 * own / kept.views)


def main() -> None:
    from tools.machine import about

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--folder", help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", help="write the results to this file")
    args = parser.parse_args()
    shapes = [(channels, side, side) for channels, side in zip(CHANNELS, SIDES)]
    found = reading(shapes, args.gigabytes, args.batch, [0, 1, 2], args.folder)
    print(f"{found['views']} views of {found['entry_bytes'] / 1e3:.0f} kB")
    for row in found["rows"]:
        print(
            f"{row['workers']} workers, {row['disk']} disk: {row['images_per_second']:.0f} images "
            f"a second, {row['own_ms_per_image']:.2f} ms of the training process each"
        )
    if args.json:
        Path(args.json).write_text(json.dumps(dict(found, **about("cpu")), indent=1) + "\n")


if __name__ == "__main__":
    main()
