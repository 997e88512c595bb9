import re
import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.config import (
    Config,
    differences,
    json_schema,
    parse_count,
    parse_set,
    read_config,
    read_settings,
    resolve,
)
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.registry import registry

GENERATORS = [entry.name for entry in registry().entries("generators")]
RECIPES = [entry.name for entry in registry().entries("recipes")]


def refusal(*sets: str, **file: object) -> str:
    with pytest.raises(Sim2RealError) as caught:
        resolve(file=file, sets=sets)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("recipe", "text", "key"),
    [
        ("reinhard", "losses.cycle=5", "losses.cycle"),
        ("reinhard", "discriminator.name=patch", "discriminator.name"),
        ("histogram", "optim.generator_lr=1e-3", "optim.generator_lr"),
        ("fda", "discriminator.regularization.r1=1", "discriminator.regularization.r1"),
        ("default", "networks.other.name=patch", "networks.other.name"),
    ],
)
def test_what_the_method_has_no_use_for_is_refused(recipe: str, text: str, key: str) -> None:
    method = resolve(recipe).method.name
    with pytest.raises(SettingsError, match=f"--set {text}: {key}: the method '{method}' does not use it; leave it"):
        resolve(recipe, sets=[text])
    with pytest.raises(SettingsError, match=rf"sim2real\.toml: {key}: the method"):
        resolve(recipe, file=parse_set(text))


def test_what_changes_nothing_is_not_refused() -> None:
    same = resolve("reinhard").losses.cycle.weight
    assert resolve("reinhard", sets=[f"losses.cycle={same}", "data.batch_size=2", "ema_decay=0"]).data.batch_size == 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_valid_and_survives_being_written_down(recipe: str) -> None:
    config = resolve(recipe)
    assert config.recipe == recipe
    assert config.summary
    assert resolve(file=tomllib.loads(config.dump())) == config


def test_each_layer_goes_over_the_one_before() -> None:
    assert resolve().data.batch_size == 4
    assert resolve(file={"data": {"batch_size": 2}}).data.batch_size == 2
    assert resolve(file={"data": {"batch_size": 2}}, sets=["data.batch_size=3"]).data.batch_size == 3
    assert resolve(sets=["seed=3"], file={"seed": 2}, seed=4).seed == 4
    assert resolve(sets=["seed=3", "seed=5"]).seed == 5
    assert resolve(file={"seed": 2}, seed=None).seed == 2


def test_a_layer_leaves_alone_what_it_does_not_name() -> None:
    config = resolve(file={"data": {"batch_size": 2}})
    assert config.data.size == resolve().data.size
    assert config.generator == resolve().generator


def test_a_word_alone_is_a_list_of_one() -> None:
    config = resolve(
        sets=["log.to=tensorboard", "discriminator.regularization.augment=color", "data.sim_include=*/clone/*"]
    )
    assert (config.log.to, config.discriminator.regularization.augment, config.data.sim_include) == (
        ["tensorboard"], ["color"], ["*/clone/*"]
    )  # fmt: skip
    assert accepts({"log": {"to": "tensorboard"}, "data": {"augment": "hflip"}})


def test_the_recipe_may_be_named_by_any_layer() -> None:
    assert resolve("monet2photo", file={"recipe": "cyclegan"}).recipe == "monet2photo"
    assert resolve(file={"recipe": "cyclegan"}, sets=["recipe=monet2photo"]).data.size == (128, 128)
    assert resolve(file={"recipe": "cyclegan"}).data.load_size == (286, 286)


