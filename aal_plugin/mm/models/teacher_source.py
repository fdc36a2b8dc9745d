"""What a teacher is built from: whether a folder's kept maps are its own is known without it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from aal_plugin.core import FrozenTeacher, TimmTeacher
from aal_plugin.core.teacher.kept_maps import read_key
from aal_plugin.files import write_whole

_WEIGHTS = "teacher weights"  # of the teacher that was built, in the key of kept maps


class TeacherSource:
    """The config of a teacher, its architecture and its file of weights.

    A run that builds its teacher writes them beside the maps. A later run with the same ones need
    not build it. If anything differs, it is built and compared with the key of the maps.

    Args:
        architecture: the teacher with random weights.
    """

    def __init__(self, config: dict, architecture: FrozenTeacher) -> None:
        self._file = config.get("checkpoint")
        text = f"{architecture.model!r} {getattr(architecture.model, 'pretrained_cfg', None)!r}"
        self._source = {
            "config": repr(sorted(config.items())),
            "architecture": hashlib.sha256(text.encode()).hexdigest()[:16],
        }
        # Weights from elsewhere may be others under the same name.
        self._told = isinstance(self._file, str) or (
            isinstance(architecture, TimmTeacher)
            and ":" not in architecture.name
            and not config.get("pretrained_cfg_overlay")
        )

    def made(self, folder: str | Path) -> bool:
        """Whether the folder's maps are this teacher's; if its file is gone, it counts as equal."""
        path, key = Path(folder) / "teacher.json", read_key(Path(folder))
        if not self._told or key is None or not path.is_file():
            return False
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
            file = self._file_sum() or theirs.get("file")
        except (ValueError, AttributeError):  # a damaged file: the teacher is built, as without it
            return False
        return bool(theirs == dict(self._source, file=file, weights=key.get(_WEIGHTS)))

    def write(self, folder: Path, key: dict[str, Any]) -> None:
        """Say that the folder's maps, of this key, are this teacher's."""
        if self._told and is_main_process() and not self.made(folder):
            mine = dict(self._source, file=self._file_sum(), weights=key[_WEIGHTS])
            with suppress(OSError):  # a folder that can only be read
                write_whole(folder / "teacher.json", json.dumps(mine, indent=1) + "\n")

    def _file_sum(self) -> str | None:
        if not isinstance(self._file, str) or not Path(self._file).is_file():
            return None
        total = hashlib.sha256()
        with open(self._file, "rb") as file:
            while part := file.read(1 << 20):
                total.update(part)
        return total.hexdigest()[:16]
