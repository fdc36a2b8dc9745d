"""The documentation site: the repository's own Markdown pages, and the API from docstrings.

`make docs` builds it. The source folder is the top folder, so that links work as they do there.
"""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
warnings.filterwarnings("ignore", message="Fail to import")  # mmcv-lite

project = "aal_plugin"
author = "The aal_plugin maintainers"
html_title = "aal_plugin"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/api/*.md",
    "configs/README.md",
    "configs/*/README.md",
]
exclude_patterns = [".*", "aal_plugin", "tests", "tools", "data", "work_dirs", "docs/_build"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80  # longer: one argument per line
napoleon_google_docstring = True
napoleon_use_rtype = False
default_role = "code"  # docstrings have single backticks, as Markdown has
highlight_language = "none"

CONTENTS = """

```{toctree}
:hidden:
:caption: Use

docs/guide
docs/students
docs/backbones
docs/teachers
docs/any_loop
docs/timm
docs/distillation
docs/logging
docs/report
docs/analysis
docs/reliability
docs/glossary
```

```{toctree}
:hidden:
:caption: Results

docs/results
docs/benchmark
docs/gpu
configs/README
configs/baselines/README
configs/deit/README
configs/attention_transfer/README
configs/shapes/README
configs/folder/README
```

```{toctree}
:hidden:
:caption: Code

docs/api/core
docs/api/mm
docs/api/timm
CONTRIBUTING
CHANGELOG
```
"""


def add_contents(app, docname: str, source: list[str]) -> None:
    """The side bar; on GitHub the README has a table of pages instead."""
    if docname == root_doc:
        source[0] += CONTENTS


def as_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text: |x| is a magnitude, and * a product or a pattern."""
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def add_index(app, exception: Exception | None) -> None:
    """index.html is the README's page."""
    if exception is None and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app) -> None:
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", as_rst, priority=400)
    app.connect("build-finished", add_index)
