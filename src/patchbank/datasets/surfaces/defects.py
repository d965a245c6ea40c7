"""The defects of each material.

A defect draws on a flawless piece and returns the pixels that it changed. Lengths are in 256ths of
the image's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from patchbank.datasets.surfaces.materials import (
    CARPET_ROW,
    GRID_SPACING,
    GRID_WIDTH,
    Piece,
)
from patchbank.datasets.surfaces.noise import (
    Dice,
    Field,
    colour,
    fractal,
    pixels,
    ramp,
    sample,
    wave,
)
from patchbank.datasets.surfaces.shapes import blot, line

# Thinner cover would be invisible; it is left out of the picture and the mask.
_THINNEST = 0.2


@dataclass(frozen=True, eq=False)
class Damage:
    """A defective piece: its picture, (side, side, 3), and the pixels changed by the defect."""

    face: Field
    touched: npt.NDArray[np.bool_]


Defect = Callable[[Dice, Piece], Damage]


def crack(dice: Dice, piece: Piece) -> Damage:
    """Draw a jagged dark line that becomes thinner towards its ends."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(60, 150), wander=0.42, pieces=14)
    return _split(dice, piece, path.distance, path.course, dice.uniform(1.0, 1.9))


def grain_crack(dice: Dice, piece: Piece) -> Damage:
    """Draw a crack that follows the grain, as wood splits."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(60, 150), wander=0.1, along_rows=True)
    return _split(dice, piece, path.distance, path.course, dice.uniform(1.0, 2.0))


def scratch(dice: Dice, piece: Piece) -> Damage:
    """Draw a thin, nearly straight line, lighter or darker than the surface."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(50, 130), wander=0.06)
    width = dice.uniform(0.9, 1.6)
    worn = fractal(dice, rows, columns, 14, 14, 2)
    cover = ramp(np.abs(path.distance), width + 0.7, width - 0.7) * _ends(path.course)
    cover = cover * ramp(worn, 0.18, 0.36)
    change = dice.sign() * dice.uniform(0.28, 0.5)
    return _covered(piece, piece.face * (1 + change) + 40 * change, cover)


def stain(dice: Dice, piece: Piece, *, strongest: float = 0.45) -> Damage:
    """Draw the mark of a dried liquid: a tint with a darker rim."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(12, 26), ragged=0.35)
    strength = dice.uniform(0.6, 1.0) * strongest
    tint = 1 - strength * colour(
        dice.uniform(0.4, 0.85), dice.uniform(0.45, 0.95), dice.uniform(0.35, 1.1)
    )
    rim = 1 - 0.16 * ramp(away, 0.72, 0.9)
    return _covered(piece, piece.face * tint * rim[..., np.newaxis], ramp(away, 1.0, 0.9))


def hole(dice: Dice, piece: Piece, *, largest: float = 9) -> Damage:
    """Punch a hole that shows the material below, shaded at the rim."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(0.5, 1.0) * largest, ragged=0.22, stretch=1.3)
    shade = 0.35 + 0.5 * ramp(away, 0.95, 0.3)
    return _covered(piece, piece.under() * shade[..., np.newaxis], ramp(away, 1.05, 0.92))


def chip(dice: Dice, piece: Piece) -> Damage:
    """Break off a flake: rough material with a sharp rim."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(6, 13), ragged=0.5)
    shade = 1.15 - 0.45 * ramp(away, 0.7, 0.98)
    return _covered(piece, piece.under() * shade[..., np.newaxis], ramp(away, 1.02, 0.95))


def cut(dice: Dice, piece: Piece) -> Damage:
    """Slash the surface: a straight gap with a dark edge that shows the material below."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(28, 70), wander=0.05)
    open_ = ramp(path.course, 0.0, 0.3) * ramp(path.course, 1.0, 0.7)
    width = dice.uniform(1.4, 2.8) * (0.35 + 0.65 * open_)
    shade = 0.9 - 0.75 * ramp(path.distance / width, 0.0, 0.9)
    cover = ramp(np.abs(path.distance) - width, 0.7, -0.7)
    return _covered(piece, piece.under() * shade[..., np.newaxis], cover)


