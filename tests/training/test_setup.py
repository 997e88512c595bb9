from pathlib import Path

import pytest

from sim2real.config import resolve
from sim2real.registry import registry
from sim2real.training import Trainer

OTHERS = {"patch": "patchgan70", "patchgan70": "combined", "combined": "global"}


@pytest.mark.parametrize("recipe", [entry.name for entry in registry().entries("recipes")])
def test_every_recipe_trains_with_another_discriminator(
    recipe: str, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    other = OTHERS[resolve(recipe).discriminator.name]
    sets = [*tiny, f"discriminator.name={other}", "discriminator.options.width=4", "data.load_size=[36, 36]"]
    sets += ["data.batch_size=2", "train.steps=2"]
    config = resolve(recipe, sets=sets, sim=str(photos / "sim"), real=str(photos / "real"))
    trainer = Trainer(config, tmp_path / "run")
    assert type(trainer.method.networks["D_real"].network) is registry().load("discriminators", other)
    assert [event.step for event in trainer.train()] == [2]  # type: ignore[union-attr]  # no notes here
    assert trainer.finished
