"""Small solids made by code, and the binary glTF file (`.glb`) that holds them.

Rules:

- The same calls give the same bytes: coordinates are rounded before they become 32-bit floats.
- Triangles run counter-clockwise seen from outside, and each vertex has the normal of its surface.
- Metres, y upwards, as glTF has it.

>>> glb("cube", [Part("cube", box((1, 1, 1)), (0.8, 0.2, 0.1))])[:4]
b'glTF'

Source: glTF 2.0 specification, chapters 3 (geometry) and 4 (GLB container), https://registry.khronos.org/glTF/specs/2.0/
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Point = tuple[float, float, float]

_FLOAT, _UINT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_SHARP = math.cos(math.radians(40))


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles: three indices each into `points` and their `normals`."""

    points: tuple[Point, ...]
    normals: tuple[Point, ...]
    triangles: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a model: its mesh, its colour (linear, 0 to 1), where it stands, and its turn about the x axis."""

    name: str
    mesh: Mesh
    colour: Point
    at: Point = (0.0, 0.0, 0.0)
    tilt_degrees: float = 0.0
    metal: float = 0.0


def flat(polygons: Sequence[Sequence[Point]]) -> Mesh:
    """A solid of plane faces, each a convex polygon given counter-clockwise seen from outside."""
    points: list[Point] = []
    normals: list[Point] = []
    triangles: list[tuple[int, int, int]] = []
    for polygon in polygons:
        first = len(points)
        points.extend(_rounded(point) for point in polygon)
        normals.extend([_normal(polygon[0], polygon[1], polygon[2])] * len(polygon))
        triangles.extend((first, first + i, first + i + 1) for i in range(1, len(polygon) - 1))
    return Mesh(tuple(points), tuple(normals), tuple(triangles))


def box(size: Point) -> Mesh:
    """A box standing on the ground, its base centred."""
    return prism(size, size[1])


def prism(size: Point, eaves: float) -> Mesh:
    """A house shape: walls up to `eaves`, then a gable roof up to `size[1]`; `eaves` equal to the height is a box."""
    x, top, z = size[0] / 2, size[1], size[2] / 2
    ridge = 0.0 if eaves < top else x
    faces: list[list[Point]] = [
        [(-x, 0, -z), (x, 0, -z), (x, 0, z), (-x, 0, z)],
        [(x, 0, z), (x, 0, -z), (x, eaves, -z), (x, eaves, z)],
        [(-x, 0, -z), (-x, 0, z), (-x, eaves, z), (-x, eaves, -z)],
        [(-x, 0, z), (x, 0, z), (x, eaves, z), (ridge, top, z), (-ridge, top, z), (-x, eaves, z)],
        [(x, 0, -z), (-x, 0, -z), (-x, eaves, -z), (-ridge, top, -z), (ridge, top, -z), (x, eaves, -z)],
    ]
    if ridge:
        faces.append([(-x, top, z), (x, top, z), (x, top, -z), (-x, top, -z)])
    else:
        faces.append([(x, eaves, z), (x, eaves, -z), (0, top, -z), (0, top, z)])
        faces.append([(-x, eaves, -z), (-x, eaves, z), (0, top, z), (0, top, -z)])
    return flat([_without_repeats(face) for face in faces])


def pyramid(width: float, height: float) -> Mesh:
    """A square pyramid standing on the ground."""
    w, tip = width / 2, (0.0, height, 0.0)
    ground: list[Point] = [(-w, 0, -w), (w, 0, -w), (w, 0, w), (-w, 0, w)]
    return flat([ground, *([ground[(i + 1) % 4], ground[i], tip] for i in range(4))])


def lathe(profile: Sequence[tuple[float, float]], sides: int = 48) -> Mesh:
    """A body of rotation about the y axis: `profile` runs along its outside, upwards, as (radius, height).

    Neighbouring stretches of the profile that meet at less than 40 degrees are shaded as one smooth surface.
    """
    stretches = list(pairwise(profile))
    own = [_unit2((b[1] - a[1], a[0] - b[0])) for a, b in stretches]
    points: list[Point] = []
    normals: list[Point] = []
    triangles: list[tuple[int, int, int]] = []
    for i, (low, high) in enumerate(stretches):
        start = len(points)
        before = _smooth(own[i], own[i - 1]) if i else own[i]
        after = _smooth(own[i], own[i + 1]) if i + 1 < len(own) else own[i]
        for (radius, height), (out, up) in ((low, before), (high, after)):
            for side in range(sides + 1):
                turn = 2 * math.pi * side / sides
                points.append(_rounded((radius * math.cos(turn), height, radius * math.sin(turn))))
                normals.append(_rounded((out * math.cos(turn), up, out * math.sin(turn))))
        for side in range(sides):
            a, b = start + side, start + sides + 1 + side
            triangles += [(a, b, a + 1)] if low[0] else []
            triangles += [(a + 1, b, b + 1)] if high[0] else []
    return Mesh(tuple(points), tuple(normals), tuple(triangles))


def cylinder(radius: float, height: float) -> Mesh:
    """A cylinder standing on the ground."""
    return lathe([(0, 0), (radius, 0), (radius, height), (0, height)])


def ball(radius: float) -> Mesh:
    """A ball about the origin."""
    return lathe(_arc(0, radius, 24, half=True))


def ring(radius: float, thickness: float) -> Mesh:
    """A ring about the y axis, its tube `thickness` wide."""
    return lathe(_arc(radius, thickness / 2, 16, half=False))


def bounds(parts: Sequence[Part]) -> tuple[Point, Point]:
    """The corners of the box around all parts, as they stand."""
    placed = [_placed(point, part) for part in parts for point in part.mesh.points]
    low, high = ([f(axis) for axis in zip(*placed, strict=True)] for f in (min, max))
    return _rounded((low[0], low[1], low[2])), _rounded((high[0], high[1], high[2]))


def glb(name: str, parts: Sequence[Part]) -> bytes:
    """The binary glTF 2.0 file of a model: header, JSON chunk padded with spaces, BIN chunk padded with zeros."""
    binary = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add(data: bytes, target: int, accessor: dict[str, Any]) -> int:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target})
        accessors.append({"bufferView": len(views) - 1, **accessor})
        binary.extend(data)
        return len(accessors) - 1

    meshes = []
    for number, part in enumerate(parts):
        mesh = part.mesh
        flat_indices = [index for triangle in mesh.triangles for index in triangle]
        low, high = ([f(axis) for axis in zip(*mesh.points, strict=True)] for f in (min, max))
        vectors = {"componentType": _FLOAT, "count": len(mesh.points), "type": "VEC3"}
        scalars = {"componentType": _UINT, "count": len(flat_indices), "type": "SCALAR"}
        primitive = {
            "attributes": {
                "POSITION": add(
                    _floats(mesh.points), _VERTICES, {**vectors, "min": _single(low), "max": _single(high)}
                ),
                "NORMAL": add(_floats(mesh.normals), _VERTICES, vectors),
            },
            "indices": add(struct.pack(f"<{len(flat_indices)}I", *flat_indices), _INDICES, scalars),
            "material": number,
        }
        meshes.append({"name": part.name, "primitives": [primitive]})
    document = {
        "asset": {"version": "2.0", "generator": "Keyframe sample"},
        "scene": 0,
        "scenes": [{"name": name, "nodes": list(range(len(parts)))}],
        "nodes": [_node(number, part) for number, part in enumerate(parts)],
        "meshes": meshes,
        "materials": [_material(part) for part in parts],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return _container(json.dumps(document, separators=(",", ":")).encode(), bytes(binary))


def _container(document: bytes, binary: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(document), b"JSON") + document
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _node(number: int, part: Part) -> dict[str, Any]:
    half = math.radians(part.tilt_degrees) / 2
    node: dict[str, Any] = {"name": part.name, "mesh": number, "translation": list(part.at)}
    if part.tilt_degrees:
        node["rotation"] = [round(math.sin(half), 7), 0.0, 0.0, round(math.cos(half), 7)]
    return node


def _material(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "doubleSided": True,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*part.colour, 1.0],
            "metallicFactor": part.metal,
            "roughnessFactor": 0.45 if part.metal else 0.85,
        },
    }


def _placed(point: Point, part: Part) -> Point:
    x, y, z = point
    c, s = math.cos(math.radians(part.tilt_degrees)), math.sin(math.radians(part.tilt_degrees))
    return x + part.at[0], y * c - z * s + part.at[1], y * s + z * c + part.at[2]


def _arc(radius: float, tube: float, steps: int, *, half: bool) -> list[tuple[float, float]]:
    span = math.pi if half else 2 * math.pi
    turns = (-math.pi / 2 + span * step / steps for step in range(steps + 1))
    return [(abs(round(radius + tube * math.cos(turn), 6)), round(tube * math.sin(turn), 6)) for turn in turns]


def _floats(points: Sequence[Point]) -> bytes:
    return b"".join(struct.pack("<3f", *point) for point in points)


def _single(values: Sequence[float]) -> list[float]:
    # min and max must be what a reader finds in the 32-bit data, not the double they came from.
    return [struct.unpack("<f", struct.pack("<f", value))[0] for value in values]


def _rounded(point: Point) -> Point:
    return round(point[0], 6) + 0.0, round(point[1], 6) + 0.0, round(point[2], 6) + 0.0


def _normal(a: Point, b: Point, c: Point) -> Point:
    (ux, uy, uz), (vx, vy, vz) = ((p[0] - a[0], p[1] - a[1], p[2] - a[2]) for p in (b, c))
    n = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    length = math.hypot(*n)
    return _rounded((n[0] / length, n[1] / length, n[2] / length))


def _without_repeats(polygon: Sequence[Point]) -> list[Point]:
    return [point for i, point in enumerate(polygon) if point != polygon[i - 1]]


def _unit2(vector: tuple[float, float]) -> tuple[float, float]:
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length


def _smooth(own: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    if own[0] * other[0] + own[1] * other[1] < _SHARP:
        return own
    return _unit2((own[0] + other[0], own[1] + other[1]))
