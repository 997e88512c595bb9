"""The cars, vans and trucks: their shapes, and their places at any time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from sim2real_toytown.shapes import RGB, Body, Label, Material, Part, box, polygon, prism
from sim2real_toytown.street import BLOCK, LANE, Street, Zone

START = 1000.0  # metres along the street: start of the camera
CAMERA_SPEED = 0.9  # metres per frame: about 32 km/h at 10 frames per second
CAMERA_LANE = LANE / 2

COLOURS: dict[str, RGB] = {
    "White": (0.90, 0.90, 0.90),
    "Silver": (0.66, 0.68, 0.70),
    "Grey": (0.38, 0.39, 0.41),
    "Black": (0.07, 0.07, 0.08),
    "Red": (0.72, 0.06, 0.06),
    "Blue": (0.08, 0.18, 0.55),
    "Green": (0.10, 0.36, 0.20),
    "Yellow": (0.88, 0.70, 0.10),
}


@dataclass(frozen=True)
class Model:
    """The dimensions of a vehicle in metres; `bonnet` and `boot` are shares of its length."""

    name: str
    label: Label
    length: float
    width: float
    height: float
    waist: float
    bonnet: float
    boot: float


MODELS = (
    Model("Hatchback", Label.Car, 3.95, 1.70, 1.46, 0.88, 0.22, 0.02),
    Model("Sedan", Label.Car, 4.65, 1.80, 1.43, 0.90, 0.25, 0.16),
    Model("Estate", Label.Car, 4.60, 1.78, 1.48, 0.90, 0.24, 0.02),
    Model("Suv", Label.Car, 4.50, 1.86, 1.68, 1.02, 0.23, 0.02),
    Model("Coupe", Label.Car, 4.30, 1.78, 1.33, 0.84, 0.29, 0.10),
    Model("Minivan", Label.Van, 4.80, 1.88, 1.88, 1.05, 0.14, 0.01),
    Model("Transporter", Label.Van, 5.30, 1.98, 2.25, 1.20, 0.12, 0.01),
    Model("Lorry", Label.Truck, 7.80, 2.45, 3.20, 1.30, 0.0, 0.0),
)


@dataclass(frozen=True)
class Vehicle:
    """One vehicle of the street: its track id, model and colour."""

    track_id: int
    model: Model
    colour: str


@dataclass(frozen=True)
class Lane:
    """A row of slots for vehicles, `spacing` metres apart, that moves as a whole along the street.

    Track ids repeat after `pool` slots, so that the ids of the longest drive fit into the 8 bits of Virtual KITTI's
    instance images.
    """

    index: int
    first_id: int
    pool: int
    lateral: float
    direction: int
    spacing: float
    jitter: float
    speed: float
    density: float
    models: tuple[float, ...]

    @property
    def is_moving(self) -> bool:
        """Whether the lane moves."""
        return self.speed != 0


_ANY = (0.2, 0.2, 0.15, 0.12, 0.08, 0.08, 0.07, 0.1)
_PARKED = (0.25, 0.2, 0.15, 0.13, 0.1, 0.1, 0.07, 0.0)
LANES = (
    Lane(0, 0, 16, CAMERA_LANE, 1, 26.0, 6.0, CAMERA_SPEED, 0.8, _ANY),
    Lane(1, 16, 40, -CAMERA_LANE, -1, 24.0, 6.0, -1.05, 0.65, _ANY),
    Lane(2, 56, 96, 4.75, 1, 7.2, 0.5, 0.0, 0.6, _PARKED),
    Lane(3, 152, 96, -4.75, -1, 7.2, 0.5, 0.0, 0.6, _PARKED),
)


@lru_cache(maxsize=1024)
def vehicle(street: Street, track_id: int) -> Vehicle:
    """Return the vehicle with this track id; it always looks the same."""
    lane = max((lane for lane in LANES if lane.first_id <= track_id), key=lambda lane: lane.first_id)
    rng = street.rng(4, track_id)
    model = MODELS[int(rng.choice(len(MODELS), p=lane.models))]
    colour = rng.choice(tuple(COLOURS), p=(0.2, 0.2, 0.17, 0.16, 0.1, 0.1, 0.04, 0.03))
    return Vehicle(track_id, model, str(colour))


def camera_progress(street: Street, time: int) -> float:
    """Return the z of the camera car at a frame."""
    return START + CAMERA_SPEED * time + 1.5 * float(np.sin(time / 19 + street.scene))


@dataclass(frozen=True)
class Placed:
    """A vehicle in its slot of a lane, at some time.

    Attributes:
        street: The street.
        lane: The lane.
        slot: Number of the slot.
        time: Number of the frame.
    """

    street: Street
    lane: Lane
    slot: int
    time: int

    @cached_property
    def vehicle(self) -> Vehicle:
        """The vehicle in the slot."""
        return vehicle(self.street, self.lane.first_id + self.slot % self.lane.pool)

    @cached_property
    def body(self) -> Body:
        """The vehicle's body at its place in this frame."""
        return self.at(self.time)

    def at(self, time: int) -> Body:
        """Return the vehicle's body at its place in another frame."""
        x, z, heading = self.street.place(self.along(time), self.lane.lateral)
        yaw = heading - np.pi / 2 + (np.pi if self.lane.direction < 0 else 0.0)
        car = self.vehicle
        return Body(x, z, yaw, _parts(car.model, COLOURS[car.colour]), car.track_id)

    def along(self, time: int) -> float:
        """Return its z along the street at a frame."""
        _, offset, phase = self._chances
        along = START + self.lane.speed * time + self.slot * self.lane.spacing + self.lane.jitter * offset
        return along + (1.2 * float(np.sin(time / 13 + phase)) if self.lane.is_moving else 0.0)

    @property
    def exists(self) -> bool:
        """Whether the slot is occupied; slot 0 of lane 0 belongs to the camera."""
        if self._chances[0] > self.lane.density or (self.lane.index == 0 and self.slot == 0):
            return False
        return self.lane.is_moving or _may_park(self.street, self.along(0))

    @cached_property
    def _chances(self) -> tuple[float, float, float]:
        """Random numbers of the slot: one in [0, 1], one in [-1, 1] and an angle."""
        rng = self.street.rng(5, self.lane.index, self.slot % 2**31)
        return float(rng.random()), float(rng.uniform(-1, 1)), float(rng.uniform(0, 2 * np.pi))


