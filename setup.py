from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "aal_plugin" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="aal_plugin",
    version=VERSION,
    description="Adaptive Attention Link-based regularisation for Vision Transformers, "
    "as a plugin for MMPretrain and timm",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["aal_plugin", "aal_plugin.*"]),
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",  # reads checkpoints with weights_only, and can be held to it
        "torchvision",  # with torch: the two must come from one place, see the README
        "timm>=1.0.27",
        "numpy",
        "pillow",
        "tqdm",
        "matplotlib",
    ],
    # mmcv and mmcv-lite own the same folder, and onedl's packages that of OpenMMLab's: one
    # extra in one environment.
    extras_require={
        "openmmlab": [
            "mmengine>=0.10.7,<0.11",
            "mmpretrain>=1.2.0,<1.3",
            "mmcv-lite>=2.2.0,<2.3",
            "setuptools<81",  # mmengine resolves 'mmpretrain::' bases with pkg_resources
        ],
        "onedl": ["onedl-mmengine", "onedl-mmpretrain", "onedl-mmcv"],
        "dev": ["pytest", "ruff"],
    },
)