def stroke(dice: Dice, piece: Piece) -> Damage:
    """Draw with a broad pen and translucent ink."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(50, 110), wander=0.12)
    width = dice.uniform(4, 7)
    ink = colour(1.0, 0.98, 0.96) * dice.uniform(70, 110)
    dry = fractal(dice, rows, columns, 5, 5, 2)
    cover = ramp(np.abs(path.distance), width + 0.7, width - 0.7) * ramp(dry, 0.16, 0.3)
    return _covered(piece, ink + 0 * piece.face, cover * dice.uniform(0.5, 0.75))


def thread(dice: Dice, piece: Piece, *, lightness: float = 140) -> Damage:
    """Lay a loose fibre on the surface, with its shadow."""
    rows, columns = pixels(len(piece.face))
    path = line(dice, rows, columns, dice.uniform(70, 150), wander=0.3, pieces=16)
    width = dice.uniform(1.0, 1.7)
    yarn = lightness * colour(
        dice.uniform(0.8, 1.4), dice.uniform(0.75, 1.3), dice.uniform(0.7, 1.2)
    )
    fibre = ramp(np.abs(path.distance), width + 0.6, width - 0.6)
    shadow = ramp(np.abs(path.distance - 2.2), 2.4, 0.8) * 0.45
    round_ = 1 - 0.35 * np.minimum(np.abs(path.distance) / width, 1.0)
    above = yarn * round_[..., np.newaxis]
    shaded = piece.face * (1 - shadow[..., np.newaxis])
    mixed = shaded + (above - shaded) * fibre[..., np.newaxis]
    return _covered(piece, mixed, np.maximum(fibre, shadow), opaque=True)


def fold(dice: Dice, piece: Piece) -> Damage:
    """Crease the surface: pull it towards a line with a bright and a dark side."""
    side = len(piece.face)
    rows, columns = pixels(side)
    path = line(dice, rows, columns, dice.uniform(70, 150), wander=0.12)
    reach = dice.uniform(5, 8)
    strength = ramp(np.abs(path.distance), reach, 1.0) * _ends(path.course)
    pull = 5.0 * strength * (side / 256)
    at_row, at_column = np.indices((side, side), dtype=np.float32)
    moved = sample(piece.face, at_row + pull, at_column + pull)
    flank = dice.sign() * dice.uniform(0.3, 0.5) * wave(path.distance / (2.2 * reach)) * strength
    crease = 0.35 * ramp(np.abs(path.distance), 1.6, 0.2) * _ends(path.course)
    shaded = moved * (1 + flank - crease)[..., np.newaxis]
    return _covered(piece, shaded, strength, opaque=True)


def dent(dice: Dice, piece: Piece) -> Damage:
    """Press the surface in: one side faces the light, the other is shaded."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(8, 14), ragged=0.1, stretch=1.4)
    slope = np.zeros_like(away)
    slope[1:-1, 1:-1] = (away[2:, 2:] - away[:-2, :-2]) * (len(away) / 256)
    depth = dice.uniform(1.8, 2.8) * ramp(away, 1.0, 0.55) * (0.25 + 0.75 * ramp(away, 0.1, 0.6))
    shade = np.clip(1 - 0.12 * ramp(away, 1.0, 0.3) - depth * slope, 0.35, 1.55)
    return _covered(piece, piece.face * shade[..., np.newaxis], ramp(away, 1.02, 0.8), opaque=True)


