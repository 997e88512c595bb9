from collections.abc import Sequence

import torch

from sim2real.methods.base import StepLog
from sim2real.training.meter import Meter


def test_losses_are_means_of_the_steps_that_have_them() -> None:
    meter = Meter()
    for step in range(4):
        losses = {"cycle": torch.tensor(float(step))}
        if step % 2:
            losses["r1"] = torch.tensor(10.0 * step)
        meter.add(StepLog(losses))
    assert meter.losses(lambda _: None) == {"cycle": 1.5, "r1": 20.0}


def test_they_are_averaged_over_processes_in_one_exchange() -> None:
    exchanged = []

    def with_another(tensors: Sequence[torch.Tensor]) -> None:
        (means,) = tensors
        exchanged.append(means.tolist())
        means.add_(1)

    meter = Meter()
    meter.add(StepLog({"cycle": torch.tensor(1.0), "identity": torch.tensor(3.0)}))
    assert meter.losses(with_another) == {"cycle": 2.0, "identity": 4.0}
    assert exchanged == [[1.0, 3.0]]


def test_a_resumed_meter_goes_on() -> None:
    logs = [StepLog({"cycle": torch.tensor(0.1 * step)}) for step in range(3)]
    whole, first, second = Meter(), Meter(), Meter()
    for log in logs:
        whole.add(log)
    for log in logs[:2]:
        first.add(log)
    second.load_rank_state_dict(first.rank_state_dict())
    second.add(logs[2])
    assert second.losses(lambda _: None) == whole.losses(lambda _: None)
