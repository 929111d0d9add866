"""Settings are read from one file and the environment, and whatever does not fit is refused by name."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from genonaut_lib.errors import InvalidSettings, ProjectNotFound
from genonaut_lib.settings import Settings, environments, load_settings, project_root, state_folder

SECRET = "hunter2-hunter2"


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The params folder of an otherwise empty project, which is the working directory."""
    for variable in list(os.environ):
        if variable.startswith("GENONAUT_") or variable in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(variable)
    (tmp_path / "notebooks").mkdir()
    folder = tmp_path / "params"
    folder.mkdir()
    (folder / "lab.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return folder


def refusal(folder: Path, text: str) -> InvalidSettings:
    """Return how `lab.yaml` with this text is refused."""
    (folder / "lab.yaml").write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings("lab")
    return caught.value


def test_empty_file_gives_the_defaults(params: Path) -> None:
    """An environment may be nothing but a name."""
    assert load_settings("lab") == Settings(environment="lab")


def test_file_sets_only_what_it_names(params: Path) -> None:
    """Keys the file does not hold keep their defaults, in the same section too."""
    (params / "lab.yaml").write_text("database: {lock_timeout_ms: 77}\n")
    database = load_settings("lab").database
    assert (database.lock_timeout_ms, database.lock_attempts) == (77, 30)


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("databse: {}\n", "databse", "database"),
        ("database: {lock_timeout: 5}\n", "database.lock_timeout", "lock_timeout_ms"),
        ("throttle: {batch_row_max: 5}\n", "throttle.batch_row_max", "batch_rows_max"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_name(params: Path, text: str, wrong: str, right: str) -> None:
    """A misspelt knob is never silently the default."""
    message = str(refusal(params, text))
    assert f"unknown key {wrong!r}. Did you mean {right!r}?" in message


def test_unknown_key_like_nothing_known_gets_no_suggestion(params: Path) -> None:
    """A suggestion is made only where it is near."""
    assert str(refusal(params, "zzzzqqq: 1\n")) == "lab.yaml: unknown key 'zzzzqqq'."


def test_secret_fields_are_never_suggested(params: Path) -> None:
    """The nearest name never leads a user to put an address into the file."""
    assert "'database_url'" not in str(refusal(params, "database_urls: x\n"))


def test_every_wrong_key_is_named_at_once(params: Path) -> None:
    """One start shows all mistakes of a file."""
    message = str(refusal(params, "redis: {nope: 1}\ndatabase: {lock_attempts: 0}\n"))
    assert "redis.nope" in message
    assert "database.lock_attempts" in message


def test_environment_variable_wins_over_the_file(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GENONAUT_SECTION__KEY is laid over the file, its text read as YAML."""
    (params / "lab.yaml").write_text("database: {lock_timeout_ms: 77, lock_attempts: 3}\n")
    monkeypatch.setenv("GENONAUT_DATABASE__LOCK_TIMEOUT_MS", "88")
    database = load_settings("lab").database
    assert (database.lock_timeout_ms, database.lock_attempts) == (88, 3)


def test_environment_variable_opens_a_section_the_file_lacks(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section need not stand in the file to be overlaid."""
    monkeypatch.setenv("GENONAUT_SERVERS__EMBEDDED", "true")
    assert load_settings("lab").servers.embedded is True


def test_environment_variable_overlays_an_empty_section(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section whose keys are all commented out is an empty section."""
    (params / "lab.yaml").write_text("database:\n  # lock_timeout_ms: 5\n")
    monkeypatch.setenv("GENONAUT_DATABASE__LOCK_TIMEOUT_MS", "88")
    assert load_settings("lab").database.lock_timeout_ms == 88


def test_empty_section_gives_the_defaults(params: Path) -> None:
    """A section whose keys are all commented out keeps its defaults."""
    (params / "lab.yaml").write_text("database:\n  # lock_timeout_ms: 5\nnotebooks:\n")
    assert load_settings("lab") == Settings(environment="lab")


def test_environment_variable_reaches_a_top_level_key(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys outside any section are overlaid as well."""
    monkeypatch.setenv("GENONAUT_PROTECTED", "true")
    assert load_settings("lab").protected is True


def test_misspelt_environment_variable_is_refused(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overlay is held to the same names as the file."""
    monkeypatch.setenv("GENONAUT_DATABASE__LOCK_TIMEOUT", "88")
    with pytest.raises(InvalidSettings, match=r"database\.lock_timeout.*lock_timeout_ms"):
        load_settings("lab")


def test_environment_variable_inside_a_value_is_refused(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable cannot name a key below something that has no keys."""
    (params / "lab.yaml").write_text("protected: true\n")
    monkeypatch.setenv("GENONAUT_PROTECTED__DEEPLY", "1")
    with pytest.raises(InvalidSettings, match="GENONAUT_PROTECTED__DEEPLY"):
        load_settings("lab")


def test_environment_variable_that_is_not_yaml_is_refused_by_name(
    params: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken overlay is a refusal that names the variable, without its text."""
    monkeypatch.setenv("GENONAUT_DATABASE__LOCK_ATTEMPTS", f"[{SECRET}")
    with pytest.raises(InvalidSettings, match="GENONAUT_DATABASE__LOCK_ATTEMPTS") as caught:
        load_settings("lab")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["STATE", "RUN_ID", "CONFIRM"])
def test_the_workbench_own_variables_are_no_knobs(params: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Variables the workbench reads elsewhere are not taken for unknown keys."""
    monkeypatch.setenv(f"GENONAUT_{name}", "1")
    assert load_settings("lab") == Settings(environment="lab")


def test_unknown_environment_names_the_nearest_and_all_known(params: Path) -> None:
    """A misspelt environment is refused with what there is."""
    (params / "production.yaml").write_text("")
    with pytest.raises(ProjectNotFound, match=r"'prodution'.*Did you mean 'production'\?.*lab, production"):
        load_settings("prodution")


def test_environment_cannot_climb_out_of_the_folder(params: Path) -> None:
    """A name is one of the known ones, never a path."""
    (params.parent / "outside.yaml").write_text("")
    with pytest.raises(ProjectNotFound):
        load_settings("../outside")


def test_environment_comes_from_the_variable_when_none_is_given(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GENONAUT_ENVIRONMENT is the default, a given name wins over it."""
    (params / "other.yaml").write_text("")
    monkeypatch.setenv("GENONAUT_ENVIRONMENT", "other")
    assert load_settings().environment == "other"
    assert load_settings("lab").environment == "lab"


def test_environment_is_demo_when_nothing_says_otherwise(params: Path) -> None:
    """The harmless environment is the default."""
    (params / "demo.yaml").write_text("")
    assert load_settings().environment == "demo"


def test_pipelines_file_is_no_environment(params: Path) -> None:
    """params/pipelines.yaml lies beside the environments and is none of them."""
    (params / "pipelines.yaml").write_text("")
    assert environments() == ["lab"]


@pytest.mark.parametrize("key", ["database_url", "redis_url", "cursor_key", "jwt_key", "environment"])
def test_address_in_the_file_is_refused_without_repeating_it(params: Path, key: str) -> None:
    """Addresses come from the environment only, and a refused one is not shown."""
    error = refusal(params, f"{key}: postgresql://ada:{SECRET}@host/gallery\n")
    assert key in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "text",
    [
        f"database: {{password: {SECRET}}}\n",
        f"database: {SECRET}\n",
        f"database: {{lock_timeout_ms: {SECRET}}}\n",
        f"protected: {SECRET}\n",
        f'database_url: "{SECRET}\n',
        f"database_url: [{SECRET}\n",
    ],
    ids=["unknown key", "no section", "no number", "no boolean", "open quote", "open bracket"],
)
def test_value_of_a_bad_file_is_never_repeated(params: Path, text: str) -> None:
    """A value may be a secret, so neither message nor traceback of a refusal holds it."""
    assert SECRET not in "".join(traceback.format_exception(refusal(params, text)))


@pytest.mark.parametrize("text", ["a: [1\n", "a: 'b\n", "a: b: c\n", "\t- a\n"])
def test_file_that_is_not_yaml_is_refused(params: Path, text: str) -> None:
    """A file that does not parse says so with its name."""
    assert str(refusal(params, text)).startswith("lab.yaml is not YAML")


def test_file_that_is_not_utf8_is_refused(params: Path) -> None:
    """A file in another encoding is a refusal like any other."""
    (params / "lab.yaml").write_bytes(b"protected: \xff\n")
    with pytest.raises(InvalidSettings, match=r"lab\.yaml"):
        load_settings("lab")


@pytest.mark.parametrize("text", ["- a\n", "word\n", "17\n"])
def test_file_that_is_no_mapping_is_refused(params: Path, text: str) -> None:
    """Settings are sections by name."""
    assert "must hold a mapping" in str(refusal(params, text))


def test_key_that_is_no_word_is_refused(params: Path) -> None:
    """YAML allows numbers as keys, settings do not."""
    assert "lab.yaml" in str(refusal(params, "1: 2\n"))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("database", "lock_timeout_ms", 0),
        ("database", "lock_timeout_ms", 60_001),
        ("database", "connect_timeout_s", 0),
        ("database", "statement_timeout_s", -1),
        ("database", "lock_attempts", 1_001),
        ("database", "lock_retry_max_s", 0),
        ("servers", "memory_share", 0.81),
        ("servers", "memory_share", 0),
        ("redis", "connect_timeout_s", 61),
        ("throttle", "batch_target_s", 0),
        ("throttle", "batch_timeout_s", 3_601),
        ("throttle", "batch_rows_first", 0),
        ("throttle", "batch_rows_max", 0),
        ("throttle", "pause_s", -0.1),
        ("throttle", "batch_target_s", ".nan"),
    ],
)
def test_value_outside_its_range_is_refused_by_name(params: Path, section: str, key: str, value: object) -> None:
    """Each unit has bounds, and a refusal names the key."""
    assert f"{section}.{key}" in str(refusal(params, f"{section}: {{{key}: {value}}}\n"))


def test_addresses_come_from_the_environment(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL makes the database external."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ada:{SECRET}@host/gallery")
    settings = load_settings("lab")
    assert settings.database_kind == "external"
    assert settings.database_url is not None
    assert SECRET in settings.database_url.get_secret_value()


def test_empty_address_means_the_embedded_database(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exported but empty DATABASE_URL is none."""
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings("lab").database_kind == "embedded"


def test_secrets_show_in_no_rendering_of_the_settings(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor text nor a dump holds an address."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ada:{SECRET}@host/gallery")
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@host")
    settings = load_settings("lab")
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert not [text for text in shown if SECRET in text]


def test_the_first_of_several_cursor_keys_comes_first(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is text and never YAML; commas part them, and blanks about them do not count."""
    monkeypatch.setenv("GENONAUT_CURSOR_KEY", f"{'1' * 32}, {'a: [' * 8}")
    assert load_settings("lab").cursor_keys == (b"1" * 32, b"a: [" * 8)


def test_no_cursor_key_means_the_database_s_own(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exported but empty key is none."""
    monkeypatch.setenv("GENONAUT_CURSOR_KEY", "")
    assert load_settings("lab").cursor_keys == ()


@pytest.mark.parametrize("key", [SECRET * 2, f"{'k' * 32},{SECRET}", f"{'k' * 32},"])
def test_a_short_cursor_key_is_refused_without_repeating_it(
    params: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Each of them needs 32 characters."""
    monkeypatch.setenv("GENONAUT_CURSOR_KEY", key)
    with pytest.raises(InvalidSettings, match="GENONAUT_CURSOR_KEY needs at least 32") as caught:
        load_settings("lab")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_cursor_key_shows_in_no_rendering_of_the_settings(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a log could forge cursors otherwise."""
    monkeypatch.setenv("GENONAUT_CURSOR_KEY", SECRET * 3)
    settings = load_settings("lab")
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert not [text for text in shown if SECRET in text]


def test_a_key_of_tokens_is_text_and_shows_nowhere(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no knob, and never read as YAML; the knobs beside it are."""
    monkeypatch.setenv("GENONAUT_JWT_KEY", f"[{SECRET}")
    monkeypatch.setenv("GENONAUT_SERVICE__JWT__LEEWAY_S", "5")
    settings = load_settings("lab")
    assert settings.jwt_key is not None
    assert (settings.jwt_key.get_secret_value(), settings.service.jwt.leeway_s) == (f"[{SECRET}", 5)
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert not [text for text in shown if SECRET in text]


def test_an_algorithm_that_is_none_of_ours_is_refused(params: Path) -> None:
    """None is one of those."""
    assert "service.jwt.algorithm" in str(refusal(params, "service: {jwt: {algorithm: none}}\n"))
    assert "Did you mean 'algorithm'?" in str(refusal(params, "service: {jwt: {algorithms: HS256}}\n"))


def test_settings_cannot_be_changed(params: Path) -> None:
    """Settings are passed around, so nobody may change them for others."""
    with pytest.raises(ValidationError):
        load_settings("lab").protected = True


def test_project_is_found_from_a_folder_below_it(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work anywhere inside a project."""
    monkeypatch.chdir(params)
    assert project_root() == params.parent


def test_state_lies_in_the_project_unless_told_otherwise(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GENONAUT_STATE moves the embedded servers' data."""
    assert state_folder() == params.parent / ".genonaut"
    monkeypatch.setenv("GENONAUT_STATE", str(params))
    assert state_folder() == params


@pytest.mark.parametrize("name", ["demo", "dev", "test", "production"])
def test_shipped_environments_load(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every params file of the checkout holds known keys only."""
    monkeypatch.chdir(Path(__file__).parents[2])
    assert load_settings(name).environment == name


def test_production_is_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to production always asks for confirmation."""
    monkeypatch.chdir(Path(__file__).parents[2])
    assert load_settings("production").protected is True