def traffic(street: Street, time: int, near: float, far: float) -> Iterator[Placed]:
    """Yield all vehicles between z = `near` and z = `far` at a frame."""
    for lane in LANES:
        start = START + lane.speed * time
        first, last = int(np.floor((near - start) / lane.spacing)), int(np.ceil((far - start) / lane.spacing))
        for slot in range(first, last + 1):
            placed = Placed(street, lane, slot, time)
            if placed.exists and near <= placed.along(time) <= far:
                yield placed


def _may_park(street: Street, z: float) -> bool:
    block = int(z // BLOCK)
    if street.zone(block) is Zone.GREEN or street.is_crossing(block):
        return False
    return all(street.zone(int((z + reach) // BLOCK)) is not Zone.GREEN for reach in (-3.5, 3.5))


@lru_cache(maxsize=256)
def _parts(model: Model, tint: RGB) -> tuple[Part, ...]:
    return tuple(_lorry(model, tint) if model.label is Label.Truck else _car(model, tint))


def _car(model: Model, tint: RGB) -> Iterator[Part]:
    """Yield a body with bevelled ends, a cabin with inclined sides, and four wheels; x points to the front."""
    rear, front, half = -model.length / 2, model.length / 2, model.width / 2
    what = (model.label, tint)
    low, waist, roof = -0.24, -model.waist, -model.height
    profile = [
        (rear, low),
        (front, low),
        (front, 0.72 * waist),
        (front - 0.18 * model.length, waist),
        (rear + 0.06, waist),
        (rear, 0.8 * waist),
    ]
    paint = Material.PAINT
    sides = (Material.DARK, Material.CAR_FRONT, paint, paint, paint, Material.CAR_REAR)
    yield prism(what, profile, "z", (0.01 - half, half - 0.01), sides, caps=paint, grid=(model.width, model.waist))
    base_front, base_rear = front - model.bonnet * model.length, rear + model.boot * model.length + 0.05
    slope = 0.75 if model.label is Label.Car else 0.45
    cabin = [
        (base_rear, waist),
        (base_front, waist),
        (base_front - slope, roof),
        (base_rear + (0.35 if model.boot < 0.1 else 0.6) * slope, roof),
    ]
    glass = Material.GLASS
    yield prism(
        what,
        cabin,
        "z",
        (0.04 - half, half - 0.04),
        (paint, glass, paint, glass),
        caps=glass,
        lean=0.28 if model.label is Label.Car else 0.12,
        grid=(model.length / 3.4, model.height),
    )
    for x in (rear + 0.19 * model.length, front - 0.19 * model.length):
        yield from _wheels(model.label, x, 0.31, half)


def _lorry(model: Model, tint: RGB) -> Iterator[Part]:
    """Yield a cab with windows around its upper half, a white cargo box, and six wheels."""
    rear, front, half = -model.length / 2, model.length / 2, model.width / 2
    nose, waist, roof = front - 1.9, -model.waist, -2.7
    what, dark = (model.label, tint), (model.label, (0.15, 0.15, 0.15))
    paint, glass = Material.PAINT, Material.GLASS
    span = (0.1 - half, half - 0.1)
    lower = [(nose, -0.4), (front, -0.4), (front, waist), (nose, waist)]
    upper = [(nose, waist), (front, waist), (front - 0.25, roof), (nose, roof)]
    yield prism(what, lower, "z", span, (Material.DARK, Material.CAR_FRONT, paint, paint), caps=paint, grid=(2.2, 1.3))
    yield prism(what, upper, "z", span, (paint, glass, paint, paint), caps=glass, grid=(1.9, -roof))
    yield box(what, (rear, nose - 0.15), (-model.height, -0.95), (-half, half), Material.WHITE)
    chassis = (rear + 0.05, nose), (-0.95, -0.5), (0.15 - half, half - 0.15)
    yield box(dark, *chassis, Material.DARK, caps=(Material.CAR_REAR, Material.DARK), grid=(2.2, 0.95))
    for x in (rear + 1.4, rear + 2.6, front - 1.1):
        yield from _wheels(model.label, x, 0.48, half)


def _wheels(label: Label, x: float, radius: float, half: float) -> Iterator[Part]:
    rim = polygon(radius, 12, (x, -radius))
    grey = (0.12, 0.12, 0.12)
    for span in ((-half, 0.2 - half), (half - 0.2, half)):
        yield prism((label, grey), rim, "z", span, Material.TYRE, grid=(x, radius))
