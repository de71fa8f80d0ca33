"""The images of the synthetic sample: drawn, not photographed.

A lesion is painted once on a canvas of skin and photographed one or more times, each time turned, shifted and lit
differently. Classes differ in colour, border and structures as textbooks describe them, with enough overlap that no
model gets all of them right.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 320, 240

# The canvas holds the frame of every photograph, however it is turned and shifted.
CANVAS = 480

Colour = tuple[float, float, float]

TAN: Colour = (0.66, 0.47, 0.36)
LIGHT_BROWN: Colour = (0.58, 0.39, 0.29)
BROWN: Colour = (0.45, 0.28, 0.20)
DARK_BROWN: Colour = (0.30, 0.18, 0.14)
BLACK: Colour = (0.16, 0.11, 0.11)
BLUE_GREY: Colour = (0.37, 0.37, 0.43)
GREY_BROWN: Colour = (0.55, 0.46, 0.42)
PINK: Colour = (0.83, 0.56, 0.55)
RED: Colour = (0.74, 0.38, 0.37)
DARK_RED: Colour = (0.48, 0.13, 0.17)
PURPLE: Colour = (0.38, 0.17, 0.28)
WHITE: Colour = (0.93, 0.87, 0.84)
YELLOW_WHITE: Colour = (0.93, 0.84, 0.72)
VESSEL_RED: Colour = (0.66, 0.20, 0.22)


@dataclass(frozen=True)
class Look:
    """What lesions of a class look like. Every lesion draws its own values; ranges are (least, most).

    The structures are probabilities: how often a lesion of the class has them.
    """

    colours: tuple[Colour, ...]  # the first is the main one
    variegation: tuple[float, float]  # how far the other colours come in
    opacity: tuple[float, float]  # of the lesion on the skin
    radius: tuple[float, float]  # in pixels
    irregularity: tuple[float, float]  # of the border, as a share of the radius
    softness: tuple[float, float]  # width of the border, as a share of the radius
    network: float = 0.0  # dark mesh
    globules: float = 0.0  # dark dots
    cysts: float = 0.0  # white dots, as in seborrhoeic keratosis
    vessels: float = 0.0  # branching red lines
    veil: float = 0.0  # blue-white area
    scar: float = 0.0  # white centre
    nests: float = 0.0  # blue-grey ovals
    lacunae: float = 0.0  # red to purple lakes
    scales: float = 0.0  # yellow-white flakes
    follicles: float = 0.0  # pale holes in red skin


LOOKS = {
    "akiec": Look(
        (RED, PINK, TAN), (0.4, 0.9), (0.35, 0.7), (55, 100), (0.08, 0.22), (0.15, 0.4),
        scales=0.75, follicles=0.65, vessels=0.15, globules=0.1,
    ),
    "bcc": Look(
        (PINK, RED, BLUE_GREY), (0.2, 0.7), (0.35, 0.75), (45, 95), (0.08, 0.2), (0.1, 0.3),
        vessels=0.8, nests=0.6, veil=0.1, scales=0.2, scar=0.15,
    ),
    "bkl": Look(
        (LIGHT_BROWN, TAN, GREY_BROWN, DARK_BROWN), (0.3, 0.9), (0.55, 0.9), (55, 110), (0.06, 0.2), (0.04, 0.18),
        cysts=0.7, globules=0.3, network=0.15, scales=0.2, veil=0.05,
    ),
    "df": Look(
        (TAN, LIGHT_BROWN, PINK), (0.2, 0.6), (0.45, 0.75), (45, 85), (0.03, 0.1), (0.2, 0.45),
        scar=0.85, network=0.65, vessels=0.1,
    ),
    "mel": Look(
        (BROWN, DARK_BROWN, BLACK, BLUE_GREY, RED), (0.3, 0.9), (0.65, 0.98), (45, 105), (0.08, 0.26), (0.05, 0.3),
        network=0.5, globules=0.5, veil=0.55, scar=0.2, vessels=0.1,
    ),
    "nv": Look(
        (BROWN, LIGHT_BROWN, DARK_BROWN), (0.1, 0.7), (0.45, 0.95), (28, 90), (0.03, 0.2), (0.08, 0.4),
        network=0.6, globules=0.3, veil=0.03, scar=0.03, cysts=0.03,
    ),
    "vasc": Look(
        (DARK_RED, RED, PURPLE), (0.3, 0.9), (0.6, 0.95), (30, 75), (0.04, 0.16), (0.06, 0.22),
        lacunae=0.85, veil=0.05, scales=0.05,
    ),
}  # fmt: skip


def paint(look: Look, random: np.random.Generator) -> Image.Image:
    """A lesion in the middle of a square canvas of skin, RGB."""
    uniform = random.uniform
    tone, pinkness = uniform(), uniform()
    skin = (1 - tone) * np.array([0.87, 0.73, 0.70]) + tone * np.array([0.74, 0.56, 0.52]) + [0, -0.09 * pinkness, 0]
    pixels = np.ones((CANVAS, CANVAS, 3), "float32") * skin.astype("float32")
    pixels += 0.03 * _noise(random, 5)[..., None] * np.array([0.6, 1.0, 1.0], "float32")
    pixels += (0.015 * _noise(random, 40) + 0.012 * _noise(random, 120))[..., None]

    # Distance from the centre as a share of the border's distance in that direction: 1 on the border.
    y, x = np.mgrid[:CANVAS, :CANVAS].astype("float32") - CANVAS / 2
    radius, irregularity, softness = uniform(*look.radius), uniform(*look.irregularity), uniform(*look.softness)
    stretch = uniform(0.75, 1.0)
    angle = np.arctan2(y, x * stretch)
    border = 1 + sum(
        irregularity / order * np.cos(order * angle + uniform(0, 2 * math.pi)) * uniform(0.3, 1)
        for order in range(2, 7)
    )
    distance = np.hypot(x * stretch, y) / (radius * border)
    distance += irregularity * (0.5 * _noise(random, 12) + 0.35 * _noise(random, 35))
    mask = 1 / (1 + np.exp(np.clip((distance - 1) / (0.35 * softness), -30, 30)))

    colours = np.array(look.colours, "float32") + random.normal(0, 0.03, (len(look.colours), 3)).astype("float32")
    variegation = uniform(*look.variegation)
    lesion = np.ones_like(pixels) * colours[0]
    for colour in colours[1:]:
        patches = _noise(random, uniform(4, 9)) + 0.4 * _noise(random, 30)
        share = variegation * uniform(0.3, 1) * _between(patches, uniform(-0.4, 0.5), 1.0)
        lesion = _blend(lesion, share, colour)
    # Darker or paler towards the middle, and a fine grain of pigment.
    lesion *= (1 + uniform(-0.25, 0.2) * np.clip(1 - distance, 0, 1) + 0.08 * _noise(random, 50))[..., None]
    pixels = _blend(pixels, uniform(*look.opacity) * mask, lesion)

    def has(probability: float) -> bool:
        return bool(uniform() < probability)

    if has(look.network):
        patchy = _between(_noise(random, 6), uniform(-1.5, 0), 1.5)
        pixels *= 1 - (uniform(0.2, 0.5) * mask * patchy * _mesh(random))[..., None] * np.array([0.8, 1, 1], "float32")
    if has(look.follicles):
        pixels = _blend(pixels, uniform(0.15, 0.4) * mask * (1 - _mesh(random)) ** 2, YELLOW_WHITE)
    if has(look.globules):
        pixels = _blend(pixels, 0.7 * mask * _dots(random, int(uniform(15, 60)), radius, (1.5, 4), 0.9), DARK_BROWN)
    if has(look.lacunae):
        lakes = _dots(random, int(uniform(8, 22)), 0.75 * radius, (6, 15), 1.5)
        pixels = _blend(pixels, 0.85 * mask * lakes, DARK_RED if has(0.6) else PURPLE)
    if has(look.nests):
        nests = _dots(random, int(uniform(3, 10)), 0.8 * radius, (5, 13), 2.0)
        pixels = _blend(pixels, uniform(0.5, 0.85) * mask * nests, BLUE_GREY)
    if has(look.veil):
        area = _between(1.3 - distance, 0, 0.6) * _between(_noise(random, uniform(4, 7)), uniform(-0.3, 0.5), 0.9)
        pixels = _blend(pixels, uniform(0.35, 0.75) * mask * area, (0.45, 0.46, 0.53))
    if has(look.scar):
        centre = np.exp(-((distance / uniform(0.3, 0.55)) ** 2)) * (1 + 0.3 * _noise(random, 12))
        pixels = _blend(pixels, uniform(0.5, 0.85) * np.clip(centre, 0, 1), WHITE)
    if has(look.cysts):
        pixels = _blend(pixels, 0.8 * mask * _dots(random, int(uniform(8, 35)), radius, (1.5, 4.5), 1.0), YELLOW_WHITE)
    if has(look.scales):
        flakes = _between(_noise(random, 45) + 0.8 * _noise(random, 8), uniform(0.9, 1.6), 0.8)
        pixels = _blend(pixels, uniform(0.3, 0.7) * mask * flakes, YELLOW_WHITE)
    if has(look.vessels):
        pixels = _blend(pixels, uniform(0.5, 0.8) * mask * _vessels(random, int(uniform(3, 8)), radius), VESSEL_RED)
    if has(0.25):
        shade = np.array(DARK_BROWN) * uniform(0.5, 1.2)
        pixels = _blend(pixels, uniform(0.6, 0.9) * _hairs(random, int(uniform(3, 16))), shade)
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype("uint8"))


def photographed(canvas: Image.Image, random: np.random.Generator) -> Image.Image:
    """The canvas turned, shifted, scaled, and lit from somewhere, WIDTH x HEIGHT, RGB."""
    angle, scale = random.uniform(0, 2 * math.pi), random.uniform(0.85, 1.1)
    shift = random.uniform(-18, 18, 2)
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    left = CANVAS / 2 + shift[0] - cosine * WIDTH / 2 + sine * HEIGHT / 2
    top = CANVAS / 2 + shift[1] - sine * WIDTH / 2 - cosine * HEIGHT / 2
    turned = canvas.transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, (cosine, -sine, left, sine, cosine, top), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(turned, "float32") / 255
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype("float32")
    x, y = (x - WIDTH / 2) / HEIGHT, (y - HEIGHT / 2) / HEIGHT
    light = random.normal(1, 0.05) * (1 + 0.15 * random.normal() * x + 0.15 * random.normal() * y)
    light -= random.uniform(0.0, 0.5) * np.clip(np.hypot(x, y) - 0.25, 0, None) ** 2 * 2
    if random.uniform() < 0.12:  # the dark rim of a contact plate
        light *= 1 / (1 + np.exp(np.clip((np.hypot(x, y) - random.uniform(0.6, 0.75)) * 60, -30, 30)))
    cast = random.normal(1, [0.03, 0.05, 0.05]).astype("float32")
    pixels = pixels * light[..., None] * cast + 0.01 * random.standard_normal(pixels.shape, "float32")
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype("uint8"))


def _noise(random: np.random.Generator, waves: float) -> np.ndarray:
    """Smooth noise with about `waves` bumps across the canvas, mean 0, standard deviation about 1; float32."""
    side = max(round(waves), 2) + 3
    grid = Image.fromarray(1.4 * random.standard_normal((side, side), "float32"))
    # The box cuts the rim, where the interpolation has no neighbours.
    smooth = grid.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC, box=(1, 1, side - 1, side - 1))
    return np.asarray(smooth, "float32")


def _between(values: np.ndarray, low: float, width: float) -> np.ndarray:
    """0 up to `low`, 1 from `low + width`, linear between."""
    return np.clip((values - low) / width, 0, 1)


def _blend(pixels: np.ndarray, share: np.ndarray, colour: np.ndarray | Colour) -> np.ndarray:
    """`pixels`, changed in place: `share` of each is replaced by `colour`."""
    step = np.asarray(colour, "float32") - pixels
    step *= np.clip(share, 0, 1)[..., None]
    pixels += step
    return pixels


def _mesh(random: np.random.Generator) -> np.ndarray:
    """A warped honeycomb: 1 on its lines, 0 in its holes."""
    y, x = np.mgrid[:CANVAS, :CANVAS].astype("float32")
    x, y = x + 3 * _noise(random, 16), y + 3 * _noise(random, 16)
    frequency, turn = 2 * math.pi / random.uniform(6, 10), random.uniform(0, math.pi)
    turns = [turn + third * math.pi / 3 for third in range(3)]
    waves = sum(np.cos(frequency * (math.cos(turn) * x + math.sin(turn) * y)) for turn in turns)
    return 1 - _between(waves, -1.2, 2.2)


def _dots(
    random: np.random.Generator, count: int, spread: float, radius: tuple[float, float], blur: float
) -> np.ndarray:
    """`count` ellipses around the centre of the canvas, 1 inside."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    for _ in range(count):
        x, y = CANVAS / 2 + random.normal(0, 0.5 * spread, 2)
        a, b = random.uniform(*radius), random.uniform(*radius)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=int(random.uniform(140, 255)))
    return _field(layer, blur)


