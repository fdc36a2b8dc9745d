"""Checks the numbers of a config's loaders, of which torch tells without a key."""

from __future__ import annotations

from mmengine.config import Config

from aal_plugin.core.settings import check_whole


def check_loaders(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Raise ValueError if batch size and workers do not make a DataLoader; names the key."""
    for key in loaders:
        loader = cfg.get(key) or {}
        if not loader.get("batch_sampler"):
            check_whole(f"{key}.batch_size", loader.get("batch_size", 1), 1)
        check_whole(f"{key}.num_workers", loader.get("num_workers", 0), 0)
        if not loader.get("num_workers"):
            for name in ("persistent_workers", "prefetch_factor"):
                if loader.get(name):
                    raise ValueError(
                        f"{key}.{name}={loader[name]!r} needs workers, but num_workers=0; remove "
                        f"{name}, or set {key}.num_workers to 1 or more"
                    )