def test_values_of_sets_are_toml_or_plain_words() -> None:
    config = resolve(
        sets=[
            "data.size=[64, 32]",
            "generator.options.width=8",
            "optim.generator_lr=1e-3",
            "losses.adversarial=hinge",
            'device="cpu"',
            "compile=true",
            "data.augment=[]",
            "log.to=[tensorboard, mlflow]",
            "data.sim_include=[*/clone/*]",
            "real=some/folder with spaces",
            "sim=",
        ]
    )
    assert config.data.size == (64, 32)
    assert config.log.to == ["tensorboard", "mlflow"]
    assert config.data.sim_include == ["*/clone/*"]
    assert config.generator.options["width"] == 8
    assert config.optim.generator_lr == 1e-3
    assert config.losses.adversarial == "hinge"
    assert config.device == "cpu"
    assert config.compile
    assert config.data.augment == []
    assert config.real == "some/folder with spaces"
    assert config.sim == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256", (256, 256)),
        ("256x128", (256, 128)),
        ("256X128", (256, 128)),
        ("'256 x 128'", (256, 128)),
        ("256\u00d7128", (256, 128)),
        ("256,128", (256, 128)),
        ("[256, 128]", (256, 128)),
        ("'64'", (64, 64)),
    ],
)
def test_sizes_are_taken_as_people_write_them(text: str, size: tuple[int, int]) -> None:
    config = resolve(sets=[f"data.size={text}"])
    assert config.data.size == size
    assert config.model_dump(mode="json")["data"]["size"] == list(size)
    assert resolve(sets=[f"data.load_size={text}"]).data.load_size == size
    conversion = {"source": "a", "out": "b", "resize": resolve(sets=[f"data.size={text}"]).model_dump()["data"]["size"]}
    assert resolve(file={"convert": [conversion]}).convert[0].resize == size


@pytest.mark.parametrize("size", [256, "256", "256x128", [256, 128]])
def test_a_file_may_write_sizes_so_too(size: object) -> None:
    assert resolve(file={"data": {"size": size}}).data.size in {(256, 256), (256, 128)}
    assert accepts({"data": {"size": size}})


@pytest.mark.parametrize(("size", "good"), [(256, False), ("256", False), ("256x128", True), ([256, 128], True)])
def test_frames_become_no_squares_by_chance(size: object, *, good: bool) -> None:
    settings = {"convert": [{"source": "a", "out": "b", "resize": size}]}
    assert accepts(settings) == good
    if good:
        assert resolve(file=settings).convert[0].resize == (256, 128)
        return
    with pytest.raises(Sim2RealError, match=r"convert\.0\.resize: must be width and height in pixels"):
        resolve(file=settings)


@pytest.mark.parametrize(
    ("text", "number"),
    [("20000", 20000), ("20k", 20000), ("1e4", 10000), ("20_000", 20000), ("1.5K", 1500), ("2M", 2 * 10**6)],
)
def test_numbers_are_taken_as_people_write_them(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "k", "20q", "1.5", "1e99", "1e-3", "0x10", "\u0663"])
def test_what_is_no_whole_number_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="whole number, for example 20000, 20k or 1e4"):
        parse_count(text)


@pytest.mark.parametrize("text", ["-3", "-20k", "-1e4"])
def test_what_is_below_one_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="at least 1, for example 20000, 20k or 1e4"):
        parse_count(text)


def test_the_real_side_is_one_place_or_several() -> None:
    assert resolve(sets=["real=photos"]).real_places == [Path("photos")]
    assert resolve(sets=['real=["photos", "drive.mp4"]']).real_places == [Path("photos"), Path("drive.mp4")]
    assert resolve(sim="both").real_places == resolve(sim="both", real=[]).real_places == [Path("both")]
    for wrong in (3, ["photos", 3], ["photos", ""], {"a": "b"}):
        assert refusal(real=wrong) == "sim2real.toml: real: must be a folder or a video, or a list of them"


def test_another_component_drops_the_options_of_the_one_it_replaces() -> None:
    assert resolve("combined", sets=["discriminator.name=global"]).discriminator.options == {}
    assert resolve("combined", sets=["discriminator.name=combined"]).discriminator.options == {"width": 32}
    other = resolve(sets=["discriminator.name=patch", "discriminator.options.width=16"])
    assert other.discriminator.options == {"width": 16}
    together = resolve("cyclegan", file={"generator": {"name": "encoder-decoder", "options": {"width": 8}}})
    assert together.generator.options == {"width": 8}
    kept = resolve("cyclegan", file={"generator": {"options": {"width": 8}}}).generator.options
    assert kept == {**resolve("cyclegan").generator.options, "width": 8}


