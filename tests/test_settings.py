"""Settings: one table; file, environment and given values; every refusal names the place, the value and what is allowed."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotriage.errors import SettingError
from annotriage.settings import SETTINGS, ServiceSettings, Settings

toml_values = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.none(), st.lists(st.text(max_size=5), max_size=3), st.just(10**400)
)


def valid(field):
    """Values that a setting may have, as hypothesis draws them."""
    limits, kind = field.metadata, type(field.default)
    if limits["choices"]:
        return st.sampled_from(limits["choices"])
    if field.type.startswith("tuple[tuple[str, float]"):
        names = st.text("abc >-", min_size=1, max_size=9).map(str.strip).filter(bool)
        return st.dictionaries(names, st.floats(limits["low"], limits["high"]), max_size=3).map(lambda table: tuple(table.items()))
    if kind is tuple:
        return st.lists(st.text("abc -", min_size=1, max_size=9).map(str.strip).filter(bool), max_size=4).map(tuple)
    numbers = st.integers if kind is int else st.floats
    return numbers(limits["low"], 10**6 if limits["high"] is None else limits["high"])


every_setting = st.fixed_dictionaries({field.name: valid(field) for field in SETTINGS})


def test_later_sources_win(tmp_path):
    file = tmp_path / "annotriage.toml"
    file.write_text("alpha = 0.1\nmax_error = 0.1\nseed = 3\n")
    environment = {"ANNOTRIAGE_MAX_ERROR": "0.2", "ANNOTRIAGE_SEED": "4", "PATH": "/bin"}
    settings = Settings.load(file, environment, {"seed": 5, "alpha": None})
    assert (settings.alpha, settings.max_error, settings.seed) == (0.1, 0.2, 5)
    assert settings.k_sigma == Settings().k_sigma


def test_a_fitted_reference_keeps_what_concerns_fitting_and_lets_a_run_choose_the_rest():
    fitted = Settings(alpha=0.2, seed=7)
    settings = Settings.load(environment={"ANNOTRIAGE_ALPHA": "0.01"}, given={"batch_size": 5, "score": "knn"}, fitted=fitted)
    assert (settings.alpha, settings.score, settings.seed, settings.batch_size) == (0.2, "two-axes", 7, 5)


@given(every_setting)
def test_settings_survive_as_plain_values(values):
    settings = Settings(**values)
    assert Settings(**settings.as_dict()) == settings


@given(every_setting)
def test_the_environment_can_say_whatever_a_setting_can_be(values):
    def text(value):
        parts = value if isinstance(value, tuple) else ()
        return ",".join(part if isinstance(part, str) else f"{part[0]} = {part[1]!r}" for part in parts) if parts == value else str(value)

    environment = {f"ANNOTRIAGE_{name.upper()}": text(value) for name, value in values.items()}
    assert Settings.load(environment=environment) == Settings(**values)


@given(st.sampled_from([field.name for field in SETTINGS]), toml_values)
def test_any_value_is_either_taken_in_its_type_or_refused_by_name(name, value):
    try:
        taken = getattr(Settings(**{name: value}), name)
    except SettingError as error:
        taken, said = None, str(error)
    assert type(taken) is type(getattr(Settings(), name)) if taken is not None else said.startswith(f"setting {name}: ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": "much"}, "setting alpha: 'much' is not a number"),
        ({"alpha": float("nan")}, "setting alpha: nan is out of range; it must be between 1e-06 and 0.5"),
        ({"neighbours": 0}, "setting neighbours: 0 is out of range; it must be at least 1"),
        ({"batch_size": 2.5}, "setting batch_size: 2.5 is not a whole number"),
        ({"batch_size": float("inf")}, "setting batch_size: inf is not a whole number"),
        ({"seed": True}, "setting seed: True is not a whole number"),
        (
            {"compression": "tsne-joint"},
            "setting compression: 'tsne-joint' embeds all items anew with each that comes in, so it decides nothing;"
            " `annotriage compare` tries it on whole sets, offline",
        ),
        (
            {"score": "best"},
            "setting score: 'best' is none of two-axes, combined, mahalanobis, relative-mahalanobis, knn, vim, energy, mean-sigma",
        ),
        ({"never_auto": 3}, "setting never_auto: 3 is not a comma-separated list"),
        ({"costs": {"a": {"b": "ten"}}}, "setting costs: {'a': {'b': 'ten'}} is not a table of numbers, as `name = 0.5, other = 2`"),
        ({"costs": "a > b"}, "setting costs: 'a > b' is not a table of numbers, as `name = 0.5, other = 2`"),
        ({"costs": "a > b = -1"}, "setting costs: a > b = -1 is out of range; it must be between 0 and 1e+06"),
        ({"class_limits": {"a": 0.9}}, "setting class_limits: a = 0.9 is out of range; it must be between 1e-06 and 0.5"),
        (
            {"class_limits": "a = 0.1, a = 0.2"},
            "setting class_limits: 'a = 0.1, a = 0.2' is not a table of numbers, as `name = 0.5, other = 2`",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_allowed(given, message):
    with pytest.raises(SettingError) as refused:
        Settings(**given)
    assert str(refused.value) == message


def test_costs_and_limits_of_classes_are_tables_in_the_file_and_text_elsewhere(tmp_path):
    file = tmp_path / "annotriage.toml"
    file.write_text('[class_limits]\nfracture = 0.005\n"cyst | tumour" = 0.01\n\n[costs.fracture]\nhealthy = 10\n\n[costs."*"]\ncyst = 2\n')
    read = Settings.load(file, {})
    assert read.class_limits == (("fracture", 0.005), ("cyst | tumour", 0.01))
    assert read.costs == (("fracture > healthy", 10.0), ("* > cyst", 2.0))
    said = {"class_limits": "fracture = 0.005, cyst | tumour=0.01", "costs": "fracture > healthy = 10, * > cyst = 2"}
    assert Settings.load(given=said, environment={}) == read
    file.write_text("\n[costs.fracture]\nhealthy = -1\n")
    with pytest.raises(SettingError, match=r"annotriage.toml, line 2: setting costs: fracture > healthy = -1 is out of range"):
        Settings.load(file, {})


def test_a_variable_that_cannot_be_is_named():
    with pytest.raises(SettingError, match="environment variable ANNOTRIAGE_ALHPA: no setting is called 'alhpa'; did you mean alpha"):
        Settings.load(environment={"ANNOTRIAGE_ALHPA": "0.1"})
    with pytest.raises(SettingError, match=r"environment variable ANNOTRIAGE_ALPHA: '5%' is not a number"):
        Settings.load(environment={"ANNOTRIAGE_ALPHA": "5%"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed = 1\nalpa = 0.1", r"annotriage.toml, line 2: no setting is called 'alpa'; did you mean alpha\?"),
        (b"alpha = ", r"annotriage.toml: not valid TOML"),
        (b"map = '\xff'", r"annotriage.toml: not valid TOML"),
        pytest.param(b"alpha = " + b"[" * 9_000, r"annotriage.toml: not valid TOML", id="deeper than Python goes"),
        (b"alpha = 3", r"annotriage.toml, line 1: setting alpha: 3.0 is out of range"),
        (b"# alpha = 2\n\n  'alpha' = 3", r"annotriage.toml, line 3: setting alpha: 3.0 is out of range"),
        (b"[alpha]\nx = 1", r"annotriage.toml, line 1: setting alpha: \{'x': 1\} is not a number"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, message):
    file = tmp_path / "annotriage.toml"
    file.write_bytes(text)
    with pytest.raises(SettingError, match=message):
        Settings.load(file, {})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("trusted_proxy", "x y", "'x y' is no IP address"),
        ("trusted_proxy", "proxy.example.com", "is no IP address"),
        ("trusted_proxy", "0:0::1", "write it as ::1"),
        ("user", "a:b", "'a:b' is no user name"),
        ("user", "", "'' is no user name"),
        ("user", "a\nb", "has a line break"),
        ("user", "jürgen", "letters beyond ASCII"),
        ("media_connections", 0, "0 is out of range; it must be between 1 and 64"),
        ("service_url", "javascript:x", "'javascript:x' is no http(s) address"),
        ("service_url", "annotriage.example.com", "is no http(s) address"),
        ("service_url", "http://a b", "is no http(s) address"),
        ("service_url", "http://:9090", "is no http(s) address"),
        ("service_url", "http://me:secret@host", "leave out names, passwords"),
        ("service_url", "http://host/?x=1", "leave out names, passwords"),
        ("service_url", "http://[::1", "is no address"),
        ("service_url", "http://host:99999", "is no address"),
        ("label_studio_url", "", "is no http(s) address"),
        ("label_studio_url", "ftp://host", "is no http(s) address"),
        ("host", "", "is no address to listen on"),
        ("host", "a b", "is no address to listen on"),
        ("label_studio_token", "abc\n", "has a line break"),
        ("label_studio_token", "Token abc", "has a space"),
        ("password", "top\nsecret", "has a line break"),
        ("password", "gehe\u00efm", "letters beyond ASCII"),
        ("database", "sqlite:///a\nb", "has a line break"),
    ],
)
def test_what_cannot_work_is_refused_at_start_with_its_line_and_no_secret(tmp_path, name, value, said):
    file = tmp_path / "annotriage.toml"
    file.write_text(f"port = 9090\n{name} = {json.dumps(value)}\n", "utf-8")
    with pytest.raises(SettingError) as refused:
        ServiceSettings.load(file, {})
    assert f"annotriage.toml, line 2: setting {name}: " in str(refused.value)
    assert said in str(refused.value)
    assert name not in ("password", "label_studio_token", "database") or str(value) not in str(refused.value)
    with pytest.raises(SettingError, match=f"environment variable ANNOTRIAGE_{name.upper()}: "):
        ServiceSettings.load(environment={f"ANNOTRIAGE_{name.upper()}": str(value)})


@pytest.mark.parametrize(
    "values",
    [
        {"service_url": "https://annotriage.example.com/triage/", "trusted_proxy": "10.0.0.7", "user": "me@example.com"},
        {"service_url": "http://[::1]:9090", "trusted_proxy": "fe80::1", "host": "::", "password": "with spaces: and $igns"},
    ],
)
def test_what_can_work_is_taken(values):
    assert {name: getattr(ServiceSettings(**values), name) for name in values} == values


def test_a_missing_file_says_where_it_was_asked_for(tmp_path):
    with pytest.raises(SettingError, match=r"none\.toml: cannot be read .*--config"):
        Settings.load(tmp_path / "none.toml", {})


@pytest.mark.parametrize("field", SETTINGS, ids=lambda field: field.name)
def test_every_setting_says_when_to_change_it(field):
    assert field.metadata["help"].endswith(".")
    assert len(field.metadata["help"]) > 20


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().alpha = 0.3


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('database = "sqlite:///state/own.db"', "sqlite:///{folder}/state/own.db"),
        ("", "sqlite:///{folder}/annotriage.db"),
        ('database = "sqlite:////data/own.db"', "sqlite:////data/own.db"),
        ('database = "sqlite:///:memory:"', "sqlite:///:memory:"),
        ('database = "postgresql://me@there/state"', "postgresql://me@there/state"),
    ],
)
def test_a_database_beside_the_settings_file_is_the_same_from_every_folder(tmp_path, monkeypatch, written, meant):
    folder, elsewhere = tmp_path / "service", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    (folder / "annotriage.toml").write_text(written)
    for working, file in ((folder, "annotriage.toml"), (elsewhere, "../service/annotriage.toml")):
        monkeypatch.chdir(working)
        assert ServiceSettings.load(Path(file), {}).database == meant.format(folder=folder)
    assert ServiceSettings.load(Path(file), {"ANNOTRIAGE_DATABASE": "sqlite:///mine.db"}).database == "sqlite:///mine.db"
