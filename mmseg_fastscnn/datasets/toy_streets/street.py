"""A scene, painted back to front; `draw_scene`, at the end, gives the order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from mmseg_fastscnn.datasets.toy_streets.canvas import (
    DARK,
    FAR,
    NEAR,
    Board,
    Canvas,
    Label,
    dim,
    noise,
    pick,
)
from mmseg_fastscnn.datasets.toy_streets.objects import (
    draw_clutter,
    draw_lamp,
    draw_light,
    draw_person,
    draw_sign,
    draw_tree,
    fence,
    house,
    plants,
    wall,
)
from mmseg_fastscnn.datasets.toy_streets.vehicles import (
    draw_bus,
    draw_car,
    draw_train,
    draw_truck,
    draw_two_wheeler,
)

Draw = Callable[[Canvas, float, float], None]  # draws one thing that stands at x, z

SKIES = (  # top and horizon
    ((200, 140, 80), (240, 220, 190)),  # clear
    ((170, 165, 160), (225, 222, 220)),  # cloudy
    ((110, 70, 60), (130, 170, 235)),  # dusk
)
GRASS = ((70, 140, 110), (80, 125, 135), (60, 125, 85))

HOUSE = (house, Label.BUILDING)
TREES = (partial(plants, low=4, high=9), Label.VEGETATION)
HEDGE = (partial(plants, low=0.9, high=1.8), Label.VEGETATION)
ROWS = (  # m behind the edge of the street, and what may be there; None is a gap
    (1.5, (HOUSE, HOUSE, HOUSE, TREES, None)),
    (0, ((wall, Label.WALL), (fence, Label.FENCE), HEDGE, None)),
)


@dataclass(frozen=True)
class Side:
    """One side of the street; distances in metres from the camera's lane."""

    sign: int  # -1 left, 1 right
    kerb: float  # where the road ends and the sidewalk begins
    walk: float  # where the sidewalk ends and a strip of terrain or a track begins
    edge: float  # where that strip ends and houses, walls and hedges begin
    rails: bool  # whether the strip is a track, with a train on it


def make_sides(rng: np.random.Generator) -> tuple[Side, Side]:
    """The left and the right side; at most one has a train."""
    train, sides = rng.choice([-1, 0, 0, 1]), []
    for sign, kerb in ((-1, rng.uniform(4.7, 7)), (1, rng.uniform(2.4, 5))):
        walk = kerb + rng.uniform(1.5, 3)
        strip = 3.4 if sign == train else max(0, rng.uniform(-1.5, 6))
        sides.append(Side(sign, kerb, walk, walk + strip, sign == train))
    return tuple(sides)


def draw_sky(canvas: Canvas) -> None:
    """Draw a gradient with clouds, and trees far away."""
    rng = canvas.rng
    top, bottom = np.array(SKIES[rng.integers(len(SKIES))])
    ramp = np.clip(np.arange(canvas.size[0]) / canvas.horizon, 0, 1)[:, None, None]
    clouds = noise(rng, (10, 8), canvas.size) * rng.uniform(0, 16)
    sky = top + (bottom - top) * ramp + clouds[..., None]
    canvas.paint[..., :3] = np.clip(sky, 0, 255)
    canvas.label[:] = Label.SKY
    plants(Board(canvas, Label.VEGETATION, -200, 120), 400, 4, 12)


def draw_ground(canvas: Canvas, sides: tuple[Side, Side]) -> None:
    """Draw terrain; on it tracks, sidewalks with joints and a kerb, and the road."""
    rng = canvas.rng
    canvas.ground(-400, 400, NEAR, FAR, Label.TERRAIN, pick(rng, *GRASS), 22)
    stone, joints = pick(rng, (150, 150, 150)), np.arange(2, 40, 1.5)
    for side in sides:
        kerb, walk, edge = side.sign * np.array([side.kerb, side.walk, side.edge])
        if side.rails:
            canvas.ground(walk, edge, NEAR, FAR, Label.RAILS, (85, 95, 105), 20)
        canvas.ground(kerb, walk, NEAR, FAR, Label.SIDEWALK, stone)
        canvas.ground(kerb, walk, joints, joints + 0.08, None, dim(stone, 0.75))
        canvas.ground(kerb, kerb + side.sign * 0.25, NEAR, FAR, None, dim(stone, 1.2))
    draw_road(canvas, -sides[0].kerb, sides[1].kerb)


def draw_road(canvas: Canvas, left: float, right: float) -> None:
    """Draw the road with its marks and, in some scenes, a zebra crossing."""
    rng = canvas.rng
    asphalt, dashes = pick(rng, (90, 90, 90)), np.arange(rng.uniform(2, 6), 80, 6)
    paint = dim(asphalt, 2.1)
    canvas.ground(left, right, NEAR, FAR, Label.ROAD, asphalt)
    canvas.ground(-1.75, -1.55, dashes, dashes + 3, None, paint)
    canvas.ground(right - 0.5, right - 0.35, NEAR, FAR, None, paint)
    if rng.random() < 0.3:
        stripes, start = np.arange(left + 0.5, right - 0.6, 1.1), rng.uniform(5, 10)
        canvas.ground(stripes, stripes + 0.55, start, start + 3, None, paint)


