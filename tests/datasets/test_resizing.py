"""What becomes of files at another size, rule by rule, against values worked out apart."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sim2real import open_dataset
from sim2real.conversion.resized_files import DamageError, Resizer, UnknownError
from sim2real.datasets.labels import Box, Boxes, Depth, Disparity, Distance, Flow, Instances, SceneFlow, Segmentation
from sim2real.datasets.resizing import (
    KEEP,
    KITTI_CALIBRATION,
    KITTI_FLOW,
    NEAREST,
    PHOTO,
    Rule,
    Scale,
    centre_x,
    columns,
    disparity,
    first_x,
    kitti_boxes,
    last_x,
    pixels,
)
from sim2real.errors import ImageError
from tests.datasets.trees.common import raw_png

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def values(png: bytes) -> NDArray[Any]:
    """As OpenCV reads them, in the order of the file."""
    found = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
    order = {2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}  # by colour type
    return found if found.ndim == 2 else found[..., order[png[25]]]


@given(SIZES, SIZES)
def test_the_nearest_pixel_is_the_one_whose_centre_is_the_nearest(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    width, height = source
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    taken = Scale(source, target).nearest(places)
    assert taken.shape == (target[1], target[0], 2)
    for axis, (before, after) in enumerate(zip(source, target, strict=True)):
        wanted = (np.arange(after) + 0.5) * before / after - 0.5
        found = taken[0, :, 0] if axis == 0 else taken[:, 0, 1]
        assert np.abs(found - wanted).max() <= 0.5 + 1e-9


@given(st.integers(0, 50), st.integers(0, 50), st.integers(51, 90), st.integers(1, 200))
def test_a_box_covers_what_it_covered_and_hardly_more(start: int, more: int, width: int, new: int) -> None:
    first, last = start, min(start + more, width - 1)
    scale = Scale((width, 7), (new, 7))
    left, right = first_x(first, scale), last_x(last, scale)
    edges = Fraction(first * new, width), Fraction((last + 1) * new, width)
    assert left <= edges[0] < left + 1
    assert right < edges[1] <= right + 1
    assert 0 <= left <= right < new


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((6, 8), "u1"), ((6, 8), "u2"), ((6, 8, 3), "u1"), ((6, 8, 3), "u2"), ((6, 8, 4), "u1"), ((6, 8, 2), "u1")],
)
def test_label_images_keep_their_values_and_their_coding(shape: tuple[int, ...], kind: str) -> None:
    stored = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    before = raw_png(stored)
    after = NEAREST.update(before, Scale((8, 6), (4, 12)))
    assert np.array_equal(values(after), np.repeat(stored[:, 1::2], 2, axis=0))
    assert after[24:26] == before[24:26]  # bits and colour type


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_images_keep_their_colours_their_alphas_and_their_bits(bits: int) -> None:
    random = np.random.default_rng(1)
    indices = random.integers(0, min(2**bits, 40), (6, 9)).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(random.integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", bits=bits, transparency=b"\0\7")
    after = NEAREST.update(file.getvalue(), Scale((9, 6), (3, 2)))
    with Image.open(io.BytesIO(after)) as found, Image.open(file) as original:
        assert np.array_equal(np.array(found), indices[1::3, 1::3])
        assert found.getpalette() == original.getpalette()
        assert found.info["transparency"] == original.info["transparency"]
    assert after[24] == bits


def test_a_label_of_another_size_than_its_image_is_refused() -> None:
    with pytest.raises(ValueError, match="it is 8x6, its images are 9x6"):
        NEAREST.update(raw_png(np.zeros((6, 8), np.uint8)), Scale((9, 6), (4, 3)))


def test_labels_that_were_compressed_with_loss_are_refused() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG")
    with pytest.raises(ImageError, match="not a PNG"):
        NEAREST.update(file.getvalue(), Scale((8, 6), (4, 3)))


def test_photos_are_averaged_and_keep_their_alpha() -> None:
    stripes = np.zeros((4, 8, 4), np.uint8)
    stripes[:, ::2] = 200
    after = values(PHOTO.update(raw_png(stripes), Scale((8, 4), (4, 8))))
    assert after.shape == (8, 4, 4)
    assert np.unique(after).tolist() == [100]  # though the other side grows


@pytest.mark.parametrize("factor", [Fraction(1, 2), Fraction(3, 2), Fraction(2)])
def test_disparity_is_as_wide_as_the_image(factor: Fraction) -> None:
    stored = np.full((4, 8), 512, np.uint16)
    stored[0], stored[1], stored[2] = 0, 60000, 1
    after = values(disparity().update(raw_png(stored), Scale((8, 4), (int(8 * factor), 4))))
    overflows = 60000 * factor > 65535
    assert after[:, 0].tolist() == [0, 0 if overflows else 60000 * factor, max(1, round(factor)), 512 * factor]
    shifted = values(disparity(zero=1).update(raw_png(stored), Scale((8, 4), (4, 4))))
    assert shifted[:, 0].tolist() == [0, 30000, 1, 256]  # (511 / 2 + 1) rounds to the even one


@pytest.mark.parametrize(("rule", "channels"), [(disparity(), 1), (KITTI_FLOW, 3)])
def test_other_codings_of_disparity_and_flow_are_refused(rule: Rule, channels: int) -> None:
    stored = np.zeros((6, 8, 3), np.uint8)[..., :channels].squeeze()
    with pytest.raises(ValueError, match=f"{channels} channels of uint8"):
        rule.update(raw_png(stored), Scale((8, 6), (4, 3)))


def test_flow_is_as_long_as_the_image() -> None:
    stored = np.zeros((1, 4, 3), np.uint16)
    stored[0, 0] = 2**15 + 64 * 3, 2**15 - 64 * 5, 1  # 3 px to the right, 5 up
    stored[0, 1] = 2**15 + 30000, 2**15, 1
    stored[0, 2] = 7, 9, 0
    stored[0, 3] = 2**15, 2**15, 1
    after = values(KITTI_FLOW.update(raw_png(stored), Scale((4, 1), (8, 3))))
    assert after.shape == (3, 8, 3)
    assert after[0, ::2].tolist() == [
        [2**15 + 64 * 6, 2**15 - 64 * 15, 1],
        [0, 0, 0],
        [0, 0, 0],
        [2**15, 2**15, 1],
    ]


def test_a_table_changes_in_the_named_columns_alone() -> None:
    table = b"frame  left right  name \r\n0 10 19  a car\r\n\r\n1 0 0 x\r\n"
    rule = columns({"left": first_x, "right": last_x})
    assert rule.update(table, Scale((40, 24), (13, 8))) == (
        b"frame  left right  name \r\n0 3 6  a car\r\n\r\n1 0 0 x\r\n"
    )
    with pytest.raises(ValueError, match="does not name the column 'left'"):
        rule.update(b"", Scale((40, 24), (13, 8)))
    with pytest.raises(ValueError, match="'wide'"):
        columns({"frame": centre_x}).update(b"frame\nwide\n", Scale((40, 24), (13, 8)))


def test_what_was_seen_stays_seen() -> None:
    assert [pixels(count, Scale((40, 24), (10, 6))) for count in (0, 1, 8, 160)] == [0, 1, 1, 10]


def test_nothing_changes_where_nothing_depends_on_the_size() -> None:
    assert KEEP.update(b"\0\xff 1 2", Scale((2, 2), (9, 9))) == b"\0\xff 1 2"


ROW = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


@pytest.mark.parametrize(("ahead", "first"), [(0, ""), (2, "17 4 ")])
def test_boxes_of_kitti(ahead: int, first: str) -> None:
    data = f"{first}{ROW}\n{first}{ROW} 0.9\n".encode()
    after = kitti_boxes(ahead).update(data, Scale((1242, 375), (621, 125))).decode().splitlines()
    for row, score in zip(after, ([], ["0.9"]), strict=True):
        words = row.removeprefix(first).split()
        assert words[:4] + words[8:] == ROW.split()[:4] + ROW.split()[8:] + score
        assert [float(word) for word in words[4:8]] == pytest.approx([193.815, 60.5133333, 211.905, 67.7066667])


P2 = [721.5377, 0.0, 609.5593, 44.85728, 0.0, 721.5377, 172.854, 0.2163791, 0.0, 0.0, 1.0, 0.002745884]


@given(st.integers(2, 2000), st.integers(2, 2000), st.tuples(st.floats(-20, 20), st.floats(-4, 4), st.floats(3, 80)))
def test_points_are_projected_to_the_same_place(width: int, height: int, point: tuple[float, float, float]) -> None:
    scale = Scale((1242, 375), (width, height))
    before = f"P2: {' '.join(f'{value:.12e}' for value in P2)}\nR0_rect: 1 0 0 0 1 0 0 0 1\n\n".encode()
    after = KITTI_CALIBRATION.update(before, scale).decode()
    assert after.endswith("\nR0_rect: 1 0 0 0 1 0 0 0 1\n\n")
    key, *words = after.splitlines()[0].split()
    assert key == "P2:"
    places = []
    for matrix in (P2, [float(word) for word in words]):
        x, y, z = np.array(matrix).reshape(3, 4) @ (*point, 1)
        places.append((x / z, y / z))
    (x, y), (new_x, new_y) = places
    assert new_x == pytest.approx((x + 0.5) * width / 1242 - 0.5, abs=1e-6)
    assert new_y == pytest.approx((y + 0.5) * height / 375 - 0.5, abs=1e-6)


CAMERAS = """calib_time: 09-Jan-2012 13:57:47
S_02: 1.392000e+03 5.120000e+02
K_02: 900 0 700 0 800 200 0 0 1
D_02: -3.6e-01 2.0e-01 1.1e-03 -5.5e-04 -5.8e-02
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 700 0 600 45 0 700 170 0.2 0 0 1 0.003
"""


def test_cameras_of_kitti_raw_are_those_whose_images_are_there() -> None:
    rows = dict(line.split(": ", 1) for line in CAMERAS.splitlines())

    def changed(size: tuple[int, int]) -> dict[str, list[float]]:
        after = KITTI_CALIBRATION.update(CAMERAS.encode(), Scale(size, (size[0] // 2, size[1])))
        found = dict(line.split(": ", 1) for line in after.decode().splitlines())
        assert found.keys() == rows.keys()
        return {key: [float(word) for word in text.split()] for key, text in found.items() if text != rows[key]}

    assert changed((1242, 375)) == {
        "S_rect_02": [621, 375],
        "P_rect_02": pytest.approx([350, 0, 299.75, 22.5 - 0.25 * 0.003, 0, 700, 170, 0.2, 0, 0, 1, 0.003]),
    }
    assert changed((1392, 512)) == {
        "S_02": [696, 512],
        "K_02": pytest.approx([450, 0, 349.75, 0, 800, 200, 0, 0, 1]),
    }
    with pytest.raises(ValueError, match="of 1242x375 or 1392x512, they are 1224x370"):
        changed((1224, 370))


# every layout


def test_labels_of_every_layout_are_those_of_the_nearest_pixels(layout: tuple[str, Path], tmp_path: Path) -> None:
    name, source = layout
    dataset = open_dataset(source)
    resizer, scale = Resizer(dataset, (16, 18)), Scale((32, 24), (16, 18))
    out = tmp_path / "out"
    for path, role in dataset.files():
        try:
            resize, data = resizer(path, role), (source / path).read_bytes()
            data = resize(data) if resize else data
        except (UnknownError, DamageError):  # no label that is decoded, but for Hypersim's arrays
            continue
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    frames = {frame.image: frame for frame in open_dataset(out, dataset.name).frames()}
    for frame in dataset.frames():
        assert frames[frame.image].load_image().shape == (18, 16, 3)
        for kind in frame.labels if name != "hypersim" else ():
            agree(frames[frame.image].load_label(kind), frame.load_label(kind), scale)


def agree(after: object, before: object, scale: Scale) -> None:
    match after, before:
        case (Segmentation(ids), Segmentation(others)) | (Instances(ids), Instances(others)):
            same = ids == scale.nearest(others)
            assert same.mean() > 0.9  # outlines are sampled anew
        case (Depth(metres), Depth(others)) | (Distance(metres), Distance(others)):
            assert np.array_equal(metres, scale.nearest(others), equal_nan=True)
        case SceneFlow(xyz), SceneFlow(others):
            assert np.array_equal(xyz, scale.nearest(others), equal_nan=True)
        case Disparity(shifts), Disparity(others):
            assert shifts == pytest.approx(scale.nearest(others) / 2, abs=1 / 256, nan_ok=True)
        case Flow(uv, valid), Flow(others, known):
            assert np.array_equal(valid, scale.nearest(known))
            wanted = scale.nearest(others) * (0.5, 0.75)
            assert np.abs(uv - wanted)[valid] == pytest.approx(0, abs=0.05 * np.abs(wanted).max() + 1 / 64)
        case Boxes(boxes), Boxes(others):
            assert [(box.label, box.track, box.truncated) for box in boxes] == [
                (box.label, box.track, box.truncated) for box in others
            ]
            for box, other in zip(boxes, others, strict=True):
                edges = [edge * factor for edge, factor in zip(edges_of(other), (0.5, 0.75) * 2, strict=True)]
                assert np.abs(np.subtract(edges_of(box), edges)).max() < 1
        case _:
            raise AssertionError(f"{type(after)} is no {type(before)}")


def edges_of(box: Box) -> tuple[float, ...]:
    return box.left, box.top, box.right, box.bottom


def test_a_mark_at_the_start_of_a_text_hides_no_number() -> None:
    scale, mark = Scale((40, 24), (20, 12)), "\ufeff"
    table = columns({"left": first_x}).update(f"{mark}left right\n10 12\n".encode(), scale).decode()
    assert table == f"{mark}left right\n5 12\n"
    line = "P0: 100 0 20 0 0 100 12 0 0 0 1 0\n"
    marked, plain = (KITTI_CALIBRATION.update(f"{start}{line}".encode(), scale).decode() for start in (mark, ""))
    assert marked.split()[1:] == plain.split()[1:]
    assert float(marked.split()[1]) == 50
