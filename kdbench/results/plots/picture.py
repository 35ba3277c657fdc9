"""A plot with its description, as SVG for a page, SVG for a paper or PNG."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

from kdbench.text import printable

COLOURS = {
    "ink": "#1f2329",
    "muted": "#5a636f",
    "grid": "#d2d9e1",
    "surface": "#fefefe",
    "better": "#1a7f38",
    "worse": "#b42319",
    "neutral": "#57616b",
    "accent": "#0a69db",
    "paper": "#8250e0",
}
"""Role -> colour in files. In a page each is the CSS variable of that name."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "text.usetex": False,
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 8.5,
    "axes.edgecolor": COLOURS["muted"],
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "kdbench",
}
WIDTH = 4.4
"""Width of a picture in inches: a phone shows it at three quarters of its size."""
MOST = 40
"""Most rows in a plot: the first ones of the ranking."""
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class Picture:
    """A plot.

    Attributes:
        title: What it shows, in a few words.
        text: The same in sentences with numbers, for readers who cannot see it.
        draw: Draws the figure; called once, with :data:`STYLE`.
    """

    title: str
    text: str
    draw: Callable[[], Figure]

    @cached_property
    def figure(self) -> Figure:
        """The matplotlib figure."""
        with mpl.rc_context(STYLE):
            return self.draw()

    def svg(self) -> str:
        """Return an SVG file for papers; the same records give the same bytes."""
        return '<?xml version="1.0" encoding="utf-8"?>\n' + _text(self._tree()) + "\n"

    def inline(self, name: str) -> str:
        """Return an ``<svg>`` element for an HTML page: colours are CSS variables, ids begin with ``name``.

        Args:
            name: The picture's name in the page: letters, digits, dots and dashes.
        """
        tree = self._tree()
        width = tree.attrib.pop("width", "").removesuffix("pt")
        tree.attrib.pop("height", None)
        tree.set("style", f"max-width:{round(float(width) * 4 / 3)}px")
        _drop_styles(tree)
        _rename(tree, name)
        tree.set("role", "img")
        tree.set("aria-labelledby", f"{name}-title {name}-desc")
        tree[0].set("id", f"{name}-title")
        tree[1].set("id", f"{name}-desc")
        for element in tree.iter():
            for key in ("style", "fill", "stroke"):
                if key in element.attrib:
                    element.set(key, _themed(element.attrib[key]))
        return _text(tree)

    def png(self, dpi: int = 130) -> bytes:
        """Return a PNG image."""
        return self._save("png", dpi=dpi)

    @cached_property
    def _drawn(self) -> bytes:
        return self._save("svg")

    def _save(self, kind: str, **more: Any) -> bytes:
        buffer = io.BytesIO()
        metadata: Mapping[str, None] = {"Date": None} if kind == "svg" else {"Software": None}
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            # A name may have letters that the font lacks and browsers have.
            warnings.filterwarnings("ignore", message="Glyph")
            face = "none" if kind == "svg" else COLOURS["surface"]
            self.figure.savefig(buffer, format=kind, metadata=metadata, facecolor=face, **more)
        return buffer.getvalue()

    def _tree(self) -> ElementTree.Element:
        """Return the SVG with its title and description, without matplotlib's metadata."""
        tree = ElementTree.fromstring(self._drawn)
        for extra in tree.findall(f"{{{SVG}}}metadata"):
            tree.remove(extra)
        for place, (tag, words) in enumerate((("title", self.title), ("desc", self.text))):
            element = ElementTree.Element(f"{{{SVG}}}{tag}")
            element.text = printable(words)
            tree.insert(place, element)
        return tree


def _text(tree: ElementTree.Element) -> str:
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(tree, encoding="unicode")


def _themed(style: str) -> str:
    for role, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{role})")
    return style


def _drop_styles(tree: ElementTree.Element) -> None:
    """Remove style sheets, which would act on the whole page; its own has the rule that matplotlib writes."""
    for parent in list(tree.iter()):
        for style in parent.findall(f"{{{SVG}}}style"):
            parent.remove(style)


def _rename(tree: ElementTree.Element, name: str) -> None:
    """Prefix the ids to which something in the picture refers, and remove the others."""
    used = set[str]()
    for element in tree.iter():
        used |= set(itertools.chain(*(_REFERENCE.findall(value) for value in element.attrib.values())))
        used |= {v[1:] for k, v in element.attrib.items() if k.endswith("href") and v.startswith("#")}
    for element in tree.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.set(key, f"{name}-{value}")
            elif key.endswith("href") and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