def test_steps_and_epochs_replace_each_other() -> None:
    assert resolve("cyclegan").train.epochs == 200
    by_steps = resolve("cyclegan", sets=["train.steps=7"]).train
    assert (by_steps.steps, by_steps.epochs) == (7, None)
    by_epochs = resolve("cyclegan", sets=["train.steps=7"], train__epochs=3).train
    assert (by_epochs.steps, by_epochs.epochs) == (None, 3)
    assert resolve("cyclegan", sets=["train.patience=2"]).train.epochs == 200
    assert "train.steps or train.epochs" in refusal(train={"steps": 3, "epochs": 3})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("data.sise=[3,3]", ["--set data.sise=[3,3]: data.sise: no such setting", "did you mean data.size?"]),
        ("generator.nam=resnet", ["generator.nam: no such setting", "did you mean generator.name?"]),
        ("sead=1", ["sead: no such setting", "did you mean seed?"]),
        ("xyzzy=1", ["xyzzy: no such setting", "accepted: recipe, ", "discriminator"]),
        ("train.xyzzy=1", ["accepted: steps, epochs, patience"]),
        ("losses.adversarial=wgan", ["losses.adversarial: ", "'lsgan', 'bce' or 'hinge'; did you mean lsgan?"]),
        ("losses.adversarial=xyzzy", ["losses.adversarial: must be 'lsgan', 'bce' or 'hinge'"]),
        ("losses.adversarial=3", ["losses.adversarial: must be 'lsgan', 'bce' or 'hinge'"]),
        (
            "discriminator.regularization.augment=['colour']",
            ["discriminator.regularization.augment.0: ", "did you mean color?"],
        ),
        ("compile=maybe", ["compile: must be 'auto', true or false"]),
        ("compile=atuo", ["did you mean auto?"]),
        ("log.to=['tensorbord']", ["log.to.0: ", "did you mean tensorboard?"]),
        (
            "generator.name=rsnet",
            ["--set generator.name=rsnet: generator.name: no generator", "did you mean resnet or unet?"],
        ),
        ("discriminator.name=xyzzy", ["discriminator.name: no discriminator is called 'xyzzy'; known: patch, global"]),
        ("method.name=cyclegn", ["method.name: no method is called 'cyclegn'; did you mean cyclegan?"]),
        ("losses.cycl=3", ["--set losses.cycl=3: losses: no loss is called 'cycl'", "did you mean cycle?"]),
        ("losses.cycle=-1", ["losses.cycle", "must be at least 0"]),
        ("losses.cycle=much", ["losses.cycle.weight: must be a number"]),
        (
            "losses.cycle={weight=1, option={}}",
            ["losses.cycle.option: no such", "did you mean losses.cycle.options?"],
        ),
        ("data.size=[0,32]", ["data.size.0", "greater than 0"]),
        ("data.fit=squeeze", ["data.fit", "'crop' or 'resize'"]),
        ("optim.betas=[2,3]", ["optim.betas.0", "less than 1"]),
        ("schedule.decay=inf", ["schedule.decay", "finite"]),
        ("seed=99999999999999999999", ["seed", "less than"]),
        ("train.steps=0", ["train.steps", "greater than 0"]),
        ("generator=resnet", ["generator: must be a table with name, options"]),
        ("convert=[{source='a', out='b', qualty=3}]", ["convert.0.qualty", "did you mean convert.0.quality?"]),
        (
            "convert=[{source='a', out='b', quality=80, encoding='real'}]",
            ["convert.0: quality = 80 does not go with encoding = 'real'"],
        ),
        ("recipe=cyclgan", ["no recipe is called 'cyclgan'", "did you mean cyclegan"]),
        ("recipe=3", ["no recipe is called '3'"]),
        ("data.batch_size", ["--set data.batch_size: write key=value"]),
        ("batch_size=4", ["--set batch_size=4: batch_size: no such setting; did you mean data.batch_size?"]),
        ("batch-size=4", ["did you mean data.batch_size?"]),
        ("data.batchsize=4", ["did you mean data.batch_size?"]),
        ("lr=1", ["lr: no such setting"]),
        ("generator_lr=1", ["did you mean optim.generator_lr?"]),
        ("width=8", ["did you mean discriminator.options.width or generator.options.width?"]),
        ("generator.width=8", ["did you mean discriminator.options.width or generator.options.width?"]),
        ("steps=8", ["did you mean train.steps?"]),
        ("data.size=256x", ['data.size: must be width and height in pixels, for example 256, "256x128" or [256, 128]']),
        ("data.size=256.5", ["data.size: must be width and height in pixels"]),
        ("data.size=[1,2,3]", ["data.size: must be width and height in pixels"]),
        ("data.size=[a,b]", ["data.size.0: must be a whole number, for example [256, 256]"]),
        ("data.size=['a','b']", ["data.size.0: must be a whole number, for example [256, 256]"]),
        ("data.size=true", ["data.size: must be width and height in pixels"]),
        ("data.batch_size=four", ["data.batch_size: must be a whole number, for example 1"]),
        ("data.batch_size=1.5", ["data.batch_size: must be a whole number, for example 1"]),
        ("train.steps=20k", ["train.steps: must be a whole number: write 20000"]),
        ("data.augment=3", ["data.augment: must be a list, for example [3]"]),
        ("log.to=tensorbord", ["log.to.0: ", "did you mean tensorboard?"]),
        ("data.cache=perhaps", ["data.cache: must be true or false, for example false"]),
        ("optim.betas=0.5", ["optim.betas: must be a list, for example [0.5, 0.999]"]),
        ("optim.betas=[0.5]", ["optim.betas.1: is missing, for example [0.5, 0.999]"]),
        ("generator.name=3", ["generator.name: must be text, for example"]),
        ("convert=[{source='a'}]", ["convert.0.out: is missing"]),
        ("device=3", ['device: must be text, for example "auto"']),
        ("=3", ["write key=value"]),
    ],
)
def test_a_wrong_set_is_refused_with_its_place_and_what_is_accepted(text: str, parts: list[str]) -> None:
    message = refusal(text)
    assert [part for part in parts if part not in message] == []


