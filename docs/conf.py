"""How Sphinx builds the documentation: ``sphinx-build -W docs docs/_build``."""

from __future__ import annotations

import os
import re
from typing import Any

import clusterfutures

project = "clusterfutures"
release = clusterfutures.__version__
author = "the clusterfutures developers"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Links to Python's own pages need its inventory from the network, and a build with -W fails without it:
# a build offline, as in CI, has them as plain text.
if os.environ.get("DOCS_ONLINE"):
    intersphinx_mapping = {"python": ("https://docs.python.org/3", None)}

html_theme = "pydata_sphinx_theme"
html_title = "clusterfutures"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

_FIELD = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")


def _as_rst(lines: list[str]) -> list[str]:
    """Docstrings of this package write ``name: text`` for an argument, and code as an indented block.

    In reStructuredText the first is an item of a list, the second a literal block.
    """
    made: list[str] = []
    literal = item = False
    for line in lines:
        indented = line.startswith("    ")
        field = _FIELD.match(line)
        if field is not None:
            if not item:
                made.append("")
            names = ", ".join(f"``{name}``" for name in field[1].split(", "))
            made.append(f"* {names}: {_split(field[2])}")
            item, literal = True, False
        elif item and indented:
            made.append("  " + _split(line.strip()))
        elif indented and not literal:
            made += ["", "::", "", line]
            literal = True
        elif line and not indented:
            if item or literal:
                made.append("")
            made.append(line)
            item = literal = False
        else:
            made.append(line)
            item = False
    return made


def _split(text: str) -> str:
    """A second argument on the line of the first is set apart by two blanks."""
    return re.sub(r"\.  (\w+): ", r". ``\1``: ", text)


def setup(app: Any) -> None:
    """Read the docstrings before autodoc does."""

    def read(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
        lines[:] = _as_rst(list(lines))

    app.connect("autodoc-process-docstring", read)
