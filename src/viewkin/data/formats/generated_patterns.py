"""Shapes and textures of the generated set: functions of the plane, for many images at once.

Coordinates u, v are (n, S, S). A shape gives a signed distance-like value in the unit of u and v, negative inside. A
texture gives a value whose sign chooses between two colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wave:
    """What a texture may use of an image's random numbers, each (n, 1, 1)."""

    frequency: Tensor
    """Radians per unit of length."""
    phase: Tensor
    """Radians, along u."""
    other: Tensor
    """Radians, along v."""
    centre_u: Tensor
    """Centre of round textures, unit of length."""
    centre_v: Tensor
    """Centre of round textures, unit of length."""


Shape = Callable[[Tensor, Tensor], Tensor]
Texture = Callable[[Tensor, Tensor, Wave], Tensor]


def disc(u: Tensor, v: Tensor) -> Tensor:
    """Radius 0.85."""
    return torch.hypot(u, v) - 0.85


def square(u: Tensor, v: Tensor) -> Tensor:
    """Half a side of 0.75."""
    return torch.maximum(u.abs(), v.abs()) - 0.75


def triangle(u: Tensor, v: Tensor) -> Tensor:
    """Three equal sides at a distance of 0.55 from the centre."""
    third = 2 * math.pi / 3
    angle = torch.remainder(torch.atan2(v, u) + third / 2, third) - third / 2
    return torch.hypot(u, v) * angle.cos() - 0.55


def cross(u: Tensor, v: Tensor) -> Tensor:
    """Two bars of length 2 and width 0.76."""
    a, b = u.abs(), v.abs()
    return torch.minimum(torch.maximum(a - 1, b - 0.38), torch.maximum(b - 1, a - 0.38))


def ring(u: Tensor, v: Tensor) -> Tensor:
    """Radius 0.72, width 0.6."""
    return (torch.hypot(u, v) - 0.72).abs() - 0.3


def stripes(u: Tensor, v: Tensor, wave: Wave) -> Tensor:  # noqa: ARG001 (the signature of a texture)
    """Straight and even."""
    return (u * wave.frequency + wave.phase).sin()


def checks(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """A chequerboard."""
    return 2 * (u * wave.frequency + wave.phase).sin() * (v * wave.frequency + wave.other).sin()


def dots(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Round dots on a square lattice."""
    return (u * wave.frequency + wave.phase).cos() + (v * wave.frequency + wave.other).cos() - 0.5


def circles(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Concentric about a point beside the centre."""
    return (torch.hypot(u - wave.centre_u, v - wave.centre_v) * wave.frequency).sin()


def net(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Thin lines both ways."""
    return 1 - 1.6 * torch.maximum((u * wave.frequency + wave.phase).sin(), (v * wave.frequency + wave.other).sin())


def zigzag(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Stripes that sway."""
    return (u * wave.frequency + wave.phase + 1.8 * (0.8 * v * wave.frequency + wave.other).sin()).sin()


def spokes(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Six rays from a point beside the centre."""
    return (6 * torch.atan2(v - wave.centre_v, u - wave.centre_u) + wave.phase).sin()


def bricks(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Rows of blocks, every other row shifted by half a block and with its colours the other way round."""
    along, row = (u * wave.frequency + wave.phase).sin(), (0.5 * v * wave.frequency + wave.other).sin()
    return torch.where(row > 0, 1.5 * along + 0.8, -along)


def lattice(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Thin lines that cross at 60 degrees."""
    slanted = (-0.5 * u + 0.866 * v) * wave.frequency + wave.other
    return 1.6 * torch.maximum((u * wave.frequency + wave.phase).sin(), slanted.sin()) - 1


def blotches(u: Tensor, v: Tensor, wave: Wave) -> Tensor:
    """Five waves of even angles and uneven phases."""
    turns = [k * math.pi / 5 for k in range(5)]
    parts = [
        ((u * math.cos(a) + v * math.sin(a)) * 0.9 * wave.frequency + (2 + 3 * k) * wave.phase + k * wave.other).sin()
        for k, a in enumerate(turns)
    ]
    return 0.7 * torch.stack(parts).sum(0)


SHAPES: dict[str, Shape] = {"disc": disc, "square": square, "triangle": triangle, "cross": cross, "ring": ring}
TEXTURES: dict[str, Texture] = {
    "striped": stripes,
    "checked": checks,
    "dotted": dots,
    "circled": circles,
    "netted": net,
    "zigzag": zigzag,
    "rayed": spokes,
    "bricked": bricks,
    "latticed": lattice,
    "blotched": blotches,
}
"""Adjective to texture: a class is a texture on a shape, such as ``striped disc``."""
