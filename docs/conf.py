"""The documentation site: the repository's own Markdown pages, and the API from docstrings.

`make docs` builds it. The source folder is the top folder, so that links work as they do there.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
warnings.filterwarnings("ignore", message="Fail to import")  # mmcv-lite

project = "aal_plugin"
author = "The aal_plugin maintainers"
html_title = "aal_plugin"

extensions = [
    "myst_nb",  # the pages, and the notebook, which it runs
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",  # the cards of the start page
]
root_doc = "docs/index"
include_patterns = [  # the README is GitHub's start page; docs/index.md is the site's
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/*.ipynb",
    "docs/api/*.md",
    "configs/README.md",
    "configs/*/README.md",
]
exclude_patterns = [".*", "aal_plugin", "tests", "tools", "data", "work_dirs", "docs/_build"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "cache"  # it runs again when its code changes
nb_execution_cache_path = str(ROOT / "docs/_build/.jupyter_cache")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1800
nb_merge_streams = True
nb_output_stderr = "remove"  # warnings of the machine that builds
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80  # longer: one argument per line
napoleon_google_docstring = True
napoleon_use_rtype = False
default_role = "code"  # docstrings have single backticks, as Markdown has
highlight_language = "none"


def as_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text: |x| is a magnitude, and * a product or a pattern."""
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def keep_together(app, doctree) -> None:
    """`29.8 ± 0.7` and `+0.0 to +1.0` stay on one line, in tables above all."""
    for text in list(doctree.findall(nodes.Text)):
        whole = re.sub(r"(?<=\d) (±|to) (?=[-+−\d])", "\u00a0\\1\u00a0", text)
        if whole != text:
            text.parent.replace(text, nodes.Text(whole))


def add_index(app, exception: Exception | None) -> None:
    """The top folder's index.html leads to the start page."""
    if exception is None and app.builder.name == "html":
        start = f"{root_doc}.html"
        (Path(app.outdir) / "index.html").write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={start}">'
            f'<title>{html_title}</title><a href="{start}">{html_title}</a>\n'
        )


def setup(app) -> None:
    app.connect("autodoc-process-docstring", as_rst, priority=400)
    app.connect("doctree-read", keep_together)
    app.connect("build-finished", add_index)
