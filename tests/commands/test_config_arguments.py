"""--config and its fields: names that come with the package, files of one's own, values by ml_collections."""

import runpy
from pathlib import Path

import pytest

from afnet_jax.commands.config_arguments import config_parser, load_config, meanings
from afnet_jax.config import default_config, flat
from afnet_jax.errors import ConfigError
from afnet_jax.models.architecture import VARIANTS
from afnet_jax.recipes import SHIPPED

CONFIGS = Path(__file__).parents[2] / "configs"


def parsed(*arguments):
    parser = config_parser("Trains.")
    parser.add_argument("--workdir", required=True)
    return parser.parse_args(list(arguments))


def test_every_file_of_configs_comes_with_the_package():
    assert {path.stem for path in CONFIGS.glob("*.py")} == set(SHIPPED)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_name_is_the_file_of_that_name(name, variant, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where no configs/ is
    of_file = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](variant)
    assert load_config(f"{name}:{variant}") == of_file
    assert variant != "afnet" or load_config(name) == of_file


def test_every_field_has_a_meaning():
    assert set(meanings()) == set(flat(default_config().to_dict())) - {"variant"}


def test_help_shows_each_field_with_its_default():
    helped = config_parser("Trains.").format_help()
    for expected in ("--config.train.epochs=70\n", "--config.dataset.levels=3,4\n", "--config.train.flip=False\n"):
        assert expected in helped
    assert "minutes of training that a kill may cost" in " ".join(helped.split())


def test_help_shows_the_values_of_the_config_that_is_named(capsys):
    for arguments in (["--config=synthetic", "--help"], ["--help", "--config", "synthetic"]):
        with pytest.raises(SystemExit):
            parsed(*arguments)
        helped = capsys.readouterr().out
        assert "fields of the config as synthetic has them" in helped and "--config.train.flip=True\n" in helped
    with pytest.raises(SystemExit):
        parsed("--config=no_such_one", "--help")
    assert "--config.train.flip=False\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        (["--config.train.epochs=3"], "train.epochs", 3),
        (["--config.train.epochs", "3"], "train.epochs", 3),
        (["-config.train.epochs=3"], "train.epochs", 3),
        (["--config.train.epochs=3", "--config.train.epochs=4"], "train.epochs", 4),
        (["--config.train.learning_rate=1e-3"], "train.learning_rate", 1e-3),
        (["--config.train.learning_rate=1"], "train.learning_rate", 1.0),
        (["--config.train.flip"], "train.flip", True),
        (["--noconfig.protocol.fixed_subjects"], "protocol.fixed_subjects", False),
        (["--config.protocol.fixed_subjects=false"], "protocol.fixed_subjects", False),
        (["--config.dataset.levels=1,2"], "dataset.levels", (1, 2)),
        (["--config.dataset.levels=(1,)"], "dataset.levels", (1,)),
        (["--config.dataset.levels=1", "--config.dataset.levels=2"], "dataset.levels", (1, 2)),
        (
            ["--config.model.modalities=('texture', 'depth', 'normals')"],
            "model.modalities",
            ("texture", "depth", "normals"),
        ),
        (["--config.model.modalities=depth"], "model.modalities", ("depth",)),
        (["--config.model.modalities=texture,depth"], "model.modalities", ("texture", "depth")),
        (["--config.model.mask_hidden_width=32"], "model.mask_hidden_width", 32),
        (["--config.model.mask_hidden_width=None"], "model.mask_hidden_width", None),
        (["--config.dataset.data_dir=a b/ü"], "dataset.data_dir", "a b/ü"),
        (["--config.train.folds_per_group=4"], "train.folds_per_group", "4"),
    ],
)
@pytest.mark.parametrize("config_first", [True, False])
def test_fields_are_set_as_ml_collections_sets_them(arguments, field, expected, config_first):
    own = ["--config=synthetic:no_ma", "--workdir=w"]
    given = parsed(*(own + arguments if config_first else arguments + own))
    found = flat(given.config.to_dict())[field]
    assert found == expected and type(found) is type(expected)
    assert given.workdir == "w" and given.config.variant == "no_ma" and given.config.is_locked
    untouched = flat(load_config("synthetic:no_ma").to_dict())
    assert {**flat(given.config.to_dict()), field: untouched[field]} == untouched


def test_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my config.py").write_text(
        "from afnet_jax.config import database_config\n\n\ndef get_config(variant='afnet'):\n"
        "    config = database_config('bu3dfe', variant)\n    config.train.epochs = 20\n    return config\n"
    )
    assert parsed("--config=my config.py:s4", "--workdir=w").config.train.epochs == 20
    assert parsed("--config", str(tmp_path / "my config.py"), "--workdir=w").config.variant == "afnet"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def get_config(:\n", "the file fails: SyntaxError"),
        ("raise SystemExit(3)\n", "the file fails: SystemExit: 3"),
        ("x = 1\n", "defines no get_config"),
        ("def get_config(): return 5\n", "returns int, expected the ConfigDict of database_config"),
        ("def get_config(): return 1 / 0\n", "the file fails: ZeroDivisionError"),
        ("import ml_collections\ndef get_config(): return ml_collections.ConfigDict()\n", "lacks compilation_cache"),
    ],
)
def test_a_file_that_makes_no_config_is_told_in_one_line(text, told, tmp_path):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=told) as raised:
        load_config(str(tmp_path / "own.py"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("configs/sinthetic.py", "no such file; did you mean --config=synthetic?"),
        ("celeba", "no such file; bosphorus, .* synthetic come with the package"),
        ("", "no such file"),
        ("synthetic:none", "variant 'none' is unknown"),
        ("synthetic:", "variant '' is unknown"),
    ],
)
def test_a_config_that_is_not_there(given, told):
    with pytest.raises(ConfigError, match=told):
        load_config(given)