def test_a_wrong_layer_is_told_by_its_name() -> None:
    assert refusal(data={"sise": [3, 3]}).startswith("sim2real.toml: data.sise")
    assert refusal("seed=1", "ema_decay=2").startswith("--set ema_decay=2: ema")
    with pytest.raises(Sim2RealError, match=r"options: seed: .*at least"):
        resolve(seed=-1)


def test_names_that_are_wrong_in_a_file_are_told_with_its_name() -> None:
    assert refusal(generator={"name": "rsnet"}).startswith("sim2real.toml: generator.name: no generator")
    assert refusal(losses={"cycl": 1.0}).startswith("sim2real.toml: losses: no loss")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("critic.r1=1", "critic: renamed; it is now discriminator.regularization"),
        ("ema=0.9", "ema: renamed; it is now ema_decay"),
        ("pool=50", "pool: renamed; it is now image_pool_size"),
        ("optim.clip=1", "optim.clip: renamed; it is now optim.max_grad_norm"),
        ("train.accumulate=2", "train.accumulate: renamed; it is now train.gradient_accumulation_steps"),
    ],
)
def test_a_setting_by_its_earlier_name_is_told_the_new_one(old: str, new: str) -> None:
    assert new in refusal(old)
    with pytest.raises(SettingsError, match=r"sim2real\.toml: .*renamed"):
        resolve(file=tomllib.loads(old))


def test_regularization_stays_when_another_discriminator_is_named() -> None:
    config = resolve("grid", sets=["discriminator.name=patch"])
    assert config.discriminator.options == {}
    assert config.discriminator.regularization.spectral_norm


