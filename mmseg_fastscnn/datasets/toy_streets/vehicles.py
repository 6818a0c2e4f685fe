"""What drives or is ridden: cars, buses, trains, trucks, bicycles, motorcycles."""

from dataclasses import replace

import numpy as np

from mmseg_fastscnn.datasets.toy_streets.canvas import (
    CLOTHES,
    DARK,
    GLASS,
    METAL,
    PAINTS,
    SKINS,
    STONES,
    WHITE,
    Board,
    Canvas,
    Colour,
    Label,
    dim,
    pick,
)

CENTRE = -1.5  # of the road, m: vehicles to the left of it come towards us
LIVERIES = ((40, 190, 235), (50, 45, 195), (185, 110, 40), (90, 150, 60))


def faces(
    canvas: Canvas, label: Label, x: float, z: float, width: float, length: float
) -> tuple[Board, Board]:
    """Draw the shadow of a vehicle along the street, and place its visible faces.

    Returns:
        Its side, u = 0 at the vehicle's rear, and its near end, u = 0 in the middle.
    """
    canvas.ground(x - 0.55 * width, x + 0.55 * width, z - 0.2, z + length, None, DARK)
    inner, end = x - np.sign(x) * width / 2, Board(canvas, label, x, z)
    if x < CENTRE:
        return Board(canvas, label, inner, z + length, -np.pi / 2), end
    return Board(canvas, label, inner, z, np.pi / 2), end


def car_side(board: Board, colour: Colour, roof: float) -> None:
    """Draw a car of 4.2 m from its side."""
    rear = [(0, 0.3), (0, 0.9), (0.3, 1), (0.7, roof)]
    front = [(2.7, roof), (3.3, 1), (4.2, 0.8), (4.2, 0.3)]
    board.fill(rear + front, colour)
    top = roof - 0.12
    rear_pane = [(0.5, 1), (0.8, top), (1.7, top), (1.7, 1)]
    front_pane = [(1.85, 1), (1.85, top), (2.6, top), (3.05, 1)]
    board.fill([rear_pane, front_pane], GLASS)
    board.wheels((0.85, 3.35), 0.36)


def draw_car(canvas: Canvas, x: float, z: float) -> None:
    """Draw a car along the street, or one that crosses it."""
    rng = canvas.rng
    colour, roof = pick(rng, *PAINTS), rng.uniform(1.4, 1.75)
    side, end = faces(canvas, Label.CAR, x, z, 1.8, 4.2)
    if abs(x) < 1 and rng.random() < 0.3:
        canvas.ground(x - 2.1, x + 2.1, z - 0.2, z + 1, None, DARK)
        car_side(replace(end, x=x - 2.1), colour, roof)
        return
    car_side(side, dim(colour, 0.8), roof)
    end.pair(0.6, 0, 0.85, 0.4, DARK)
    left = [(-0.9, 0.3), (-0.9, 0.95), (-0.7, roof)]
    right = [(0.7, roof), (0.9, 0.95), (0.9, 0.3)]
    end.fill(left + right, colour)
    end.fill([(-0.75, 1), (-0.6, roof - 0.1), (0.6, roof - 0.1), (0.75, 1)], GLASS)
    end.pair(0.55, 0.65, 0.85, 0.85, WHITE if x < CENTRE else (40, 30, 200))
    end.box(-0.26, 0.42, 0.26, 0.56, WHITE)


def coach(
    canvas: Canvas,
    label: Label,
    x: float,
    z: float,
    length: float,
    height: float,
    pane: float,
) -> tuple[Board, Board]:
    """Draw a long, tall vehicle with a row of windows; return its side and its end."""
    colour, panes = pick(canvas.rng, *LIVERIES), np.arange(0.3, length - 1, pane + 0.2)
    side, end = faces(canvas, label, x, z, 2.6, length)
    side.box(0, 0.3, length, height, dim(colour, 0.8))
    side.box(panes, 1.6, panes + pane, height - 0.6, GLASS)
    end.box(-1.3, 0.3, 1.3, height, colour)
    end.box(-1.15, 1.6, 1.15, height - 0.7, GLASS)
    end.pair(0.85, 0.6, 1.2, 0.95, WHITE if x < CENTRE else (60, 60, 210))
    return side, end


def draw_bus(canvas: Canvas, x: float, z: float) -> None:
    """Draw a bus: a coach with wheels and a destination board above its end."""
    side, end = coach(canvas, Label.BUS, x, z, 10, 3.2, 1.2)
    side.wheels((2, 7.8), 0.5)
    end.pair(0.8, 0, 1.2, 0.4, DARK)
    end.box(-0.9, 2.65, 0.9, 3.05, DARK)
    end.box(-0.6, 2.75, 0.6, 2.95, (40, 170, 250))


