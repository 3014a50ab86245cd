"""What the sample site says: its projects, editions and people. All places, objects and scholars are invented."""

from __future__ import annotations

from dataclasses import dataclass

from .solids import Part, ball, box, cylinder, lathe, prism, pyramid, ring

SITE_TITLE = "Editions"
SITE_ABSTRACT = "Scholarly editions built around three-dimensional models, with their sources and their making."

# user, name, site role
PEOPLE = (
    ("root", "Ruth Oldenkamp", "root"),
    ("admin", "Adriaan Meijling", "admin"),
    ("organiser", "Olivia Ganzevoort", "user"),
    ("organiser2", "Otto Bruinsma", "user"),
    ("editor", "Edda van Loon", "user"),
    ("reader", "Ravi Sandhu", "user"),
    ("user", "Ursula Kist", "user"),
)


@dataclass(frozen=True, slots=True)
class Article:
    """A text about the model: `file` below `articles/`, `title`, paragraphs of plain text; the picture's caption."""

    file: str
    title: str
    paragraphs: tuple[str, ...]
    picture: str
    caption: str


@dataclass(frozen=True, slots=True)
class EditionText:
    """One edition: its model, what is said about it, whether it is published, and who edits and reads it."""

    slug: str
    title: str
    abstract: str
    subject: tuple[str, ...]
    period: str
    parts: tuple[Part, ...]
    articles: tuple[Article, ...]
    published: bool = True
    people: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectText:
    """One project: what is said about it, who organises it, its colours (dark, light), its editions."""

    slug: str
    title: str
    abstract: str
    creator: tuple[str, ...]
    place: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    editions: tuple[EditionText, ...]
    organiser: str = ""
    visible: bool = True


_STONE, _BRICK, _WOOD, _SLATE = (0.62, 0.58, 0.5), (0.45, 0.16, 0.1), (0.3, 0.18, 0.09), (0.1, 0.12, 0.15)
_GLAZE, _BLUE, _BRASS = (0.86, 0.84, 0.76), (0.06, 0.16, 0.42), (0.72, 0.5, 0.16)

# Radius and height in metres: up the outside, over the rim, down the inside.
# fmt: off
_BOWL_PROFILE = (
    (0, 0), (0.07, 0), (0.075, 0.012), (0.05, 0.03), (0.05, 0.045), (0.11, 0.07), (0.16, 0.115), (0.178, 0.16),
    (0.172, 0.163), (0.153, 0.12), (0.105, 0.078), (0.05, 0.056), (0, 0.052),
)
_JAR_PROFILE = (
    (0, 0), (0.062, 0), (0.066, 0.01), (0.055, 0.03), (0.07, 0.07), (0.066, 0.14), (0.07, 0.21), (0.052, 0.25),
    (0.06, 0.262), (0.06, 0.268), (0.048, 0.264), (0.064, 0.2), (0.06, 0.06), (0, 0.03),
)
# fmt: on

_OIL_MILL = EditionText(
    slug="oil-mill-of-sint-odulf",
    title="The Oil Mill of Sint-Odulf",
    abstract="A reconstruction of the oil mill at its third wheel, as the survey of 1641 describes it.",
    subject=("Water mills", "Oil pressing", "Building archaeology"),
    period="1600-1650 CE",
    parts=(
        Part("mill house", prism((8, 8.5, 6), 5), _BRICK),
        Part("lean-to", prism((4, 4, 4), 2.6), _WOOD, (-5.6, 0, 0)),
        Part("water wheel", cylinder(2.6, 0.9), _WOOD, (1.2, 2.4, 3.2), 90),
        Part("wheel shaft", cylinder(0.22, 3), _SLATE, (1.2, 2.4, 2.2), 90),
        Part("mill race", box((16, 0.3, 2.4)), (0.12, 0.24, 0.3), (0, -0.3, 4.3)),
    ),
    articles=(
        Article(
            "introduction.html",
            "A mill that moved three times",
            (
                "The oil mill of Sint-Odulf stood on three places within one century. Each time the polder board "
                "raised the summer level, the miller had to follow the fall of the water.",
                "This edition shows the third building, the only one of which a measured survey is left. The walls "
                "follow the survey to the foot; the roof is our proposal.",
            ),
            "view.png",
            "Height lines of the mill's yard, drawn from the survey's levels.",
        ),
        Article(
            "the-survey-of-1641.html",
            "The survey of 1641",
            (
                "Surveyor Jelmer Ottes measured with a rod of twelve feet, and rounded to half feet where the ground "
                "was wet. His two mistakes of addition are kept in our table, with the corrected sums beside them.",
                "Where plan and text disagree the model follows the text: it was read aloud to the miller, who "
                "signed it with his mark.",
            ),
            "plan.png",
            "The survey's three lines of levels, laid over each other.",
        ),
    ),
)