def test_a_batch_is_accumulated_in_equal_parts() -> None:
    sets = ["train.gradient_accumulation_steps=3", "data.batch_size=6"]
    for order in (sets, sets[::-1]):  # a matter of all settings together, not of one after the other
        assert resolve(sets=order).train.gradient_accumulation_steps == 3
    message = refusal("train.gradient_accumulation_steps=4", "data.batch_size=6")
    assert "train.gradient_accumulation_steps = 4: data.batch_size = 6 cannot" in message
    assert "accepted: 1, 2, 3, 6" in message


def test_an_aim_for_augmentation_needs_an_augmentation() -> None:
    sets = ["discriminator.regularization.augment_target=0.6", 'discriminator.regularization.augment=["color"]']
    for order in (sets, sets[::-1]):
        assert resolve(sets=order).discriminator.regularization.augment_target == 0.6
    assert (
        "discriminator.regularization.augment_target = 0.6: discriminator.regularization.augment is empty"
        in refusal(sets[0])
    )


def test_losses_take_weights_and_options() -> None:
    terms = resolve("cyclegan").losses.terms()
    assert {name: term.weight for name, term in terms.items()} == {"cycle": 10, "identity": 5}
    assert "identity" not in resolve(sets=["losses.identity=0"]).losses.terms()
    assert resolve(sets=["losses.identity.weight=3"]).losses.terms()["identity"].weight == 3
    term = resolve(sets=["losses.cycle={weight=2, options={kind='x'}}"]).losses.terms()["cycle"]
    assert (term.weight, term.options) == (2, {"kind": "x"})


def test_files_that_are_missing_or_no_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError, match=r"absent\.toml: cannot be read .*sim2real init"):
        read_settings(tmp_path / "absent.toml")
    broken = tmp_path / "sim2real.toml"
    for content in (b"seed = \n", b"sim = '\xff'\n"):
        broken.write_bytes(content)
        with pytest.raises(Sim2RealError, match=re.escape(f"{broken}: not TOML")):
            read_settings(broken)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
configs = st.builds(
    lambda **settings: resolve(file={name: value for name, value in settings.items() if value is not None}),
    recipe=st.sampled_from([name for name in RECIPES if resolve(name).method.name == "cyclegan"]),
    sim=words,
    real=words | st.lists(words.filter(bool), max_size=3),
    run=words,
    summary=words,
    seed=st.integers(0, 2**40),
    ema_decay=st.floats(0, 0.999),
    data=st.fixed_dictionaries(
        {},
        optional={
            "size": st.tuples(st.integers(1, 4096), st.integers(1, 4096)).map(list),
            "load_size": st.tuples(st.integers(1, 4096), st.integers(1, 4096)).map(list),
            "sim_include": st.lists(words, max_size=3),
            "validation": st.floats(0, 100),
        },
    ),
    generator=st.fixed_dictionaries(
        {"name": st.sampled_from(GENERATORS)},
        optional={"options": st.dictionaries(words, st.integers() | words | st.booleans() | st.lists(st.integers()))},
    ),
    losses=st.fixed_dictionaries(
        {},
        optional={
            "cycle": st.floats(0, 1e6)
            | st.fixed_dictionaries({"weight": st.floats(0, 1e6), "options": st.dictionaries(words, st.integers())}),
        },
    ),
    train=st.sampled_from([{"steps": 5}, {"epochs": 6}, {"patience": 2}]),
    convert=st.lists(st.fixed_dictionaries({"source": words, "out": words}, optional={"dataset": words}), max_size=2),
)


@given(configs)
def test_settings_survive_being_written_down(config: Config) -> None:
    read = tomllib.loads(config.dump())
    assert resolve(file=read) == config
    assert differences(config, resolve(base=read)) == []


def test_a_run_reads_its_own_settings(tmp_path: Path) -> None:
    config = resolve("cyclegan", sim="a", real="b")
    (tmp_path / "config.toml").write_text(config.dump())
    assert read_config(tmp_path / "config.toml") == config


def test_what_a_resumed_run_may_not_change_is_told_by_name() -> None:
    old = resolve("cyclegan")
    lines = differences(
        old, resolve("cyclegan", sets=["data.batch_size=4", "losses.cycle=5", "generator.name=encoder-decoder"])
    )
    assert [line.split()[0] for line in lines] == [
        "data.batch_size", "generator.name", "generator.options.blocks", "generator.options.norm",
        "generator.options.output", "generator.options.width", "losses.cycle",
    ]  # fmt: skip
    assert lines[0] == "data.batch_size was 1 and is now 4"


