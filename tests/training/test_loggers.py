"""What TensorBoard, W&B and MLflow hold of a training that told them: read back with their own readers."""

import json
import struct
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2real.errors import SettingsError
from sim2real.imageio import encode_png
from sim2real.training.loggers import Loggers

SETTINGS = {"seed": 3, "data": {"size": [32, 24]}}
GRID = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (1, 40, 3))


def notify(folder: Path, name: str, steps: range, **rest: Any) -> None:
    loggers = Loggers([name], folder, SETTINGS, "town", **rest)
    for step in steps:
        assert loggers.log(step, {"cycle": step / 2, "validation/cycle": step / 4}) == []
    assert loggers.picture(steps[-1], encode_png(GRID)) == []
    assert loggers.close() == []


def test_no_logger_writes_nothing(tmp_path: Path) -> None:
    loggers = Loggers([], tmp_path, SETTINGS, "town")
    loggers.begin()
    assert loggers.log(1, {"cycle": 1.0}) == loggers.picture(1, b"no picture at all") == loggers.close() == []
    assert [*tmp_path.iterdir()] == []


def test_a_logger_writes_nothing_before_it_begins(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    loggers = Loggers(["tensorboard"], tmp_path, SETTINGS, "town")
    assert [*tmp_path.iterdir()] == []
    loggers.close()
    assert [*tmp_path.iterdir()] == []


@pytest.fixture
def events() -> Any:
    """Read TensorBoard's events of a run folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator

    def read(folder: Path) -> Any:
        found = accumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0})
        found.Reload()
        return found

    return read


def points(events: Any, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_has_figures_pictures_and_settings(tmp_path: Path, events: Any) -> None:
    notify(tmp_path, "tensorboard", range(2, 7, 2))
    read = events(tmp_path)
    assert points(read, "cycle") == [(2, 1.0), (4, 2.0), (6, 3.0)]
    assert points(read, "validation/cycle")[-1] == (6, 1.5)
    picture = read.Images("samples")[-1]
    assert (picture.step, picture.width, picture.height) == (6, 40, 24)
    (settings,) = read.Tensors("settings/text_summary")
    assert "size = [\n        32," in settings.tensor_proto.string_val[0].decode()


def test_a_resumed_training_goes_on_in_tensorboard_and_takes_back_what_a_killed_one_told(
    tmp_path: Path, events: Any
) -> None:
    notify(tmp_path, "tensorboard", range(1, 6))
    notify(tmp_path, "tensorboard", range(4, 8), step=3)
    assert [step for step, _ in points(events(tmp_path), "cycle")] == [1, 2, 3, 4, 5, 6, 7]


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client on a store in files."""
    pytest.importorskip("pytorch_lightning")
    client = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return client.MlflowClient((tmp_path / "store").as_uri())


def test_mlflow_has_one_run_of_a_training_that_was_resumed(tmp_path: Path, mlflow: Any) -> None:
    notify(tmp_path, "mlflow", range(1, 4))
    notify(tmp_path, "mlflow", range(4, 6), step=3)
    (run,) = mlflow.search_runs([mlflow.get_experiment_by_name("sim2real").experiment_id])
    assert run.info.run_name == "town"
    assert run.data.params["data/size"] == "[32, 24]"
    assert [point.step for point in mlflow.get_metric_history(run.info.run_id, "validation/cycle")] == [1, 2, 3, 4, 5]
    pictures = [item.path for item in mlflow.list_artifacts(run.info.run_id, "images")]
    assert any("samples" in path and path.endswith(".png") for path in pictures)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Weights & Biases without a network."""
    pytest.importorskip("pytorch_lightning")
    module = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield module
    module.teardown()


def test_wandb_has_one_run_of_a_training_that_was_resumed(tmp_path: Path, wandb: Any) -> None:
    notify(tmp_path, "wandb", range(1, 4))
    notify(tmp_path, "wandb", range(4, 6), step=3)
    wandb.teardown()  # its service writes what is left after a run has finished
    name = json.loads((tmp_path / "loggers.json").read_text())["wandb"]
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{name}.wandb"))
    assert len(files) == 2  # one part for each process; `wandb sync` joins them by the name
    told = [step for file in files for step in steps_of(wandb, file)]
    assert told == [1, 2, 3, 4, 5]
    assert len([*(tmp_path / "wandb").glob("offline-run-*/files/media/images/samples_*.png")]) == 2


def steps_of(wandb: Any, file: Path) -> list[int]:
    """The steps at which a transaction log of W&B has the held-out cycle loss."""
    proto = import_module(f"{wandb.__name__}.proto.wandb_internal_pb2")
    steps = []
    for data in records(file.read_bytes()):
        record = proto.Record()
        record.ParseFromString(data)
        figures = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        if "validation/cycle" in figures:
            steps.append(int(figures["trainer/global_step"]))
    return steps


def records(log: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes them (its doc/log_format.md), behind seven bytes of W&B."""
    at, record = 7, b""
    while at + 7 <= len(log):
        if (room := 2**15 - at % 2**15) < 7:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", log, at)
        record += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # a whole one, or the last part of one
            yield record
            record = b""


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "lightning_fabric"), ("wandb", "pytorch_lightning"), ("mlflow", "mlflow")]
)
def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(SettingsError, match=rf"log\.to: {name} is not installed; pip install \"sim2real\[{name}"):
        Loggers([name], tmp_path, SETTINGS, "town")


def test_a_service_that_refuses_is_told_before_anything_is_logged(tmp_path: Path, mlflow: Any) -> None:
    (tmp_path / "loggers.json").write_text('{"mlflow": "0123456789abcdef0123456789abcdef"}')
    loggers = Loggers(["mlflow"], tmp_path, SETTINGS, "town", step=3)
    with pytest.raises(SettingsError, match=r"log\.to: mlflow cannot start: .*not found; fix that, or remove mlflow"):
        loggers.begin()


def test_a_logger_that_fails_on_the_way_falls_silent_and_the_others_go_on(tmp_path: Path, events: Any) -> None:
    class Broken:
        def log(self, *_figures: object) -> None:
            raise ConnectionError("the service\nis gone")

    loggers = Loggers(["tensorboard"], tmp_path, SETTINGS, "town")
    loggers.begin()
    loggers._open = {"wandb": Broken(), **loggers._open}  # type: ignore[dict-item]  # it fails as a service might
    (fault,) = loggers.log(1, {"cycle": 1.0})
    assert fault == (
        "log.to: wandb failed (ConnectionError: the service is gone) and is not used any more; see metrics.jsonl"
    )
    assert loggers.log(2, {"cycle": 2.0}) == loggers.close() == []
    assert points(events(tmp_path), "cycle") == [(1, 1.0), (2, 2.0)]
