import numpy as np
import pytest

from sim2real.datasets.labels import NOTHING, Box, Boxes, Segmentation
from sim2real.datasets.vocabulary import Vocabulary, names_of
from sim2real.errors import SettingsError


def mask(*ids: int, names: dict[int, str]) -> Segmentation:
    return Segmentation(np.array([ids], np.int32), names)


VKITTI = ["Terrain", "Sky", "Tree", "Vegetation", "Car", "TrafficSign"]
CARLA = ["Vehicles", "Vegetation", "Traffic Sign", "Sky", "Other"]


def test_names_of_several_datasets_meet() -> None:
    classes = Vocabulary.found(VKITTI, CARLA)
    assert classes.names == (*VKITTI, "Other")
    assert classes.number("Vehicles") == classes.number("Car") == classes.number("car")
    assert classes.number("traffic_sign") == 5
    assert classes.number("Boat") == NOTHING


def test_two_classes_of_one_dataset_stay_two() -> None:
    classes = Vocabulary.found(VKITTI, CARLA)
    assert classes.number("Vegetation") != classes.number("Tree")
    assert Vocabulary.found(["Vehicles", "cars"], ["Car"]).names == ("Vehicles", "cars")


def test_the_user_has_the_last_word() -> None:
    classes = Vocabulary.found(["Car", "Truck"], ["lorry", "van", "Wagon"], same={"Car": ["Truck", "Van"]})
    assert classes.names == ("Car", "lorry", "Wagon")
    assert classes.number("VAN") == classes.number("truck") == 0


def test_a_vocabulary_is_rebuilt_from_what_a_model_keeps() -> None:
    same = {"Car": ["Kart"]}
    classes = Vocabulary.found(["Sky", "Car"], same=same)
    again = Vocabulary.of({"classes": {"names": list(classes.names), "same": same}})
    assert again.names == classes.names
    assert again.number("kart") == 1
    assert Vocabulary.of({}).names == ()


def test_masks_become_numbers_of_the_vocabulary() -> None:
    classes = Vocabulary(["Sky", "Car"])
    found = classes.ids(mask(7, 3, NOTHING, 9, names={7: "Vehicles", 3: "sky", 9: "Boat"}))
    assert found.dtype == np.int64
    assert found.tolist() == [[1, 0, NOTHING, NOTHING]]
    assert classes.unknown(mask(9, names={9: "Boat", 3: "sky"})) == ["Boat"]


def test_classes_without_names_are_called_by_their_numbers() -> None:
    unnamed = mask(4, 2, 4, NOTHING, names={})
    assert list(names_of(unnamed)) == ["2", "4"]
    classes = Vocabulary.found(names_of(unnamed))
    assert classes.ids(unnamed).tolist() == [[1, 0, 1, NOTHING]]


@pytest.mark.parametrize("order", [1, -1])
def test_of_boxes_the_smallest_is_on_top(order: int) -> None:
    near, far = Box("Car", 1, 1, 5.4, 3), Box("Sky", 2, 0, 3, 2)
    outside = Box("Car", -9, -9, -1, -1)
    ids = Vocabulary(["Car", "Sky"]).rasterised(Boxes((near, far, outside)[::order]), 7, 4)
    assert ids.tolist() == [
        [-1, -1, 1, -1, -1, -1, -1],
        [-1, 0, 1, 0, 0, -1, -1],
        [-1, 0, 0, 0, 0, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1],
    ]


@pytest.mark.parametrize(
    ("same", "message"),
    [
        ({"Car": ["Van"], "Truck": ["van"]}, "^classes.same: 'van' means 'Car' and 'Truck': list it once$"),
        ({"Car": ["Van"], "Van": ["Kombi"]}, "^classes.same: 'Van' has other names and means 'Car': list all of them"),
        ({"Car": ["Van"], "Van": ["Car"]}, "^classes.same: 'Car' has other names and means 'Van'"),
    ],
)
def test_what_says_two_things_of_a_name_is_refused(same: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Vocabulary(["Car", "Truck"], same)


def test_many_names_are_found_at_once() -> None:
    """As of masks whose values are numbers of instances, which no table names."""
    many = [str(number) for number in range(30_000)]
    assert Vocabulary.found(many, reversed(many)).names == tuple(many)
