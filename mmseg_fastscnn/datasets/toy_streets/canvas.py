"""What scenes are painted with: labels, colours, noise, a canvas and upright boards."""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import cv2
import numpy as np

EYE, NEAR, FAR = 1.5, 1.2, 400.0  # height of the camera, least and greatest depth, m

Colour = tuple[float, float, float]  # BGR, 0 to 255


class Label(IntEnum):
    """Cityscapes' labelIds of what is drawn."""

    EGO, STATIC, DYNAMIC, ROAD, SIDEWALK, RAILS = 1, 4, 5, 7, 8, 10
    BUILDING, WALL, FENCE, POLE, LIGHT, SIGN = 11, 12, 13, 17, 19, 20
    VEGETATION, TERRAIN, SKY, PERSON, RIDER = 21, 22, 23, 24, 25
    CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 26, 27, 28, 31, 32, 33


DARK, GLASS, METAL, WHITE = (32, 30, 30), (75, 62, 52), (120, 120, 118), (225, 240, 240)
PLANTS = ((40, 85, 55), (35, 65, 40), (45, 110, 90), (40, 95, 120))
SKINS = ((140, 170, 220), (90, 120, 175), (50, 70, 110))
STONES = (
    (150, 185, 205),  # sand
    (130, 135, 140),  # grey
    (70, 85, 140),  # brick
    (190, 195, 195),  # off-white
    (120, 160, 190),  # ochre
    (95, 90, 95),  # dark grey
    (160, 140, 115),  # bluish
)
PAINTS = (
    (225, 225, 225),  # white
    (35, 32, 30),  # black
    (150, 150, 148),  # silver
    (45, 40, 170),  # red
    (150, 80, 35),  # blue
    (75, 95, 50),  # green
    (60, 120, 160),  # bronze
    (95, 60, 70),  # indigo
)
CLOTHES = (
    (50, 45, 45),  # black
    (140, 90, 50),  # blue
    (60, 60, 180),  # red
    (215, 215, 215),  # white
    (60, 130, 60),  # green
    (50, 180, 220),  # yellow
    (130, 70, 130),  # purple
)


def pick(rng: np.random.Generator, *colours: Colour) -> Colour:
    """One of the colours, a bit off and brighter or darker at random."""
    colour = np.array(colours[rng.integers(len(colours))]) + rng.uniform(-14, 14, 3)
    return tuple(np.clip(colour * rng.uniform(0.8, 1.15), 0, 255).tolist())


def dim(colour: Colour, factor: float) -> Colour:
    """The colour made darker, or brighter by a factor above 1."""
    return tuple(min(channel * factor, 255) for channel in colour)


def noise(
    rng: np.random.Generator, grid: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Smooth noise (h, w): a random grid of (rows, columns), enlarged."""
    return cv2.resize(rng.standard_normal(grid, dtype=np.float32), size[::-1])


def rect(left, bottom, right, top) -> np.ndarray:
    """Corners (..., 4, 2) of rectangles; the four sides may be arrays (...)."""
    corners = np.empty((*np.shape(left + bottom + right + top), 4, 2))
    corners[..., 0, 0] = corners[..., 3, 0] = left
    corners[..., 1, 0] = corners[..., 2, 0] = right
    corners[..., 0, 1] = corners[..., 1, 1] = bottom
    corners[..., 2, 1] = corners[..., 3, 1] = top
    return corners


class Canvas:
    """Paint (h, w, 4: BGR and grain, the strength of the texture) and label (h, w).

    Args:
        rng: The scene's only source of randomness.
        size: (h, w) in pixels.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size, self.focal = rng, size, 0.9 * size[0]
        self.horizon = size[0] * rng.uniform(0.4, 0.52)
        self.vanish = size[1] * rng.uniform(0.38, 0.62)
        self.paint = np.zeros((*size, 4), np.uint8)
        self.label = np.zeros(size, np.uint8)

    def polygon(
        self, x, y, z, label: Label | None, colour: Colour | None, grain: int = 6
    ) -> None:
        """Fill polygons with corners (..., n) in metres, without anti-aliasing.

        A label or a colour of None leaves the label or the paint as it is.
        """
        scale = self.focal / np.maximum(z, NEAR)
        pixels = np.empty((*scale.shape, 2))
        pixels[..., 0] = self.vanish + x * scale
        pixels[..., 1] = self.horizon + (EYE - y) * scale
        limit = 8 * max(self.size)  # OpenCV overflows far outside the image
        pixels = np.rint(16 * pixels.clip(-limit, limit)).astype(np.int32)
        polygons = list(pixels.reshape(-1, *pixels.shape[-2:]))
        if label is not None:
            cv2.fillPoly(self.label, polygons, int(label), shift=4)
        if colour is not None:
            cv2.fillPoly(self.paint, polygons, (*colour, grain), shift=4)

    def ground(
        self, x0, x1, z0, z1, label: Label | None, colour: Colour, grain: int = 8
    ) -> None:
        """Fill rectangles of the ground; the four sides may be arrays."""
        flat = rect(x0, z0, x1, z1)
        self.polygon(flat[..., 0], 0, flat[..., 1], label, colour, grain)


@dataclass(frozen=True)
class Board:
    """An upright plane at (x, z): u metres along it, v metres up; yaw in radians."""

    canvas: Canvas
    label: Label
    x: float
    z: float
    yaw: float = 0.0
    scale: float = 1.0

    def fill(self, points, colour: Colour | None, grain: int = 6) -> None:
        """Fill polygons with corners (..., n, 2) in (u, v)."""
        points = self.scale * np.asarray(points)
        u, v = points[..., 0], points[..., 1]
        x, z = self.x + u * np.cos(self.yaw), self.z + u * np.sin(self.yaw)
        self.canvas.polygon(x, v, z, self.label, colour, grain)

    def box(
        self, left, bottom, right, top, colour: Colour | None, grain: int = 6
    ) -> None:
        """Fill rectangles; the four sides may be arrays."""
        self.fill(rect(left, bottom, right, top), colour, grain)

    def pair(
        self, inner: float, bottom: float, outer: float, top: float, colour: Colour
    ) -> None:
        """Fill a rectangle and its mirror image at the other side of u = 0."""
        left, right = np.array([-outer, inner]), np.array([-inner, outer])
        self.box(left, bottom, right, top, colour)

    def disc(
        self, u, v, radius, colour: Colour | None, grain: int = 6, corners: int = 20
    ) -> None:
        """Fill a disc (few corners: a triangle, a square), or a ring (two radii)."""
        angle = (np.arange(corners) + 0.5) * 2 * np.pi / corners - np.pi / 2
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        self.fill(np.multiply.outer(radius, circle) + (u, v), colour, grain)

    def wheels(self, places: tuple[float, ...], radius: float) -> None:
        """Draw dark wheels with a hub, centred at the places."""
        for u in places:
            self.disc(u, radius, radius, DARK)
            self.disc(u, radius, 0.45 * radius, METAL)

    def line(self, points, width: float, colour: Colour) -> None:
        """Draw a thick line through (n, 2) points."""
        for start, end in pairwise(np.array(points, float)):
            side = (end - start)[::-1] * (-1, 1) * width / 2
            side /= np.linalg.norm(end - start)
            self.fill([start - side, start + side, end + side, end - side], colour)