def draw_shadows(canvas: Canvas, sides: tuple[Side, Side]) -> None:
    """Draw the shadows that the houses of one side cast over the street."""
    rng, lit = canvas.rng, canvas.paint.copy()
    side, starts = sides[rng.integers(2)], np.arange(NEAR, 80, 12)
    tips = side.sign * (side.edge - rng.uniform(1, side.edge + 3, len(starts)))
    ends = starts + rng.uniform(8, 12)
    canvas.ground(side.sign * 40, tips, starts, ends, None, DARK)
    canvas.paint = cv2.addWeighted(lit, 0.6, canvas.paint, 0.4, 0)


def draw_side(canvas: Canvas, side: Side) -> None:
    """Draw what lines the street: houses, trees, before them walls, fences, hedges."""
    rng = canvas.rng
    ends = np.cumsum(rng.uniform(7, 13, 10)) - 5
    for near, far in reversed(list(pairwise(ends))):
        for behind, kinds in ROWS:
            if kind := kinds[rng.integers(len(kinds))]:
                draw, label = kind
                x = side.sign * (side.edge + behind)
                draw(Board(canvas, label, x, near, np.pi / 2), far - near)
    if side.rails:
        draw_train(canvas, side.sign * (side.walk + 1.8), rng.uniform(5, 14))


def things(
    rng: np.random.Generator, sides: tuple[Side, Side]
) -> Iterator[tuple[Draw, float, float]]:
    """What stands on the street: how to draw it, and its x and z."""
    lanes = np.arange(-3.3 * ((sides[0].kerb - 1.4) // 3.3), sides[1].kerb - 1.3, 3.3)
    for x in lanes:
        for z in np.cumsum(rng.uniform(11, 20, 5)) - 4.5:
            draw = (draw_car, draw_car, draw_bus, draw_truck)[rng.integers(4)]
            yield draw, x + rng.uniform(-0.3, 0.3), z
    for side in sides:
        for draw, most in ((draw_person, 4), (draw_two_wheeler, 2), (draw_clutter, 1)):
            for z in rng.uniform(4.5, 16, rng.integers(most + 1)):
                yield draw, side.sign * rng.uniform(side.kerb, side.walk), z
        for z in rng.uniform(4.5, 11, rng.integers(2)):
            ridden = partial(draw_two_wheeler, ridden=True)
            yield ridden, side.sign * (side.kerb - 0.7), z
        for z in np.cumsum(rng.uniform(2.5, 7, 8)) + 2:
            draw = (draw_lamp, draw_light, draw_sign, draw_tree)[rng.integers(4)]
            yield draw, side.sign * (side.kerb + 0.5), z
    if rng.random() < 0.4:
        yield draw_person, rng.uniform(-3, 2), rng.uniform(6, 12)


def develop(canvas: Canvas) -> np.ndarray:
    """The image (h, w, 3) as a camera sees it: texture, light, blur, sensor noise."""
    rng, size = canvas.rng, canvas.size
    texture = 0.8 * noise(rng, (128, 256), size) + 0.6 * noise(rng, (40, 80), size)
    texture *= canvas.paint[..., 3]
    texture += rng.uniform(2, 6) * rng.standard_normal(size, dtype=np.float32)
    warmth = rng.uniform(-0.1, 0.1)
    light = rng.uniform(0.65, 1.15) * np.array([1 - warmth, 1, 1 + warmth])
    image = (canvas.paint[..., :3] + texture[..., None]) * light.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8) * size[0] / 256)
    return np.clip(image, 0, 255).astype(np.uint8)


def draw_scene(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street scene; the same arguments always give the same scene.

    Args:
        seed: Seed of the scene.
        size: (h, w) in pixels, from (64, 128) to (1024, 2048).

    Returns:
        Image (h, w, 3) uint8 BGR, and label (h, w) uint8 of Cityscapes' labelIds.
    """
    rng = np.random.default_rng(seed)
    canvas, sides = Canvas(rng, size), make_sides(rng)
    draw_sky(canvas)
    draw_ground(canvas, sides)
    draw_shadows(canvas, sides)
    for side in sides:
        draw_side(canvas, side)
    for draw, x, z in sorted(things(rng, sides), key=lambda thing: -thing[2]):
        draw(canvas, x, z)
    if rng.random() < 0.3:  # the bonnet of the camera's own car
        bonnet = [(-1, 0), (-0.9, 0.86), (-0.5, 0.9), (0.5, 0.9), (0.9, 0.86), (1, 0)]
        Board(canvas, Label.EGO, 0, NEAR).fill(bonnet, (45, 42, 40))
    return develop(canvas), canvas.label
