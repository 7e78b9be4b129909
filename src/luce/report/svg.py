"""A figure as inline SVG that takes its colors and its type from the page around it."""

import html
import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from luce.report.plots.style import COLORS, FAINT, INK, RUN_COLORS, library_style

_VARIABLES = {
    INK: "--plot-ink",
    FAINT: "--plot-faint",
    COLORS["single"]: "--single",
    COLORS["chosen"]: "--chosen",
    COLORS["rejected"]: "--rejected",
    **{color: f"--run-{index}" for index, color in enumerate(RUN_COLORS)},
}


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """An `<svg>` element to stand in an HTML page.

    Text stays text in the page's own font; the library's colors become the page's variables with
    themselves as fallback; ids begin with `name`, so that several figures share a page; no
    namespace, metadata or size is left, only the view box. Screen readers get title and
    description. The same figure gives the same text.

    Args:
        name: a word, unique on the page.
    """
    stream = io.StringIO()
    with library_style():
        matplotlib.rcParams["svg.hashsalt"] = name
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    body = re.search(r"<svg\b[^>]*>(.*)</svg>", svg, re.DOTALL)
    if view_box is None or body is None:
        raise AssertionError("matplotlib wrote an SVG without a view box")
    drawing = re.sub(r"<metadata>.*?</metadata>", "", body[1], flags=re.DOTALL)
    drawing = re.sub(r"<!--.*?-->", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    drawing = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", drawing)
    drawing = re.sub(r"font-family: [^;\"]*;? ?", "", drawing)
    # a hundredth of a pixel is enough, and half the size
    drawing = re.sub(
        r'\b(?:d|x|y|x1|x2|y1|y2|transform)="[^"]*"',
        lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]),
        drawing,
    )
    for color, variable in _VARIABLES.items():
        drawing = drawing.replace(color, f"var({variable}, {color})")
    drawing = re.sub(r"\n\s*", "\n", drawing).strip()
    return Markup(
        f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="{view_box[1]}"><title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>\n{drawing}</svg>'
    )