@pytest.mark.parametrize(
    "text",
    [
        "train.steps=9",
        "device=cpu",
        "data.workers=7",
        "run=elsewhere",
        "log.every=1",
        "checkpoint.keep=9",
        "data.cache=true",
    ],
)
def test_length_place_and_books_of_a_run_may_change(text: str) -> None:
    assert differences(resolve(), resolve(sets=[text])) == []


@pytest.mark.parametrize("text", ["seed=1", "data.sim_include=['x']", "precision=bf16", "ema_decay=0.5", "swap=true"])
def test_what_decides_the_numbers_of_a_run_may_not(text: str) -> None:
    assert len(differences(resolve(), resolve(sets=[text]))) == 1


def test_booleans_are_spelt_as_in_toml() -> None:
    with pytest.raises(Sim2RealError, match="write compile=false"):
        resolve(sets=["compile=False"])


def test_only_the_length_of_the_training_drops_its_other_form() -> None:
    options = {"steps": 3, "epochs": 4}
    config = resolve(file={"generator": {"options": options}}, sets=["generator.options.steps=5"])
    assert config.generator.options.items() >= {"steps": 5, "epochs": 4}.items()


# ------------------------------------------------------------------------------------------------------------ schema


def accepts(settings: object) -> bool:
    """Whether an editor that knows the schema finds nothing wrong."""
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(settings))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_schema_accepts_recipes_and_what_runs_write(recipe: str) -> None:
    assert accepts(tomllib.loads(registry().entry("recipes", recipe).load()))
    assert accepts(tomllib.loads(resolve(recipe, train__steps=3).dump()))


@given(configs)
def test_the_schema_accepts_what_settings_may_say(config: Config) -> None:
    assert accepts(tomllib.loads(config.dump()))


@pytest.mark.parametrize(
    "text",
    [
        "sead = 1",
        "recipe = 'cyclgan'",
        "[data]\nsise = [3, 3]",
        "[data]\nsize = [3]",
        "[data]\nsize = [0, 3]",
        "[losses]\nadversarial = 'wgan'",
        "[losses]\ncycl = 3.0",
        "[losses]\ncycle = -1",
        "[losses]\ncycle = { options = {} }",
        "[generator]\nname = 'rsnet'",
        "[generator]\nwidth = 3",
        "[discriminator.regularization]\naugment = ['colour']",
        "compile = 'maybe'",
        "[[convert]]\nsource = 'a'",
    ],
)
def test_what_settings_refuse_the_schema_marks(text: str) -> None:
    settings = tomllib.loads(text)
    with pytest.raises(Sim2RealError):
        resolve(file=settings)
    assert not accepts(settings)


@pytest.mark.parametrize(
    "text", ["[generator.options]\nwidth = 4", "[losses]\ncycle = { weight = 3 }", "compile = true"]
)
def test_what_a_file_leaves_to_its_recipe_the_schema_does_not_miss(text: str) -> None:
    settings = tomllib.loads(text)
    resolve(file=settings)
    assert accepts(settings)


def test_every_setting_is_described_to_the_reader_of_the_schema() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values(), *(schema["properties"][kind] for kind in ("generator", "method"))]
    bare = [name for section in sections for name, key in section["properties"].items() if not key.get("description")]
    assert bare == []
    assert schema["$defs"]["Data"]["properties"]["fit"]["description"].startswith('"crop": a random window')
    assert schema["properties"]["discriminator"]["properties"]["name"]["enum"][:2] == ["patch", "global"]


def test_a_table_that_nobody_knows_is_not_explained_by_its_own_keys() -> None:
    long = f"regula{'9' * 2000}rization"
    with pytest.raises(Sim2RealError, match=r"no such setting; accepted: name, options, regularization$"):
        resolve(file={"discriminator": {long: {"r1": 1.0}}})
