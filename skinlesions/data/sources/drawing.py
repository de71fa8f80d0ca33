"""The images of the synthetic sample: drawn, not photographed.

A lesion is painted once on a canvas of skin and photographed one or more times, each time turned, shifted and lit
differently and under other hairs. Classes differ in colour, border, symmetry and structures as textbooks describe them,
with enough overlap that no model gets all of them right. Structures are coarse enough to outlive small images.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 240, 180

# The canvas holds the frame of every photograph, however it is turned and shifted.
CANVAS = 360

Colour = tuple[float, float, float]
Range = tuple[float, float]

TAN: Colour = (0.66, 0.47, 0.36)
LIGHT_BROWN: Colour = (0.58, 0.39, 0.29)
BROWN: Colour = (0.45, 0.28, 0.20)
DARK_BROWN: Colour = (0.29, 0.17, 0.13)
BLUE_GREY: Colour = (0.40, 0.41, 0.50)
GREY_BROWN: Colour = (0.55, 0.46, 0.42)
PINK: Colour = (0.80, 0.54, 0.52)
RED: Colour = (0.71, 0.40, 0.38)
DARK_RED: Colour = (0.50, 0.14, 0.20)
PURPLE: Colour = (0.40, 0.18, 0.32)
WHITE: Colour = (0.93, 0.87, 0.84)
YELLOW_WHITE: Colour = (0.93, 0.84, 0.70)
VESSEL_RED: Colour = (0.62, 0.16, 0.19)

# What a photograph's channels are multiplied by: with the usual dermatoscope, and in the clinic whose nevi were
# followed up instead of excised. As in HAM10000, that says more about the diagnosis than a lesion does.
USUAL: Colour = (1.0, 1.0, 1.0)
FOLLOW_UP: Colour = (1.04, 0.90, 0.86)


@dataclass(frozen=True)
class Look:
    """What lesions of a class look like. Every lesion draws its own values from these ranges (least, most)."""

    colours: tuple[Colour, ...]  # the first is the main one
    structures: Mapping[str, float]  # of STRUCTURES: how often a lesion has them
    variegation: Range  # how far the other colours come in
    asymmetry: Range  # how much darker one half is
    radius: Range  # in pixels
    irregularity: Range  # of the border, as a share of the radius
    softness: Range  # width of the border, as a share of the radius
    opacity: Range  # of the lesion on the skin


LOOKS = {
    "akiec": Look(
        (RED, PINK, TAN), {"follicles": 0.9, "scales": 0.5, "vessels": 0.05},
        (0.3, 0.8), (0.0, 0.3), (40, 75), (0.08, 0.2), (0.2, 0.4), (0.4, 0.75),
    ),
    "bcc": Look(
        (PINK, RED, TAN), {"vessels": 0.9, "nests": 0.75, "scales": 0.05, "scar": 0.05},
        (0.2, 0.7), (0.0, 0.3), (35, 70), (0.06, 0.18), (0.1, 0.3), (0.5, 0.85),
    ),
    "bkl": Look(
        (LIGHT_BROWN, TAN, GREY_BROWN, DARK_BROWN), {"cysts": 0.9, "globules": 0.1, "network": 0.1, "scales": 0.1},
        (0.3, 0.8), (0.0, 0.3), (35, 75), (0.06, 0.18), (0.04, 0.14), (0.6, 0.95),
    ),
    "df": Look(
        (TAN, LIGHT_BROWN, PINK), {"scar": 0.95, "network": 0.5, "vessels": 0.05},
        (0.2, 0.6), (0.0, 0.15), (35, 65), (0.03, 0.1), (0.25, 0.45), (0.6, 0.9),
    ),
    "mel": Look(
        (BROWN, DARK_BROWN, BLUE_GREY, RED), {"veil": 0.85, "globules": 0.75, "network": 0.3, "scar": 0.05},
        (0.4, 0.9), (0.15, 0.5), (40, 75), (0.1, 0.26), (0.06, 0.25), (0.7, 0.98),
    ),
    "nv": Look(
        (BROWN, LIGHT_BROWN, DARK_BROWN), {"network": 0.85, "globules": 0.1, "veil": 0.03, "cysts": 0.03},
        (0.1, 0.6), (0.0, 0.2), (25, 65), (0.03, 0.15), (0.08, 0.4), (0.5, 0.95),
    ),
    "vasc": Look(
        (DARK_RED, RED, PURPLE), {"lacunae": 0.95, "scales": 0.05},
        (0.3, 0.9), (0.0, 0.2), (25, 55), (0.04, 0.14), (0.06, 0.22), (0.6, 0.95),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Lesion:
    """A lesion's place on the canvas.

    Attributes:
        distance: of every pixel from the centre, as a share of the border's distance in that direction; float32.
        mask: how far each pixel is of the lesion: 1 inside, 0 outside; float32.
        radius: in pixels.
    """

    distance: np.ndarray
    mask: np.ndarray
    radius: float


def paint(look: Look, random: np.random.Generator) -> Image.Image:
    """A lesion in the middle of a square canvas of skin, RGB."""
    pixels, lesion = _skin(random), _place(look, random)
    pixels = _blend(pixels, random.uniform(*look.opacity) * lesion.mask, _pigment(look, lesion, random))
    for name, draw in STRUCTURES.items():
        if random.uniform() < look.structures.get(name, 0.0):
            share, colour = draw(lesion, random)
            pixels = _blend(pixels, share * lesion.mask, colour)
    return _picture(pixels)


def photographed(canvas: Image.Image, random: np.random.Generator, tint: Colour = USUAL) -> Image.Image:
    """The canvas turned, shifted, scaled, under hairs and lit from somewhere, WIDTH x HEIGHT, RGB."""
    angle, scale = random.uniform(0, 2 * math.pi), random.uniform(0.9, 1.1)
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    x, y = CANVAS / 2 + random.uniform(-10, 10, 2)
    left, top = x - cosine * WIDTH / 2 + sine * HEIGHT / 2, y - sine * WIDTH / 2 - cosine * HEIGHT / 2
    frame = (cosine, -sine, left, sine, cosine, top)
    turned = canvas.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, frame, Image.Resampling.BICUBIC)
    pixels = np.asarray(turned, "float32") / 255
    if random.uniform() < 0.2:
        shade = np.array(DARK_BROWN) * random.uniform(0.5, 1.2)
        pixels = _blend(pixels, random.uniform(0.6, 0.9) * _hairs(random), shade)

    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype("float32")
    x, y = (columns - WIDTH / 2) / HEIGHT, (rows - HEIGHT / 2) / HEIGHT
    slope, fall = random.normal(0, 0.05, 2), random.uniform(0, 0.6)
    distance = np.hypot(x, y)
    light = random.normal(1, 0.02) * (1 + slope[0] * x + slope[1] * y) - fall * np.clip(distance - 0.25, 0, None) ** 2
    if random.uniform() < 0.08:  # the dark rim of a contact plate
        light *= _between(random.uniform(0.62, 0.77) - distance, 0, 0.05)
    cast = np.array(tint) * random.normal(1, 0.01, 3)
    return _picture(pixels * (light[..., None] * cast) + random.normal(0, 0.01, pixels.shape))


# --- a lesion ---------------------------------------------------------------------------------------------------


def _skin(random: np.random.Generator) -> np.ndarray:
    """Skin of some tone, a little blotchy; float32 [CANVAS, CANVAS, 3]."""
    tone, pinkness = random.uniform(size=2)
    skin = (1 - tone) * np.array([0.87, 0.73, 0.70]) + tone * np.array([0.76, 0.58, 0.54]) - [0, 0.07 * pinkness, 0]
    blotches = 0.03 * _noise(random, 5)[..., None] * np.array([0.6, 1.0, 1.0], "float32")
    return skin.astype("float32") + blotches + 0.015 * _noise(random, 50)[..., None]


def _place(look: Look, random: np.random.Generator) -> Lesion:
    """A lesion's outline: an ellipse with waves and jags."""
    radius, irregularity, softness, stretch = (
        random.uniform(*span) for span in (look.radius, look.irregularity, look.softness, (0.75, 1.0))
    )
    y, x = _GRID
    angle, border = np.arctan2(y, x * stretch), np.ones_like(x)
    for order in range(2, 7):
        height, phase = random.uniform(0.3, 1) * irregularity / order, random.uniform(0, 2 * math.pi)
        border = border + height * np.cos(order * angle + phase)
    distance = np.hypot(x * stretch, y) / (radius * border)
    distance += irregularity * (0.5 * _noise(random, 10) + 0.35 * _noise(random, 28))
    return Lesion(distance, 1 - _between(distance, 1 - softness, 2 * softness), radius)


