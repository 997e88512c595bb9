import errno
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from safetensors.torch import load_file
from torch import Tensor

from sim2real.config import Config, read_config, resolve
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.imageio import read_rgb
from sim2real.losses import LossInputs
from sim2real.model import load_generator, read_info
from sim2real.training import Note, Trainer, TrainingProgress
from sim2real.training.results import usual_encoding
from sim2real.training.run import RunFolder
from tests.commands import GENERATORS, generators, metrics
from tests.training.running import run

Configure = Callable[..., Config]
Paint = Callable[..., Path]


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The lines that are no notes."""
    return [line for line in metrics(folder) if "note" not in line]


# --------------------------------------------------------------------------------------------------- what it leaves


def test_a_training_leaves_all_that_it_should(configure: Configure, tmp_path: Path) -> None:
    config = configure("sample.every=4", "sample.count=2", "data.validation=2", "checkpoint.keep=1")
    trainer, events = run(config, tmp_path / "run")
    folder = tmp_path / "run"
    assert trainer.finished
    assert read_config(folder / "config.toml") == config.model_copy(update={"compile": False})
    assert sorted(path.name for path in (folder / "checkpoints").glob("[!.]*")) == ["step_00000006"]
    assert (folder / "last").resolve() == (folder / "checkpoints" / "step_00000006").resolve()
    assert (folder / "last").readlink() == Path("checkpoints/step_00000006")
    samples = ["progress.webp", "step_00000004.png", "step_00000006.png"]
    assert sorted(path.name for path in (folder / "samples").iterdir()) == samples
    assert read_rgb(folder / "samples" / "step_00000006.png").shape == (2 * 32, 6 * 32, 3)
    records = records_of(folder)
    assert [record["step"] for record in records] == [2, 4, 6]
    assert all(math.isfinite(value) for record in records for value in record.values())
    assert {"epoch", "rate", "adversarial_real", "cycle", "identity", "D_sim"} <= records[0].keys()
    assert {"validation/generator", "evaluation/score", "evaluation/distance"} <= records[-1].keys()
    progress = [event for event in events if isinstance(event, TrainingProgress)]
    assert [event.step for event in progress] == [2, 4, 6]
    assert all(event.images_per_second > 0 for event in progress)
    assert progress[-1].seconds_left == 0
    assert progress[0].epoch == pytest.approx(2 / 7)  # of the larger side, 7 of 9 images
    _, info = load_generator(folder / "sim2real.safetensors")
    generator = RunFolder(folder).read_config().generator
    assert (info.name, info.recipe, info.options) == (generator.name, "combined", generator.options)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_newest_checkpoints_are_kept(configure: Configure, tmp_path: Path) -> None:
    run(configure("checkpoint.every=1", "checkpoint.keep=3"), tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("[!.]*"))
    assert kept == ["step_00000004", "step_00000005", "step_00000006"]


def test_an_epoch_is_as_many_images_as_the_larger_side_has(configure: Configure, tmp_path: Path) -> None:
    trainer = Trainer.begin(configure("train.epochs=3", "data.batch_size=2", "data.validation=0"), tmp_path / "run")
    assert trainer.total == 3 * 5  # 9 images, 2 a step


# ------------------------------------------------------------------------------------------------------ determinism


def test_equal_seeds_give_equal_bytes_whatever_the_paths_and_workers(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "a")
    run(configure("data.workers=2", "log.every=1", "checkpoint.every=5"), tmp_path / "elsewhere" / "b")
    run(configure("seed=1"), tmp_path / "c")
    assert generators(tmp_path / "a") == generators(tmp_path / "elsewhere" / "b")
    assert generators(tmp_path / "a")[0] != generators(tmp_path / "c")[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("until", [1, 3, 5])
def test_a_stopped_and_resumed_run_is_bit_for_bit_one_never_stopped(
    configure: Configure, tmp_path: Path, until: int, precision: str
) -> None:
    config = configure(f"precision={precision}", "image_pool_size=2", "evaluate.every=4", "schedule.decay=3")
    run(config, tmp_path / "whole")
    trainer, _ = run(config, tmp_path / "parts", until=until)
    assert not trainer.finished
    assert not (tmp_path / "parts" / GENERATORS[0]).exists()
    trainer, _ = run(config, tmp_path / "parts", resume=True)
    assert trainer.finished
    assert generators(tmp_path / "parts") == generators(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_what_parts_draw_at_random_goes_on_where_it_stopped(configure: Configure, tmp_path: Path) -> None:
    def train(folder: Path, *, until: int | None = None, resume: bool = False) -> None:
        trainer = (Trainer.resume if resume else Trainer.begin)(configure(), folder)
        terms: Any = trainer.method.settings.terms
        terms["noise"] = (1.0, lambda images: (images.fake_real * torch.rand(())).mean())
        for _ in trainer.train(stop=lambda: trainer.step == until):
            pass

    train(tmp_path / "whole")
    train(tmp_path / "parts", until=3)
    torch.rand(5)  # another process draws other numbers
    train(tmp_path / "parts", resume=True)
    assert generators(tmp_path / "parts") == generators(tmp_path / "whole")


def test_a_run_that_died_between_checkpoints_repeats_what_was_lost(configure: Configure, tmp_path: Path) -> None:
    config = configure("log.every=1", "sample.every=1")
    run(config, tmp_path / "whole")
    for event in Trainer.begin(config, tmp_path / "parts").train():
        if isinstance(event, TrainingProgress) and event.step == 5:
            break
    assert [record["step"] for record in metrics(tmp_path / "parts")] == [1, 2, 3, 4, 5]
    run(config, tmp_path / "parts", resume=True)
    assert generators(tmp_path / "parts") == generators(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_a_run_that_died_before_its_first_checkpoint_begins_again(configure: Configure, tmp_path: Path) -> None:
    config = configure("log.every=1")
    run(config, tmp_path / "whole")
    next(Trainer.begin(config, tmp_path / "parts").train())
    run(config, tmp_path / "parts", resume=True)
    assert generators(tmp_path / "parts") == generators(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_leftovers_of_a_dead_writer_are_ignored_and_removed(configure: Configure, tmp_path: Path) -> None:
    config, folder = configure(), tmp_path / "run"
    run(config, tmp_path / "whole")
    run(config, folder, until=3)
    partial = folder / "checkpoints" / ".step_00000006.tmp-123"
    partial.mkdir()
    (partial / "state.pt").write_bytes(b"half")
    (folder / ".metrics.jsonl.tmp-123").write_text("half")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "epo')
    trainer, _ = run(config, folder, resume=True)
    assert trainer.finished
    assert generators(folder) == generators(tmp_path / "whole")
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert list(folder.rglob(".*")) == [folder / "checkpoints" / ".lock"]


def test_a_run_that_died_before_writing_its_generators_writes_them(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    run(config, tmp_path / "run")
    before = generators(tmp_path / "run")
    (tmp_path / "run" / GENERATORS[1]).unlink()
    trainer, events = run(config, tmp_path / "run", resume=True)
    assert events == []
    assert trainer.finished
    assert generators(tmp_path / "run") == before


# ------------------------------------------------------------------------------------------------- resuming, refused


def test_a_folder_that_exists_is_refused_without_resume(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "run", until=1)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    for name in ("run", "file", "full"):
        with pytest.raises(Sim2RealError, match=rf"{name}: exists already; add --resume .* or choose another --run"):
            Trainer.begin(configure(), tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / f".config.toml.tmp-{os.getpid()}").write_text("")  # a writer died in the first moment
    assert not Trainer.begin(configure(), tmp_path / "empty").finished
    with pytest.raises(Sim2RealError, match="cannot be created"):
        Trainer.begin(configure(), tmp_path / "file" / "run")


def test_what_is_wrong_leaves_no_run_folder(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError):
        Trainer.begin(configure("data.size=[34, 34]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named_and_the_one_before_resumed(configure: Configure, tmp_path: Path) -> None:
    config, folder = configure("log.every=1"), tmp_path / "run"
    run(config, folder, until=5)
    run(config, tmp_path / "whole")
    state = folder / "checkpoints" / "step_00000005" / "state.pt"
    state.write_bytes(state.read_bytes()[:5000])
    trainer, events = run(config, folder, resume=True)
    assert isinstance(events[0], Note)
    assert events[0].text == (
        f"{state.parent}: damaged checkpoint (state.pt has changed since it was written); "
        "continuing from an earlier one, step_00000003"
    )
    assert trainer.finished
    assert generators(folder) == generators(tmp_path / "whole")
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert sorted(path.name for path in state.parents[1].glob("[!.]*")) == ["step_00000003", "step_00000006"]


def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew_unasked(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "run", until=2)
    (tmp_path / "run" / "last" / "state.pt").unlink()
    with pytest.raises(Sim2RealError, match=r"damaged checkpoint \(state.pt is missing\), and there is no intact one"):
        Trainer.resume(configure(), tmp_path / "run")
    assert (tmp_path / "run" / "last").exists()


def test_images_that_changed_under_a_run_are_noticed(configure: Configure, tmp_path: Path, paint: Paint) -> None:
    sim = paint(tmp_path / "sim", 4)
    run(configure(sim=sim), tmp_path / "run", until=3)
    (sim / "0002.png").rename(sim / "two.png")
    with pytest.raises(Sim2RealError, match="have changed since this run started"):
        Trainer.resume(configure(sim=sim), tmp_path / "run")


def test_a_finished_run_may_be_made_longer(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "run")
    trainer, events = run(configure("train.steps=8"), tmp_path / "run", resume=True)
    assert [event.step for event in events if isinstance(event, TrainingProgress)] == [8]
    assert trainer.finished
    assert read_config(tmp_path / "run" / "config.toml").train.steps == 8


# ------------------------------------------------------------------------------------------- schedule, averages, end


def test_rates_are_constant_and_then_fall_in_a_line(configure: Configure, tmp_path: Path) -> None:
    run(configure("train.steps=8", "schedule={constant=100, decay=100}", "log.every=1"), tmp_path / "run")
    rates = [record["rate"] for record in records_of(tmp_path / "run")]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_rates_rise_in_the_first_steps_where_that_is_wanted(configure: Configure, tmp_path: Path) -> None:
    schedule = "schedule={constant=1, decay=1, warmup=4}"
    run(configure("train.steps=8", schedule, "log.every=1"), tmp_path / "run")
    rates = [record["rate"] for record in records_of(tmp_path / "run")]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("schedule", ["{constant=500, decay=0}", "{constant=0, decay=0}"])
def test_without_decay_rates_stay(configure: Configure, tmp_path: Path, schedule: str) -> None:
    run(configure("log.every=1", f"schedule={schedule}"), tmp_path / "run")
    assert {record["rate"] for record in records_of(tmp_path / "run")} == {1.0}


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    network = trainer.method.generators["sim2real"].network
    return {name: weight.detach().clone() for name, weight in network.state_dict().items()}


def test_the_generators_that_are_written_are_the_averaged_ones(configure: Configure, tmp_path: Path) -> None:
    trainer = Trainer.begin(configure("log.every=1", "ema_decay=0.75", "optim.generator_lr=0.01"), tmp_path / "run")
    steps = [state_of(trainer) for event in trainer.train() if isinstance(event, TrainingProgress)]
    average = steps[0]
    for state in steps[1:]:
        average = {name: 0.75 * average[name] + 0.25 * state[name] for name in average}
    written = load_file(tmp_path / "run" / GENERATORS[0])
    torch.testing.assert_close(written, average)
    assert any(not torch.allclose(written[name], steps[-1][name]) for name in written)


def test_without_an_average_the_generators_themselves_are_written(configure: Configure, tmp_path: Path) -> None:
    trainer, _ = run(configure("ema_decay=0"), tmp_path / "run")
    torch.testing.assert_close(load_file(tmp_path / "run" / GENERATORS[0]), state_of(trainer), rtol=0, atol=0)


def test_patience_ends_a_run_that_gets_no_better(configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "train={steps=99, patience=1}", "evaluate.every=2", "optim.generator_lr=0", "optim.discriminator_lr=0",
        "data.validation=2",
    )  # fmt: skip
    trainer, events = run(config, tmp_path / "run")
    assert trainer.step == 10  # the best is step 2, and an epoch of 7 steps is over at the evaluation after step 9
    assert [event.text for event in events if isinstance(event, Note)] == [
        "stopped at step 10: no improvement on held-out images since step 2"
    ]
    assert trainer.finished
    assert Trainer.resume(config, tmp_path / "run").finished


def test_patience_waits_where_nothing_is_evaluated(configure: Configure, tmp_path: Path) -> None:
    config = configure("train={steps=20, patience=1}", "data.validation=0", "evaluate.every=2")
    trainer, events = run(config, tmp_path / "run")
    assert trainer.step == 20
    assert [event.text for event in events if isinstance(event, Note) and "train.patience" in event.text]


# ----------------------------------------------------------------------------------------------- what goes with it


def test_loggers_get_figures_and_pictures_also_after_a_resume(configure: Configure, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = configure("log.to=['tensorboard']", "sample.every=2", "sample.count=1")
    run(config, tmp_path / "run", until=3)
    run(config, tmp_path / "run", resume=True)
    told = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    told.Reload()
    assert [event.step for event in told.Scalars("cycle")] == [2, 4, 6]
    assert [event.step for event in told.Images("samples")] == [2, 4, 6]
    written = [record["cycle"] for record in records_of(tmp_path / "run")]
    assert [event.value for event in told.Scalars("cycle")] == pytest.approx(written)


def test_a_logger_that_is_not_installed_leaves_no_run_folder(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric.loggers", None)
    with pytest.raises(Sim2RealError, match=r"tensorboard is not installed; pip install"):
        Trainer.begin(configure("log.to=['tensorboard']"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_cache_changes_nothing_and_goes_with_the_training(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "plain")
    cached = tmp_path / "cached"
    for event in Trainer.begin(configure("data.cache=true"), cached).train():
        if isinstance(event, TrainingProgress):
            assert any((cached / "cache").iterdir())
    assert not (cached / "cache").exists()
    assert generators(cached) == generators(tmp_path / "plain")


def test_images_that_change_under_a_run_are_named_once(configure: Configure, tmp_path: Path, paint: Paint) -> None:
    sim = paint(tmp_path / "sim", 3)
    trainer = Trainer.begin(configure("data.validation=0", "log.every=1", sim=sim), tmp_path / "run")
    os.utime(sim / "0001.png", ns=(0, 0))
    notes = [event.text for event in trainer.train() if isinstance(event, Note)]
    assert notes == [f"changed since the training started: {sim / '0001.png'}"]


# --------------------------------------------------------------------------------------------------- when it fails


def finite(folder: Path) -> bool:
    tensors = [
        tensor
        for checkpoint in (folder / "checkpoints").iterdir()
        for file in checkpoint.glob("*.safetensors")
        for tensor in load_file(file).values()
    ]
    for state in (folder / "checkpoints").glob("*/state.pt"):
        method = torch.load(state, weights_only=True)["method"]
        tensors += [
            weight for name in ("G_sim2real", "G_real2sim", "D_real", "D_sim") for weight in method[name].values()
        ]
    assert tensors
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("log_every", [1, 50])
def test_a_diverging_run_stops_and_names_the_last_good_checkpoint(
    configure: Configure, tmp_path: Path, log_every: int
) -> None:
    config = configure("train.steps=60", f"log.every={log_every}", "checkpoint.every=2", "ema_decay=0")
    run(config, tmp_path / "run", until=3)
    trainer = Trainer.resume(config, tmp_path / "run")
    for weight in trainer.method.networks["D_real"].parameters():
        weight.data.fill_(1e30)
    with pytest.raises(Sim2RealError, match=r"step 4: .* is not finite; the last good checkpoint is .*step_00000003;"):
        list(trainer.train())
    assert finite(tmp_path / "run")
    assert not (tmp_path / "run" / GENERATORS[0]).exists()


def test_an_absurd_rate_ends_in_an_error(configure: Configure, tmp_path: Path) -> None:
    config = configure("optim.generator_lr=1e38", "optim.discriminator_lr=1e38", "log.every=1")
    with pytest.raises(Sim2RealError, match=r"step 2: .* is not finite; there is no checkpoint yet; lower the rates"):
        run(config, tmp_path / "run")


def test_weights_that_break_at_a_finite_loss_are_not_saved(configure: Configure, tmp_path: Path) -> None:
    trainer = Trainer.begin(configure("checkpoint.every=1"), tmp_path / "run")

    def breaks_at_step_3(images: LossInputs) -> Tensor:
        return (images.fake_real * 0.0).sum().sqrt() if trainer.step == 2 else images.fake_real.sum() * 0.0

    terms: Any = trainer.method.settings.terms
    terms["root"] = (1.0, breaks_at_step_3)
    with pytest.raises(
        Sim2RealError, match=r"step 3: a weight of G_sim2real is not finite; the last good .*step_00000002;"
    ):
        list(trainer.train())
    assert finite(tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_skipped_counted_and_named(
    configure: Configure, tmp_path: Path, paint: Paint, workers: int
) -> None:
    real = paint(tmp_path / "real", 5)
    for number in (1, 3):
        path = real / f"000{number}.png"
        path.write_bytes(path.read_bytes()[:200])
    config = configure("train.steps=12", f"data.workers={workers}", "data.validation=0", real=real)
    trainer, events = run(config, tmp_path / "run")
    notes = [event.text for event in events if isinstance(event, Note)]
    assert trainer.finished
    assert len(notes) == 3
    assert sorted(re.findall(r"000\d\.png", " ".join(notes[:2]))) == ["0001.png", "0003.png"]
    assert re.match(r"2 images could not be read and were skipped; the first: .*0001\.png", notes[-1])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_side_that_cannot_be_read_at_all_is_one_line(
    configure: Configure, tmp_path: Path, paint: Paint, workers: int
) -> None:
    real = paint(tmp_path / "real", 3)
    for path in real.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"^none of 2 real images can be read; the last: [^\n]*$"):
        run(configure(f"data.workers={workers}", real=real), tmp_path / "run")


def test_held_out_images_that_cannot_be_read_do_not_end_a_run(
    configure: Configure, tmp_path: Path, paint: Paint
) -> None:
    two = tmp_path / "two"
    for seed, part in enumerate(("trainA", "trainB", "testA", "testB")):
        paint(two / part, 3, seed=seed)
    for path in (two / "testB").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    trainer, _ = run(configure(sim=two, real=""), tmp_path / "run")
    assert trainer.finished


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.size=[34, 32]", r"data\.size = \[34, 32\]: the generator '[\w-]+' needs multiples of 4"),
        ("generator.name=resnett", "no generator is called 'resnett'; did you mean resnet"),
        ("generator.options.widht=4", r"generator\.options\.widht: .*did you mean width"),
        ("method.options.update_order=both", r"method\.options\.update_order = 'both': must be 'gen"),
        ("data.augment=['hflop']", "no augmentation is called 'hflop'"),
        ("losses.cycle={weight=1, options={kind=2}}", r"losses\.cycle\.options\.kind: 'cycle' takes no such option"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(
    configure: Configure, tmp_path: Path, setting: str, words: str
) -> None:
    with pytest.raises(Sim2RealError, match=words):
        Trainer.begin(configure(setting), tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError, match="device 'cuda': no such device; available: cpu"):
        Trainer.begin(configure("device=cuda"), tmp_path / "run")


def test_a_second_training_in_the_same_run_folder_is_refused_and_disturbs_nothing(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.steps=4", "log.every=1")
    first = Trainer.begin(config, tmp_path / "run")
    events = first.train()
    next(events)
    with pytest.raises(Sim2RealError, match="another training"):
        next(Trainer.resume(config, tmp_path / "run").train())
    list(events)
    assert first.finished
    assert [record["step"] for record in records_of(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_disk_that_fills_up_is_told_with_how_to_go_on(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    config = configure("log.every=1")
    run(config, tmp_path / "whole")
    trainer = Trainer.begin(config, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "log", full)
        with pytest.raises(Sim2RealError, match=r"/run: No space left on device; .* continue with --resume"):
            list(trainer.train())
    run(config, tmp_path / "run", resume=True)
    assert generators(tmp_path / "run") == generators(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_too_little_memory_is_told_with_what_to_lower(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(_batch: object) -> None:
        raise torch.OutOfMemoryError("lack of memory")  # no GPU here whose memory could run out

    trainer = Trainer.begin(configure("data.batch_size=2"), tmp_path / "run")
    monkeypatch.setattr(trainer.method, "step", step)
    with pytest.raises(
        Sim2RealError, match=r"after 0 steps .*: cpu has too little memory; set train.gradient_accumulation_steps = 2 "
    ):
        list(trainer.train())


def test_too_little_memory_for_a_batch_is_told_likewise(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer.begin(configure(), tmp_path / "run")

    def allocate(*_shape: int, **_options: object) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 30000000000 bytes.")

    monkeypatch.setattr("sim2real.training.data.torch.empty", allocate)
    with pytest.raises(Sim2RealError, match=r"after 0 steps .*: cpu has too little memory; lower data\.size"):
        list(trainer.train())


@pytest.mark.parametrize(("steps", "told"), [(1999, False), (2000, True)])
def test_a_long_training_says_why_it_is_not_compiled(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, told: bool
) -> None:
    for module in ("speed", "precision"):
        monkeypatch.setattr(f"sim2real.training.{module}.reason_not_to_compile", lambda: "no C++ compiler")
    trainer = Trainer.begin(configure("compile=auto", "precision=bf16", f"train.steps={steps}"), tmp_path / "run")
    assert trainer.choices == ["no C++ compiler; the training goes on uncompiled, which is slower"] * told


def test_sides_that_are_not_there_cannot_be_swapped(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not have two sides to swap"):
        Trainer.begin(configure("swap=true"), tmp_path / "run")


def test_a_training_notes_how_the_real_images_are_encoded(photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for number, file in enumerate(sorted((photos / "real").iterdir())):
        with Image.open(file) as image:
            image.convert("RGB").save(real / f"{number}.jpg", quality=60 + number % 3, subsampling="4:2:0")
    for name, place, count in (("jpeg", real, 1), ("png", photos / "real", 0)):
        config = resolve(sets=tiny, sim=str(photos / "sim"), real=str(place))
        for _ in Trainer.begin(config, tmp_path / name).train():
            pass
        found = read_info(tmp_path / name / "sim2real.safetensors").real_encoding
        assert found is not None
        assert len(found) == count
        if found:
            with Image.open(real / "1.jpg") as image:
                assert isinstance(image, JpegImageFile)
                assert [list(table) for table in found[0].tables] == [*image.quantization.values()]
            assert (found[0].sampling, found[0].progressive) == ("4:2:0", False)
    (tmp_path / "frames").mkdir()
    extracted = (real / "0.jpg").rename(tmp_path / "frames/0.jpg")
    assert usual_encoding([extracted], tmp_path / "frames") == ()
