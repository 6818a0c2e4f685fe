"""What stands: people and street furniture, and the rows that line the street."""

from dataclasses import replace

import numpy as np

from mmseg_fastscnn.datasets.toy_streets.canvas import (
    CLOTHES,
    DARK,
    GLASS,
    METAL,
    PAINTS,
    PLANTS,
    SKINS,
    STONES,
    WHITE,
    Board,
    Canvas,
    Label,
    dim,
    pick,
)

SIGNS = np.array([(40, 40, 200), (190, 90, 30), (30, 200, 240), (235, 235, 235)])
LAMPS = ((50, 50, 255), (40, 200, 255), (110, 255, 70))


def draw_person(canvas: Canvas, x: float, z: float) -> None:
    """Draw somebody upright: head, torso, two arms, two legs."""
    rng = canvas.rng
    coat, trousers = pick(rng, *CLOTHES), pick(rng, *CLOTHES)
    canvas.ground(x - 0.35, x + 0.35, z - 0.1, z + 0.2, None, DARK)
    board = Board(canvas, Label.PERSON, x, z, scale=rng.uniform(1, 1.25))
    step = rng.uniform(0.08, 0.35)
    for foot in (-1, 1):
        board.line([(0.1 * foot, 0.9), (step * foot, 0)], 0.21, trousers)
        board.line([(0, 1.4), ((0.2 + step) * foot, 0.85)], 0.15, dim(coat, 0.75))
    board.fill([(-0.24, 0.8), (-0.3, 1.48), (0.3, 1.48), (0.24, 0.8)], coat)
    board.disc(0, 1.66, 0.17, pick(rng, *SKINS))
    board.disc(0, 1.74, 0.15, DARK)


def draw_tree(canvas: Canvas, x: float, z: float) -> None:
    """Draw a trunk and a crown of leaves; both are vegetation."""
    rng = canvas.rng
    board, leaf = Board(canvas, Label.VEGETATION, x, z), pick(rng, *PLANTS)
    board.box(-0.18, 0, 0.18, 4, (50, 65, 80), 16)
    for u, v, radius, light in rng.uniform(-1, 1, (8, 4)):
        board.disc(u, 4 + v, 0.95 + 0.25 * radius, dim(leaf, 1 + 0.25 * light), 36)


def draw_lamp(canvas: Canvas, x: float, z: float) -> None:
    """Draw a street lamp, with an arm over the street."""
    arm = [(0, 0), (0, 7), (-np.sign(x) * 2, 7.3)]
    Board(canvas, Label.POLE, x, z).line(arm, 0.28, pick(canvas.rng, METAL, DARK))


def draw_light(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic light: on a pole, a dark box with three lamps, one of them lit."""
    Board(canvas, Label.POLE, x, z).box(-0.14, 0, 0.14, 2.3, pick(canvas.rng, METAL))
    board, lit = Board(canvas, Label.LIGHT, x, z), canvas.rng.integers(3)
    board.box(-0.42, 2.3, 0.42, 4.4, DARK)
    for place, lamp in enumerate(LAMPS):
        board.disc(0, 4.02 - 0.67 * place, 0.27, dim(lamp, 1 if place == lit else 0.3))


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic sign: on a pole, a triangle, square or disc with a rim."""
    Board(canvas, Label.POLE, x, z).box(-0.14, 0, 0.14, 2.7, pick(canvas.rng, METAL))
    board, corners = Board(canvas, Label.SIGN, x, z), canvas.rng.choice([3, 4, 20])
    rim, middle = canvas.rng.permutation(SIGNS)[:2].tolist()
    board.disc(0, 2.7, 0.7, rim, corners=corners)
    board.disc(0, 2.7, 0.45, middle, corners=corners)


def draw_clutter(canvas: Canvas, x: float, z: float) -> None:
    """Draw a bin (static) or a cart (dynamic)."""
    label = (Label.STATIC, Label.DYNAMIC)[canvas.rng.integers(2)]
    board, colour = Board(canvas, label, x, z), pick(canvas.rng, *PAINTS)
    board.box(-0.35, 0, 0.35, 1, colour)
    board.box(-0.4, 0.9, 0.4, 1.05, dim(colour, 0.6))


def house(board: Board, length: float) -> None:
    """Draw a house, its side and its near end, with rows of windows, some of them lit.

    Like the other rows, it begins at u = 0, the board's near end, and has a length.
    """
    rng = board.canvas.rng
    colour, height = pick(rng, *STONES), rng.uniform(6, 16)
    pane = pick(rng, GLASS, (120, 105, 90), (50, 45, 40))
    end = replace(board, yaw=0 if board.x > 0 else np.pi)
    for face, width, shade in ((board, length, 1), (end, 10, 0.8)):
        face.box(0, 0, width, height, dim(colour, shade), 10)
        face.box(0, height - 0.5, width, height, dim(colour, 0.6 * shade))
        columns, floors = np.arange(0.8, width - 1.5, 2.4), np.arange(1, height - 2, 3)
        u, v = np.meshgrid(columns, floors)
        face.box(u, v, u + 1.3, v + 1.8, dim(pane, shade))
        lit = rng.random(u.shape) < 0.15
        face.box(u[lit], v[lit], u[lit] + 1.3, v[lit] + 1.8, (150, 205, 225))


def plants(board: Board, length: float, low: float, high: float) -> None:
    """Draw plants in a row, with a ragged top: trees or a hedge."""
    rng = board.canvas.rng
    height, u = rng.uniform(low, high), np.linspace(0, length, 40)
    for part in (1, 0.6):
        top = zip(u, part * height * rng.uniform(0.8, 1.2, 40), strict=True)
        board.fill([(0, 0), *top, (length, 0)], pick(rng, *PLANTS), 36)


def wall(board: Board, length: float) -> None:
    """Draw a wall of blocks, with a coping."""
    colour, height = pick(board.canvas.rng, *STONES), board.canvas.rng.uniform(1.8, 3)
    courses = np.arange(0.4, height, 0.5)
    board.box(0, 0, length, height, colour, 18)
    board.box(0, courses, length, courses + 0.08, dim(colour, 0.65), 18)
    board.box(0, height - 0.2, length, height, dim(colour, 1.25), 10)


def fence(board: Board, length: float) -> None:
    """Draw a see-through fence; what is between its bars is labelled fence too."""
    rng = board.canvas.rng
    colour, height = pick(rng, METAL, DARK, WHITE, PLANTS[1]), rng.uniform(1.5, 2.4)
    bars, rails = np.arange(0, length - 0.2, 0.45), np.array([0.15, height - 0.35])
    board.box(0, 0, length, height, None)
    board.box(bars, 0, bars + 0.16, height, colour)
    board.box(0, rails, length, rails + 0.16, dim(colour, 0.85))
