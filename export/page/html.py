"""A page as one HTML file: no script, no font, no address that is fetched, so it opens the same from a mail attachment.

Previews of mail programs run no scripts, and a report may come from a stranger: so there are none. What moves (the
colour scheme, the measure of a treemap, folded figures) is done by radio buttons, `details` and style sheets, and a
content security policy forbids everything but the page's own style sheet, by its hash. Drawings are inline SVG placed
in percent, which stretch with the window while their texts keep their size. The page is well-formed XML, so that a
broken drawing is found by a parser.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import draw, draw_areas
from .blocks import Bars, Block, Bounds, Facts, Fold, Page, Spreads, Strip, Table, Text, Traces, Treemap
from .tables import table_of

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".html"

DRAWN: dict[type, tuple[str, Any]] = {
    Table: ("table", None),
    Text: ("text", None),
    Facts: ("facts", None),
    Fold: ("fold", None),
    Bounds: ("bounds", draw.bounds),
    Spreads: ("spreads", draw.spreads),
    Traces: ("traces", draw.traces),
    Bars: ("bars", draw.bars),
    Treemap: ("treemap", draw_areas.treemap),
    Strip: ("strip", draw_areas.strip),
}
"""Kind of block → its template, and what makes the geometry that the template draws."""


def render(page: Page) -> str:
    """The page as HTML text."""
    from itertools import count

    from markupsafe import Markup

    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    numbers = count(1)

    def show(block: Block) -> Markup:
        name, make = DRAWN[type(block)]
        given = {"block": block, "drawing": make(block) if make else None, "table": table_of(block)}
        text = _environment().get_template(f"{name}.html.j2").render(given, show=show, number=next(numbers))
        return Markup(text)

    template = _environment().get_template("page.html.j2")
    return template.render(page=page, style=Markup(style), digest=digest, show=show)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
