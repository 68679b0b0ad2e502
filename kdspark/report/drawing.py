"""How all of the reports' pictures are drawn: inline SVG, deterministic, coloured by the page's light or dark theme.

Ink and rules are drawn in placeholder colours that become CSS variables; ids get the picture's name as a prefix, so
that several pictures can share one page.
"""

import io
import re
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, RULE, PAPER = "#010203", "#040506", "#070809"
_THEME = {INK: "var(--ink-soft)", RULE: "var(--rule)", PAPER: "var(--paper)"}
# For matplotlib's rc_context, around all drawing.
RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
}


def single_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one picture, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def to_svg(figure: Figure, name: str) -> str:
    """The figure as inline SVG; `name` must be unique in the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"kdspark-{name}"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s*xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")  # not needed inside HTML
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)
    for placeholder, variable in _THEME.items():
        svg = svg.replace(placeholder, variable)
    return svg
