import os
import tempfile

# One thread a process: the models are small, and torch's pools would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Drawn once a session, and never among the user's.
_cache = tempfile.TemporaryDirectory()
os.environ["AAL_CACHE"] = _cache.name
