import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.validation import read_some, render_town


@pytest.fixture(scope="session")
def town() -> list[NDArray[np.uint8]]:
    """Frames of the rendered town, 320x128."""
    return render_town("sim", 3, (320, 128))


@pytest.fixture(scope="session", params=["carla/test/images", "camvid/val/images", "kitti/frames"])
def pictures(request: pytest.FixtureRequest) -> list[NDArray[np.uint8]]:
    """Real frames and those of a published simulation."""
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    return read_some(Path(folder) / request.param, 3)