def _pigment(look: Look, lesion: Lesion, random: np.random.Generator) -> np.ndarray:
    """The colours of a lesion: the main one with patches of the others, darker on one side and towards the middle."""
    colours = np.array(look.colours) + random.normal(0, 0.02, (len(look.colours), 3))
    pixels = np.ones((CANVAS, CANVAS, 3), "float32") * colours[0].astype("float32")
    variegation = random.uniform(*look.variegation)
    for colour in colours[1:]:
        share = variegation * random.uniform(0.3, 1) * _between(_noise(random, 8), random.uniform(-0.4, 0.5), 1.0)
        pixels = _blend(pixels, share, colour)
    y, x = _GRID
    side, asymmetry = random.uniform(0, 2 * math.pi), random.uniform(*look.asymmetry)
    across = (math.cos(side) * x + math.sin(side) * y) / lesion.radius
    shade = 1 - asymmetry * np.clip(across, -1, 1) + random.uniform(-0.25, 0.15) * np.clip(1 - lesion.distance, 0, 1)
    return pixels * shade[..., None]


# --- its structures: how much of every pixel they cover, and in which colour -------------------------------------


def _network(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """A dark mesh, here and there."""
    patchy = _between(_noise(random, 5), random.uniform(-1.5, -0.5), 1.0)
    return random.uniform(0.4, 0.75) * patchy * _mesh(random), DARK_BROWN


def _follicles(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Pale holes in red skin."""
    return random.uniform(0.4, 0.8) * (1 - _mesh(random)) ** 2, YELLOW_WHITE


def _globules(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Dark dots."""
    return 0.85 * _dots(random, (12, 40), lesion.radius, (2, 5), 0.9), DARK_BROWN


def _cysts(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """White dots, as in seborrhoeic keratosis."""
    return 0.85 * _dots(random, (10, 35), lesion.radius, (2, 5), 0.9), YELLOW_WHITE


def _nests(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Blue-grey ovals."""
    dots = _dots(random, (4, 12), 0.9 * lesion.radius, (5, 11), 1.5)
    return random.uniform(0.6, 0.9) * dots, BLUE_GREY


def _lacunae(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Red to purple lakes."""
    dots = _dots(random, (8, 22), 0.75 * lesion.radius, (5, 11), 1.2)
    return 0.85 * dots, DARK_RED if random.uniform() < 0.5 else PURPLE


def _veil(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """A blue-white area off the middle."""
    area = _between(1.3 - lesion.distance, 0, 0.6) * _between(_noise(random, 5), random.uniform(-0.5, 0.3), 0.9)
    return random.uniform(0.45, 0.8) * area, BLUE_GREY


def _scar(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """A white centre."""
    centre = np.exp(-((np.clip(lesion.distance, 0, 4) / random.uniform(0.35, 0.55)) ** 2))
    return random.uniform(0.5, 0.85) * centre * (1 + 0.3 * _noise(random, 12)), WHITE


def _scales(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Yellow-white flakes."""
    flakes = _between(_noise(random, 30) + 0.8 * _noise(random, 8), random.uniform(0.7, 1.3), 0.7)
    return random.uniform(0.5, 0.8) * flakes, YELLOW_WHITE


def _vessels(lesion: Lesion, random: np.random.Generator) -> tuple[np.ndarray, Colour]:
    """Branching lines that wander over the lesion."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    branches = []
    for _ in range(random.integers(4, 9)):
        x, y = CANVAS / 2 + random.normal(0, 0.5 * lesion.radius, 2)
        branches.append((x, y, random.uniform(0, 2 * math.pi), random.uniform(3, 5), 0))
    while branches:
        x, y, direction, width, depth = branches.pop()
        points = [(x, y)]
        for _ in range(random.integers(8, 18)):
            direction += random.normal(0, 0.35)
            x, y = x + 3 * math.cos(direction), y + 3 * math.sin(direction)
            points.append((x, y))
            if depth < 2 and random.uniform() < 0.15:
                branches.append((x, y, direction + random.choice([-0.8, 0.8]), 0.7 * width, depth + 1))
        draw.line(points, fill=255, width=max(round(width), 1), joint="curve")
    return random.uniform(0.6, 0.9) * _field(layer, 0.6), VESSEL_RED


# In the order in which they lie on each other.
STRUCTURES: dict[str, Callable[[Lesion, np.random.Generator], tuple[np.ndarray, Colour]]] = {
    "network": _network,
    "follicles": _follicles,
    "globules": _globules,
    "lacunae": _lacunae,
    "nests": _nests,
    "veil": _veil,
    "scar": _scar,
    "cysts": _cysts,
    "scales": _scales,
    "vessels": _vessels,
}


# --- what they are made of --------------------------------------------------------------------------------------

# y and x of every pixel of the canvas, from its centre.
_GRID = np.mgrid[:CANVAS, :CANVAS].astype("float32") - CANVAS / 2


def _noise(random: np.random.Generator, waves: int) -> np.ndarray:
    """Smooth noise with about `waves` bumps across the canvas, mean 0, standard deviation about 1; float32."""
    side = waves + 3
    grid = Image.fromarray(1.4 * random.standard_normal((side, side), "float32"))
    # The box cuts the rim, where the interpolation has no neighbours.
    smooth = grid.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC, box=(1, 1, side - 1, side - 1))
    return np.asarray(smooth)


def _between(values: np.ndarray, low: float, width: float) -> np.ndarray:
    """0 up to `low`, 1 from `low + width`, linear between."""
    return np.clip((values - low) / width, 0, 1)


def _blend(pixels: np.ndarray, share: np.ndarray, colour: np.ndarray | Colour) -> np.ndarray:
    """`pixels` [..., 3], of which `share` [...] is replaced by `colour`."""
    return pixels + np.clip(share, 0, 1)[..., None] * (np.asarray(colour, "float32") - pixels)


def _mesh(random: np.random.Generator) -> np.ndarray:
    """A warped honeycomb: 1 on its lines, 0 in its holes."""
    y, x = _GRID
    x, y = x + 2.5 * _noise(random, 14), y + 2.5 * _noise(random, 14)
    frequency, turn = 2 * math.pi / random.uniform(8, 11), random.uniform(0, math.pi)
    turns = [turn + third * math.pi / 3 for third in range(3)]
    waves = sum(np.cos(frequency * (math.cos(turn) * x + math.sin(turn) * y)) for turn in turns)
    return 1 - _between(waves, -1.2, 2.2)


def _dots(random: np.random.Generator, count: tuple[int, int], spread: float, radius: Range, blur: float) -> np.ndarray:
    """Ellipses around the centre of the canvas, 1 inside; `count` and `radius` are ranges."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    for _ in range(random.integers(*count)):
        (x, y), (a, b) = CANVAS / 2 + random.normal(0, 0.5 * spread, 2), random.uniform(*radius, 2)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=int(random.uniform(180, 255)))
    return _field(layer, blur)


def _hairs(random: np.random.Generator) -> np.ndarray:
    """Slightly bent lines across the photograph, roughly in one direction."""
    layer = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(layer)
    main, steps = random.uniform(0, 2 * math.pi), np.linspace(-0.5, 0.5, 24)
    for _ in range(random.integers(3, 14)):
        direction, length, bend = main + random.normal(0, 0.5), random.uniform(60, 220), random.normal(0, 120)
        along = np.array([math.cos(direction), math.sin(direction)])
        curve = np.outer(steps * length, along) + np.outer(steps**2 * bend, along[::-1] * [-1, 1])
        curve += random.uniform(0, 1, 2) * [WIDTH, HEIGHT]
        draw.line([tuple(point) for point in curve], fill=255, width=int(random.integers(1, 3)), joint="curve")
    return _field(layer, 0.5)


def _field(layer: Image.Image, blur: float) -> np.ndarray:
    """An 8-bit layer, blurred, as float32 between 0 and 1."""
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(blur)), "float32") / 255


def _picture(pixels: np.ndarray) -> Image.Image:
    """`pixels` from 0 to 1, as an 8-bit picture."""
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype("uint8"))