def _vessels(random: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Branching lines that wander over the lesion."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    branches = [
        (*(CANVAS / 2 + random.normal(0, 0.5 * spread, 2)), random.uniform(0, 2 * math.pi), random.uniform(2, 4), 0)
        for _ in range(count)
    ]
    while branches:
        x, y, direction, width, depth = branches.pop()
        points = [(x, y)]
        for _ in range(int(random.uniform(8, 20))):
            direction += random.normal(0, 0.35)
            x, y = x + 4 * np.cos(direction), y + 4 * np.sin(direction)
            points.append((x, y))
            if depth < 2 and random.uniform() < 0.15:
                branches.append((x, y, direction + random.choice([-1, 1]) * 0.8, 0.65 * width, depth + 1))
        draw.line(points, fill=220, width=max(round(width), 1), joint="curve")
    return _field(layer, 0.7)


def _hairs(random: np.random.Generator, count: int) -> np.ndarray:
    """Slightly bent dark lines across the canvas, roughly in one direction."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    main = random.uniform(0, 2 * math.pi)
    steps = np.linspace(0, 1, 24)
    for _ in range(count):
        direction, length, bend = main + random.normal(0, 0.5), random.uniform(80, 300), random.normal(0, 40)
        along = np.array([np.cos(direction), np.sin(direction)])
        start = random.uniform(60, CANVAS - 60, 2) - along * length / 2
        curve = start + np.outer(steps, along) * length + np.outer(steps * (1 - steps), along[::-1] * [-1, 1]) * bend
        draw.line([tuple(point) for point in curve], fill=255, width=int(random.integers(1, 3)), joint="curve")
    return _field(layer, 0.5)


def _field(layer: Image.Image, blur: float) -> np.ndarray:
    """An 8-bit layer, blurred, as float32 between 0 and 1."""
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(blur)), "float32") / 255