_LOCK_HOUSE = EditionText(
    slug="lock-keepers-house",
    title="The Lock Keeper’s House at Karnewetering",
    abstract="House, toll room and stable under one roof: how a family of lock keepers lived with the water.",
    subject=("Locks", "Vernacular architecture", "Toll registers"),
    period="1720-1790 CE",
    parts=(
        Part("house", prism((6, 7, 9), 3.4), _BRICK),
        Part("chimney", box((0.8, 2.2, 0.8)), _SLATE, (0, 6.2, -3)),
        Part("toll room", prism((3, 3.6, 3.2), 2.4), _GLAZE, (4.4, 0, 2)),
        Part("bollard", lathe([(0, 0), (0.3, 0), (0.24, 0.7), (0.34, 0.8), (0.3, 0.95), (0, 1)]), _STONE, (6, 0, 5.5)),
        Part("quay", box((16, 0.4, 14)), _STONE, (1, -0.4, 0)),
    ),
    articles=(
        Article(
            "introduction.html",
            "Living on the toll",
            (
                "From 1723 to 1788 the lock at Karnewetering was kept by four generations of the same family. The "
                "toll registers name every barge, its load, and the weather.",
                "The plan of the house can be read from the repair bills: a door moved, a stable floored, a window "
                "bricked up in the winter of 1740.",
            ),
            "view.png",
            "Barges per month in the toll registers, as bands.",
        ),
    ),
    published=False,
    people=(("editor", "editor"), ("reader", "reader")),
)

_BOWL = EditionText(
    slug="footed-bowl-hs-17",
    title="The Footed Bowl HS 17",
    abstract="A tin-glazed bowl put together from nineteen sherds, with the missing quarter shown as missing.",
    subject=("Ceramics", "Tin glaze", "Conservation"),
    period="1650-1680 CE",
    parts=(
        Part(
            "bowl",
            lathe(_BOWL_PROFILE),
            _GLAZE,
        ),
        Part("painted band", ring(0.1745, 0.008), _BLUE, (0, 0.148, 0)),
    ),
    articles=(
        Article(
            "introduction.html",
            "Nineteen sherds",
            (
                "Bowl HS 17 came out of the pit behind the Haverstraat in nineteen pieces, from three layers. That "
                "alone shows how often the pit was dug up again.",
                "The model closes the gaps with a plain surface. Where the profile is certain we say so; the rim's "
                "missing quarter could have had a spout.",
            ),
            "view.png",
            "Thickness of the wall, from thin (light) to thick (dark).",
        ),
        Article(
            "glaze-and-kiln.html",
            "Glaze and kiln",
            (
                "Three spur marks on the foot tell that the bowl was fired upright, on a stand, with others above it.",
                "A drop of blue on the unpainted side fell from the vessel above: two bowls of one firing, bought "
                "together, thrown away together.",
            ),
            "détail du pied.png",
            "Detail of the foot with its spur marks.",
        ),
    ),
)

_JAR = EditionText(
    slug="apothecary-jar-hs-42",
    title="The Apothecary’s Jar HS 42",
    abstract="An albarello whose label was painted over: two names, two owners, one jar.",
    subject=("Ceramics", "History of pharmacy", "Inscriptions"),
    period="1660-1700 CE",
    parts=(
        Part(
            "jar",
            lathe(_JAR_PROFILE),
            _GLAZE,
        ),
        Part("upper band", ring(0.0692, 0.006), _BLUE, (0, 0.2, 0)),
        Part("lower band", ring(0.0692, 0.006), _BLUE, (0, 0.08, 0)),
    ),
    articles=(
        Article(
            "introduction.html",
            "Two labels",
            (
                "Under raking light the jar shows a second inscription below the first. The older one names a "
                "theriac, the younger a plain honey of roses.",
                "We give both readings as layers of the model. Neither can be dated to the year; the hand of the "
                "younger one also wrote the inventory of 1694.",
            ),
            "view.png",
            "Depth of the glaze where the two labels overlap.",
        ),
    ),
)