def bent(dice: Dice, piece: Piece) -> Damage:
    """Bend a wire aside over two or three meshes."""
    side = len(piece.face)
    position, run = _either(dice, piece)
    wire, middle = _wire(dice, position, run)
    reach = dice.uniform(1.3, 2.1) * GRID_SPACING
    bump = ramp(np.abs(run - middle), reach, 0.0)
    push = dice.sign() * dice.uniform(7.0, 11.0)
    centre = wire + push * bump
    # Copy the wire from its old position: it moves, those that it crosses do not.
    shift = push * bump
    down, right = _pixels_across(position)
    at_row, at_column = np.indices((side, side), dtype=np.float32)
    moved = sample(piece.face, at_row - shift * down, at_column - shift * right)
    new = ramp(np.abs(position - centre), GRID_WIDTH + 0.9, GRID_WIDTH - 0.9)
    # Slightly wider than the wire, to include its soft rim.
    old = ramp(np.abs(position - wire), GRID_WIDTH + 1.6, GRID_WIDTH + 0.6)
    crossing = _crossing(run)
    bare = piece.face + (piece.under() - piece.face) * (old * (1 - crossing))[..., np.newaxis]
    face = bare + (moved - bare) * new[..., np.newaxis]
    return _covered(piece, face, np.maximum(old, new) * (np.abs(push * bump) > 1.2), opaque=True)


def broken(dice: Dice, piece: Piece) -> Damage:
    """Remove a piece of a wire."""
    position, run = _either(dice, piece)
    wire, middle = _wire(dice, position, run)
    # Part of a single mesh, or three whole ones, so that no cut end is hidden by a crossing wire.
    reach = (dice.uniform(0.2, 0.28) if dice.uniform(0, 1) < 0.6 else 1.5) * GRID_SPACING
    gone = ramp(np.abs(position - wire), GRID_WIDTH + 1.6, GRID_WIDTH + 0.6)
    gone = gone * ramp(np.abs(run - middle), reach + 0.7, reach - 0.7) * (1 - _crossing(run))
    return _covered(piece, piece.under(), gone)


