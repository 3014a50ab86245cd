"""The Voyager scene (`scene.svx.json`) of a sample edition: one model, four lights, its articles and one annotation.

Source: Smithsonian dpo-voyager, `source/client/schema/json/*.schema.json` (document, setup, model, meta), version 1.0.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from .solids import bounds
from .texts import EditionText

_LIGHTS = (
    ("Key", [0.4829741, -0.1070728, 0.1880998, 0.8484633], [1, 0.95, 0.9], 1.0),
    ("Fill #1", [0.3546969, 0.163893, -0.3861077, 0.8356136], [0.9, 0.95, 1], 0.7),
    ("Fill #2", [0.9374013, -0.3018693, 0.0532277, 0.1652891], [0.8, 0.85, 1], 0.5),
    ("Rim", [0.373256, 0.6426073, -0.5786063, 0.3360813], [0.85, 0.9078313, 1], 0.6),
)


def scene(edition: EditionText, model_size: int) -> bytes:
    """The document, as bytes; `model_size` is that of the model's file."""
    low, high = bounds(edition.parts)
    reach = math.dist(low, high)
    centre = [round((a + b) / 2, 6) for a, b in zip(low, high, strict=True)]
    eye = [centre[0], round(centre[1] + reach / 3, 6), round(centre[2] + reach * 1.3, 6)]
    lamps = range(2, 2 + len(_LIGHTS))
    document = {
        "asset": {
            "type": "application/si-dpo-3d.document+json",
            "version": "1.0",
            "generator": "Voyager",
        },
        "scene": 0,
        "scenes": [{"units": "m", "name": "Scene", "nodes": [0, 1, lamps[-1] + 1], "setup": 0, "meta": 0}],
        "nodes": [
            {"name": "Camera", "translation": eye, "rotation": [-0.1253332, 0, 0, 0.9921147], "camera": 0},
            {"name": "Lights", "children": list(lamps)},
            *({"name": name, "rotation": turn, "light": i} for i, (name, turn, _, _) in enumerate(_LIGHTS)),
            {"name": edition.title, "model": 0, "meta": 1},
        ],
        "cameras": [
            {
                "type": "perspective",
                "perspective": {"yfov": 52, "znear": round(reach / 100, 6), "zfar": round(reach * 100, 6)},
            }
        ],
        "lights": [
            {"type": "directional", "color": colour, "intensity": strength} for _, _, colour, strength in _LIGHTS
        ],
        "models": [_model(edition, model_size, low, high)],
        "metas": [{"collection": {"titles": {"EN": edition.title}}}, _articles(edition)],
        "setups": [_setup(centre, reach)],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _model(edition: EditionText, size: int, low: Any, high: Any) -> dict[str, Any]:
    top = [round((low[0] + high[0]) / 2, 6), high[1], round((low[2] + high[2]) / 2, 6)]
    faces = sum(len(part.mesh.triangles) for part in edition.parts)
    asset = {
        "uri": f"{edition.slug}.glb",
        "type": "Model",
        "mimeType": "model/gltf-binary",
        "byteSize": size,
        "numFaces": faces,
    }
    return {
        "units": "m",
        "boundingBox": {"min": list(low), "max": list(high)},
        "derivatives": [{"usage": "Web3D", "quality": "High", "assets": [asset]}],
        "annotations": [
            {
                "id": mark(edition, "annotation"),
                "titles": {"EN": edition.articles[0].title},
                "leads": {"EN": edition.abstract},
                "articleId": mark(edition, edition.articles[0].file),
                "style": "Extended",
                "position": top,
                "direction": [0, 1, 0],
                "color": [0, 0.61, 0.87],
            }
        ],
    }


def _articles(edition: EditionText) -> dict[str, Any]:
    return {
        "collection": {"titles": {"EN": edition.title}},
        "articles": [
            {
                "id": mark(edition, article.file),
                "uris": {"EN": f"articles/{article.file}"},
                "titles": {"EN": article.title},
                "leads": {"EN": article.paragraphs[0]},
            }
            for article in edition.articles
        ],
        "leadArticle": 0,
    }


def _setup(centre: list[float], reach: float) -> dict[str, Any]:
    return {
        "units": "m",
        "interface": {"visible": True, "logo": False, "menu": True, "tools": True},
        "viewer": {"shader": "Default", "exposure": 1, "gamma": 2, "annotationsVisible": True},
        "reader": {"enabled": False, "position": "Right"},
        "navigation": {
            "type": "Orbit",
            "enabled": True,
            "autoZoom": True,
            "lightsFollowCamera": True,
            "orbit": {"orbit": [-20, 30, 0], "offset": [centre[0], centre[1], round(reach * 1.3, 6)]},
        },
        "background": {"style": "RadialGradient", "color0": [0.2, 0.25, 0.3], "color1": [0.01, 0.03, 0.05]},
        "language": {"language": "EN"},
    }


def mark(edition: EditionText, what: str) -> str:
    """A short id, as Voyager gives to articles and annotations; always the same for the same thing."""
    return hashlib.sha256(f"{edition.slug}/{what}".encode()).hexdigest()[:12]
