"""The 16-bit codes lose no more than half a step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from sim2real_toytown.labels import decode_flow, decode_scene_flow, encode_flow, encode_scene_flow

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
SIZES = st.tuples(st.integers(2, 12), st.integers(2, 12))


@st.composite
def fields(draw: st.DrawFn, channels: int, limit: float) -> tuple[Floats, Mask]:
    """A field of vectors and where it is valid."""
    shape = draw(SIZES)
    values = draw(nps.arrays(np.float64, (*shape, channels), elements=st.floats(-limit, limit)))
    return values, draw(nps.arrays(np.bool_, shape))


@given(fields(2, 25.0))
def test_flow_comes_back_where_it_can_be_coded(field: tuple[Floats, Mask]) -> None:
    flow, valid = field
    height, width = valid.shape
    limit = np.array([width - 1, height - 1])
    back, known = decode_flow(encode_flow(flow, valid))
    assert (known == (valid & (np.abs(flow) <= limit).all(axis=-1))).all()
    assert (np.abs(back - flow)[known] <= limit / 65535 + 1e-9).all()
    assert (back[~known] == 0).all()


@given(fields(2, 25.0))
def test_flow_code_is_virtual_kittis(field: tuple[Floats, Mask]) -> None:
    flow, valid = field
    code = encode_flow(flow, valid)
    height, width = valid.shape
    assert code.dtype == np.uint16
    assert set(np.unique(code[..., 2])) <= {0, 65535}
    known = code[..., 2] > 0
    u = (2.0 * code[..., 0] / 65535 - 1) * (width - 1)
    v = (2.0 * code[..., 1] / 65535 - 1) * (height - 1)
    assert np.allclose(np.stack([u, v], axis=-1)[known], flow[known], atol=12 / 65535)
    assert not code[~known].any()


@given(fields(3, 12.0))
def test_scene_flow_comes_back_where_it_can_be_coded(field: tuple[Floats, Mask]) -> None:
    motion, valid = field
    back, known = decode_scene_flow(encode_scene_flow(motion, valid))
    possible = valid & (np.abs(motion) <= 10).all(axis=-1)
    at_the_end = (motion == -10).all(axis=-1)  # that one motion has the code of none
    assert (known[~at_the_end] == possible[~at_the_end]).all()
    assert (np.abs(back - motion)[known] <= 10 / 65535 + 1e-9).all()
    assert (back[~known] == 0).all()


@given(nps.arrays(np.uint16, st.tuples(st.integers(2, 9), st.integers(2, 9), st.just(3))))
def test_codes_survive_decoding_and_encoding(code: NDArray[np.uint16]) -> None:
    code[..., 2] = np.where(code[..., 2] > 1000, 65535, 0)
    flow, valid = decode_flow(code)
    assert (encode_flow(flow, valid)[valid] == code[valid]).all()
    motion, known = decode_scene_flow(code)
    assert (encode_scene_flow(motion, known)[known] == code[known]).all()