def dirt(dice: Dice, piece: Piece) -> Damage:
    """Clog meshes with a matt lump."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(7, 13), ragged=0.4)
    lump = dice.uniform(70, 130) + 60 * (fractal(dice, rows, columns, 7, 7, 3) - 0.5)
    dye = colour(1.05, dice.uniform(0.85, 1.0), dice.uniform(0.6, 0.9))
    cover = ramp(away, 1.03, 0.93) * dice.uniform(0.75, 0.95)
    return _covered(piece, lump[..., np.newaxis] * dye, cover)


def rust(dice: Dice, piece: Piece) -> Damage:
    """Rust the wires in an area; the ground between them does not change."""
    rows, columns = pixels(len(piece.face))
    away = blot(dice, rows, columns, dice.uniform(14, 28), ragged=0.3)
    wires = np.maximum(
        ramp(np.abs(_offset(piece.across)), GRID_WIDTH + 0.9, GRID_WIDTH - 0.9),
        ramp(np.abs(_offset(piece.along)), GRID_WIDTH + 0.9, GRID_WIDTH - 0.9),
    )
    eaten = 0.75 + 0.5 * fractal(dice, rows, columns, 4, 4, 2)
    tint = colour(0.95, dice.uniform(0.66, 0.82), dice.uniform(0.42, 0.66))
    cover = ramp(away, 1.0, 0.85) * wires
    return _covered(piece, piece.face * tint * eaten[..., np.newaxis], cover)


def missing_loops(dice: Dice, piece: Piece) -> Damage:
    """Pull out a stretch of one or two rows of loops."""
    side = len(piece.face)
    at = int(dice.uniform(0.25, 0.75) * side), int(dice.uniform(0.25, 0.75) * side)
    row = float(np.floor(piece.across[at] / CARPET_ROW))
    count = dice.integer(1, 2)
    middle = float(piece.along[at])
    reach = dice.uniform(14, 34)
    depth = piece.across / CARPET_ROW - row
    inside = ramp(depth, -0.1, 0.1) * ramp(depth, count + 0.1, count - 0.1)
    cover = inside * ramp(np.abs(piece.along - middle), reach + 2, reach - 2)
    shade = 0.28 + 0.5 * ramp(np.abs(depth - count / 2), count / 2, 0.1)
    return _covered(piece, piece.under() * shade[..., np.newaxis], cover)


DEFECTS: dict[str, dict[str, Defect]] = {
    "carpet": {
        "cut": cut,
        "hole": hole,
        "missing_loops": missing_loops,
        "stain": partial(stain, strongest=0.48),
        "thread": partial(thread, lightness=95),
    },
    "grid": {
        "bent": bent,
        "broken": broken,
        "dirt": dirt,
        "rust": rust,
        "thread": partial(thread, lightness=100),
    },
    "leather": {
        "cut": cut,
        "fold": fold,
        "poke": partial(hole, largest=11),
        "scratch": scratch,
        "stain": partial(stain, strongest=0.6),
    },
    "tile": {"chip": chip, "crack": crack, "scratch": scratch, "stain": stain, "stroke": stroke},
    "wood": {
        "crack": grain_crack,
        "dent": dent,
        "hole": hole,
        "scratch": scratch,
        "stain": stain,
    },
}


def _covered(piece: Piece, upper: Field, cover: Field, *, opaque: bool = False) -> Damage:
    """Put a picture over a piece where its cover is thick enough; `opaque` if already mixed."""
    touched = cover >= _THINNEST
    mixed = upper if opaque else piece.face + (upper - piece.face) * cover[..., np.newaxis]
    return Damage(np.where(touched[..., np.newaxis], mixed, piece.face), touched)


def _split(dice: Dice, piece: Piece, distance: Field, course: Field, width: float) -> Damage:
    rows, columns = pixels(len(piece.face))
    width_here = (
        width * (0.3 + 0.7 * _ends(course)) * (0.6 + 0.8 * fractal(dice, rows, columns, 9, 9, 2))
    )
    cover = ramp(np.abs(distance) - width_here, 0.8, -0.6)
    return _covered(piece, piece.face * 0.22, cover * dice.uniform(0.7, 0.95))


def _ends(course: Field) -> Field:
    """Return 1 along a line, decreasing to 0 at its ends."""
    return ramp(course, 0.0, 0.12) * ramp(course, 1.0, 0.88)


def _either(dice: Dice, piece: Piece) -> tuple[Field, Field]:
    """Return the coordinates across and along the wires, for one of the two directions."""
    if dice.uniform(0, 1) < 0.5:
        return piece.across, piece.along
    return piece.along, piece.across


def _wire(dice: Dice, position: Field, run: Field) -> tuple[float, float]:
    """Return a wire near the image's middle, and a point on it halfway between two crossings."""
    side = len(position)
    at = int(dice.uniform(0.25, 0.75) * side), int(dice.uniform(0.25, 0.75) * side)
    wire = (np.floor(position[at] / GRID_SPACING) + 0.5) * GRID_SPACING
    middle = (np.floor(run[at] / GRID_SPACING) + 1.0) * GRID_SPACING
    return float(wire), float(middle)


def _offset(position: Field) -> Field:
    offset: Field = position - (np.floor(position / GRID_SPACING) + 0.5) * GRID_SPACING
    return offset


def _crossing(run: Field) -> Field:
    """Return 1 where a wire of the other direction crosses."""
    return ramp(np.abs(_offset(run)), GRID_WIDTH + 0.9, GRID_WIDTH - 0.9)


def _pixels_across(position: Field) -> tuple[float, float]:
    """Return the step down and right, in pixels, that increases a coordinate by one."""
    middle = len(position) // 2
    centre = position[middle, middle]
    down = float(position[middle + 1, middle] - centre)
    right = float(position[middle, middle + 1] - centre)
    steepness = down * down + right * right
    return down / steepness, right / steepness
