"""What the labels of two sides allow."""

from sim2real.datasets.base import Frame
from sim2real.evaluation.supervision import supervision


def frames(count: int, *kinds: str) -> list[Frame]:
    return [Frame(f"{number}.png", labels={kind: f"{kind}/{number}.png" for kind in kinds}) for number in range(count)]


def test_masks_allow_what_sees_masks() -> None:
    found = supervision(frames(3, "segmentation", "flow"), frames(2))
    assert found.sim == {"flow": 3, "segmentation": 3}
    assert "class-distribution" in found.allows[0]
    assert "a segmenter predicts" in found.allows[0]
    assert "flicker" in found.allows[1]
    both = supervision(frames(3, "segmentation"), frames(2, "segmentation"))
    assert "own masks" in both.allows[0]


def test_masks_on_some_frames_or_on_none_allow_nothing_of_that() -> None:
    some = supervision([*frames(2, "segmentation"), *frames(1)], frames(2))
    assert "2 of 3" in some.allows[0]
    assert "no masks" in supervision(frames(2), frames(2, "segmentation")).allows[0]


def test_classes_meet_by_what_they_mean() -> None:
    found = supervision(frames(1), frames(1), ["Road", "Vehicles", "Sky", "Van"], ["road", "car", "person"])
    assert found.same == (("Road", "road"), ("Vehicles", "car"))
    assert found.apart == {"sim": ("Sky", "Van"), "real": ("person",)}