_ARMILLARY = EditionText(
    slug="brass-armillary-sphere",
    title="The Brass Armillary Sphere",
    abstract="Five rings and a ball: a teaching instrument, measured, with the errors of its divisions.",
    subject=("Astronomy", "Scientific instruments", "Teaching"),
    period="1740-1760 CE",
    parts=(
        Part("earth", ball(0.09), (0.1, 0.25, 0.4), (0, 0.75, 0)),
        Part("equator", ring(0.4, 0.024), _BRASS, (0, 0.75, 0), metal=0.6),
        Part("ecliptic", ring(0.38, 0.03), _BRASS, (0, 0.75, 0), 23.5, metal=0.6),
        Part("meridian", ring(0.44, 0.03), _BRASS, (0, 0.75, 0), 90, metal=0.6),
        Part(
            "stand", lathe([(0, 0), (0.2, 0), (0.21, 0.03), (0.05, 0.07), (0.03, 0.2), (0.05, 0.29), (0, 0.3)]), _WOOD
        ),
    ),
    articles=(
        Article(
            "introduction.html",
            "Divided by hand",
            (
                "The rings carry 360 divisions each, cut by hand. Their mean error is a fifth of a degree: good "
                "enough for the lecture room, not for the tower.",
                "All 1,800 marks were measured on the model; the table can be loaded and used.",
            ),
            "view.png",
            "Errors of the divisions around the equator ring.",
        ),
    ),
    published=False,
)

_MARK = EditionText(
    slug="meridian-mark-at-wierhuizen",
    title="The Meridian Mark at Wierhuizen",
    abstract="A brick pillar in a meadow, built so that the telescope a mile away would know where south is.",
    subject=("Astronomy", "Monuments", "Photogrammetry"),
    period="1765-1770 CE",
    parts=(
        Part("steps", box((3, 0.4, 3)), _STONE),
        Part("base", box((1.8, 1, 1.8)), _BRICK, (0, 0.4, 0)),
        Part("pillar", box((1.1, 4.2, 1.1)), _BRICK, (0, 1.4, 0)),
        Part("point", pyramid(1.3, 1.6), _SLATE, (0, 5.6, 0)),
        Part("sighting ball", ball(0.16), _BRASS, (0, 7.3, 0), metal=0.6),
    ),
    articles=(
        Article(
            "introduction.html",
            "A pillar for one line",
            (
                "Only one face of the pillar was ever used: the white stripe that the observer saw twice a day when "
                "he set his instrument.",
                "The pillar has sunk by eleven centimetres and leans to the west. The model can be set upright; the "
                "difference is the edition's argument.",
            ),
            "view.png",
            "How the pillar leans: distance from the plumb line.",
        ),
    ),
)

PROJECTS = (
    ProjectText(
        slug="drowned-mills-of-oudewaarde",
        title="The Drowned Mills of Oudewaarde",
        abstract="Water mills and locks of a polder that was given up, rebuilt from surveys, bills and toll registers.",
        creator=("Olivia Ganzevoort", "Edda van Loon"),
        place="Oudewaarde",
        colours=((38, 70, 83), (233, 214, 156)),
        editions=(_OIL_MILL, _LOCK_HOUSE),
        organiser="organiser",
    ),
    ProjectText(
        slug="table-for-twelve",
        title="A Table for Twelve: Ceramics from the Haverstraat Pit",
        abstract="One household's broken dishes, from a pit that was filled within a generation.",
        creator=("Otto Bruinsma",),
        place="Haverstraat",
        colours=((74, 50, 46), (238, 222, 205)),
        editions=(_BOWL, _JAR),
        organiser="organiser2",
    ),
    ProjectText(
        slug="instruments-of-wierhuizen",
        title="Instruments of the Wierhuizen Observatory",
        abstract="What is left of a country observatory: one instrument, one pillar, and a ledger of nights.",
        creator=("Ruth Oldenkamp", "Adriaan Meijling"),
        place="Wierhuizen",
        colours=((35, 39, 65), (214, 203, 178)),
        editions=(_ARMILLARY, _MARK),
        visible=False,
    ),
)