def draw_train(canvas: Canvas, x: float, z: float) -> None:
    """Draw a train: very long, with a stripe, dark below, a pantograph above."""
    length, stripe = canvas.rng.uniform(25, 50), pick(canvas.rng, METAL, *LIVERIES)
    side, end = coach(canvas, Label.TRAIN, x, z, length, 3.8, 2.3)
    side.line([(3, 3.8), (3.8, 4.5), (4.6, 3.8)], 0.15, DARK)
    for face, left, right in ((side, 0, length), (end, -1.3, 1.3)):
        face.box(left, 0, right, 0.5, DARK)
        face.box(left, 1.05, right, 1.5, stripe)


def draw_truck(canvas: Canvas, x: float, z: float) -> None:
    """Draw a truck: a cab, and a ribbed box of another colour on a dark chassis."""
    cab, load = pick(canvas.rng, *PAINTS), pick(canvas.rng, *PAINTS[:3], *STONES[:4])
    side, end = faces(canvas, Label.TRUCK, x, z, 2.6, 8)
    ribs = np.arange(0.9, 5.5, 1.2)
    side.box(0, 0.55, 8, 1, DARK)
    side.box(0, 1, 5.7, 3.6, dim(load, 0.8))
    side.box(ribs, 1, ribs + 0.1, 3.6, dim(load, 0.65))
    side.box(6, 0.6, 8, 2.8, dim(cab, 0.8))
    side.box(6.6, 1.7, 7.7, 2.5, GLASS)
    side.wheels((1, 2.1, 6.9), 0.5)
    end.box(-1.3, 0, 1.3, 1, DARK)
    end.box(-1.3, 1, 1.3, 3.6, load)
    if x < CENTRE:
        end.box(-1.2, 0.5, 1.2, 2.8, cab)
        end.box(-1.05, 1.7, 1.05, 2.6, GLASS)
    else:
        end.pair(0.04, 1.1, 1.2, 3.5, dim(load, 0.8))
    end.pair(0.8, 0.6, 1.1, 0.85, WHITE if x < CENTRE else (40, 40, 220))


def bicycle(board: Board, colour: Colour) -> None:
    """Draw two thin wheels, see-through, and a frame."""
    for u in (-0.6, 0.6):
        board.disc(u, 0.4, 0.4, None)
        board.disc(u, 0.4, [0.4, 0.31], DARK)
    hub, pedals = (-0.6, 0.4), (-0.1, 0.4)
    board.line([hub, pedals, (0.42, 0.95), (-0.25, 0.85), hub], 0.1, colour)
    board.line([pedals, (-0.3, 1.02)], 0.1, colour)
    board.line([(0.6, 0.4), (0.42, 1.1), (0.6, 1.15)], 0.09, colour)
    board.box(-0.45, 1, -0.15, 1.1, DARK)


def motorcycle(board: Board, colour: Colour) -> None:
    """Draw two fat wheels, a solid body, a seat, an exhaust and a lamp."""
    board.wheels((-0.7, 0.72), 0.4)
    board.line([(0.72, 0.4), (0.45, 1.15)], 0.14, METAL)
    upper = [(-0.95, 0.75), (-0.6, 0.95), (0, 0.8), (0.25, 1.05), (0.6, 1)]
    lower = [(0.45, 0.4), (-0.3, 0.25), (-0.5, 0.6)]
    board.fill(upper + lower, colour)
    board.line([(-0.9, 0.35), (0.2, 0.3)], 0.14, (190, 190, 190))
    board.fill([(-0.8, 0.88), (-0.75, 1), (0, 0.95), (0, 0.8)], DARK)
    board.disc(0.62, 1, 0.13, WHITE)


def rider(board: Board, helmet: Colour) -> None:
    """Draw somebody who leans forward on a saddle."""
    coat, trousers = pick(board.canvas.rng, *CLOTHES), pick(board.canvas.rng, *CLOTHES)
    board.line([(-0.25, 1), (0.15, 0.85), (0, 0.35)], 0.22, trousers)
    board.line([(-0.28, 0.95), (0.08, 1.65)], 0.46, coat)
    board.line([(0.05, 1.5), (0.3, 1.2), (0.55, 1.2)], 0.15, dim(coat, 0.75))
    board.disc(0.15, 1.85, 0.19, pick(board.canvas.rng, *SKINS))
    board.disc(0.13, 1.92, 0.19, helmet)


def draw_two_wheeler(canvas: Canvas, x: float, z: float, ridden: bool = False) -> None:
    """Draw a bicycle or a motorcycle, from the side or at an angle, and its rider."""
    rng = canvas.rng
    canvas.ground(x - 0.8, x + 0.8, z - 0.1, z + 0.15, None, DARK)
    yaw = rng.uniform(-0.8, 0.8) + np.pi * rng.integers(2)
    kinds = ((Label.BICYCLE, bicycle), (Label.MOTORCYCLE, motorcycle))
    label, draw = kinds[rng.integers(2)]
    board = Board(canvas, label, x, z, yaw, rng.uniform(1.1, 1.35))
    draw(board, pick(rng, *PAINTS))
    if ridden:
        rider(replace(board, label=Label.RIDER), pick(rng, DARK, *PAINTS))
