"""Charts as SVG inside of a page, in the page's colours."""

import json
import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from mmseg_fastscnn.report.page import text

WIDTH, HEIGHT = 340, 190  # in the units of the SVG, about pixels
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 20  # margins, for the numbers at the axes
POINTS = 300  # per line; of more, means of neighbours are drawn
COLOURS = 6  # --c0 to --c5 in the style of pages
# Shows the values at the place of the pointer or finger.
SCRIPT = """
for (const box of document.querySelectorAll('.chart[data-lines]')) {
  const lines = JSON.parse(box.dataset.lines), [x0, x1, left, right, width] =
    JSON.parse(box.dataset.axis), svg = box.querySelector('svg');
  const tip = Object.assign(document.createElement('div'), {className: 'tip',
    hidden: true});
  box.append(tip);
  box.addEventListener('pointermove', event => {
    const area = svg.getBoundingClientRect();
    const at = (event.clientX - area.left) / area.width * width;
    const x = x0 + (at - left) / (width - left - right) * (x1 - x0);
    const near = points => points.reduce((best, p) =>
      Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best);
    const drawn = lines.filter(line => line[1].length);
    if (!drawn.length) return;
    tip.textContent = [`${Math.round(near(drawn[0][1])[0])}`, ...drawn.map(
      ([name, points]) => `${name}: ${+near(points)[1].toPrecision(4)}`)].join('\\n');
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX - area.left + 12,
      area.width - tip.offsetWidth)}px`;
  });
  box.addEventListener('pointerleave', () => { tip.hidden = true; });
}
"""

Point = tuple[float, float]


class Line(NamedTuple):
    """A line of a chart; its colour is `--cN` of the page."""

    name: str
    points: Sequence[Point]
    colour: int = 0


def line_chart(title: str, lines: Sequence[Line], limits: Point | None = None) -> str:
    """Return a chart of lines over iterations, with a legend where there are several.

    Args:
        title: What is drawn, with its unit.
        lines: The lines; values that are not finite are left out.
        limits: Least and greatest value of the vertical axis; by default the lines'.
    """
    lines = [line._replace(points=thinned(finite(line.points))) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return f'<figure><b>{text(title)}</b><p class="soft">No values.</p></figure>'
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    (x0, x1), (y0, y1) = span(xs), limits or span(ys)
    place = Place(x0, x1, y0, y1)
    parts = [axes(place), *(drawn(line, place) for line in lines)]
    data = json.dumps([[line.name, line.points] for line in lines])
    axis = json.dumps([x0, x1, LEFT, RIGHT, WIDTH])
    names = ' '.join(
        f'<span style="color: var(--c{line.colour % COLOURS})">&#9632;</span> '
        f'{text(line.name)}'
        for line in lines
    )
    return (
        f'<figure><b>{text(title)}</b><div class="chart" data-axis="{escape(axis)}" '
        f'data-lines="{escape(data)}"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{text(title)}">{"".join(parts)}</svg></div>'
        f'<figcaption>{names if len(lines) > 1 else ""}</figcaption></figure>'
    )


class Place(NamedTuple):
    """Where values lie in a chart."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        share = (value - self.x0) / (self.x1 - self.x0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.y0), self.y1) - self.y0) / (self.y1 - self.y0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def drawn(line: Line, place: Place) -> str:
    """Return a line of a chart; a single point is a dot."""
    colour = f'var(--c{line.colour % COLOURS})'
    spots = [(place.x(x), place.y(y)) for x, y in line.points]
    if len(spots) == 1:
        ((x, y),) = spots
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
    path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in spots)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    )


def axes(place: Place) -> str:
    """Return the numbers and lines of both axes."""
    parts = []
    for value in ticks(place.y0, place.y1):
        y = place.y(value)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/><text x="{LEFT - 4}" y="{y + 4:.1f}" '
            f'text-anchor="end">{value:.4g}</text>'
        )
    for value in ticks(place.x0, place.x1):
        label = f'{value / 1000:g}k' if value >= 10_000 else f'{value:g}'
        parts.append(
            f'<text x="{place.x(value):.1f}" y="{HEIGHT - 4}" '
            f'text-anchor="middle">{label}</text>'
        )
    return ''.join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Return 3 to 6 round values within a range."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def span(values: Sequence[float]) -> Point:
    """Return the range of values, of some width."""
    low, high = min(values), max(values)
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return the means of neighbours where there are too many points to see."""
    size = -(-len(points) // POINTS)
    groups = [points[k : k + size] for k in range(0, len(points), max(size, 1))]
    return [(g[-1][0], float(f'{sum(y for _, y in g) / len(g):.6g}')) for g in groups]


def reliability_chart(bins: dict) -> str:
    """Return accuracy over confidence; a calibrated network lies on the diagonal."""
    place = Place(0, 1, 0, 1)
    count, most = len(bins['pixels']), max(bins['pixels'])
    parts = [axes(place)]
    parts.append(
        f'<line x1="{place.x(0)}" y1="{place.y(0)}" x2="{place.x(1)}" '
        f'y2="{place.y(1)}" stroke="var(--soft)" stroke-dasharray="4 3"/>'
    )
    for k, (pixels, accuracy) in enumerate(
        zip(bins['pixels'], bins['accuracy'], strict=True)
    ):
        left, right = place.x(k / count), place.x((k + 1) / count)
        top = place.y(accuracy)
        # bins of few pixels are pale
        opacity = 0.25 + 0.75 * (pixels / most) ** 0.25 if pixels else 0
        parts.append(
            f'<rect x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" '
            f'height="{place.y(0) - top:.1f}" fill="var(--c0)" '
            f'opacity="{opacity:.2f}"><title>{pixels} pixels</title></rect>'
        )
    return (
        f'<figure><b>Accuracy over confidence</b><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="Accuracy over confidence">{"".join(parts)}</svg>'
        f'<figcaption>On the dashed line, confidence says how often the network is '
        f'right.</figcaption></figure>'
    )
