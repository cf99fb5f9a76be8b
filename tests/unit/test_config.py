"""Settings: what is read, and how a mistake is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial import plugins
from perennial.config import FIRST, Settings, load
from perennial.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("perennial.toml")
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    settings = load()
    assert (settings.state, settings.repository) == (Path("var"), Path("model_repository"))
    assert settings.service("anything").trigger_count > 0


def test_the_environment_wins_over_the_file_and_an_option_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    write('state = "file"\n[server]\nhttp_port = 1\ngrpc_port = 2\n')
    monkeypatch.setenv("PERENNIAL_SERVER__HTTP_PORT", "3")
    monkeypatch.setenv("PERENNIAL_STATE", "environment")
    settings = load(state=Path("option"))
    assert (settings.server.http_port, settings.server.grpc_port) == (3, 2)
    assert settings.state == Path("option")


def test_a_service_keeps_the_defaults_that_it_does_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[services.sentiment.rebuild]\nlearner = "finetune"\n')
    monkeypatch.setenv("PERENNIAL_SERVICES__SENTIMENT__TRIGGER_COUNT", "7")
    service = load().service("sentiment")
    assert (service.rebuild.learner, service.trigger_count) == ("finetune", 7)
    assert service.build.learner == "finetune"
    assert service.memory_rows == load().service("other").memory_rows


def test_a_build_keeps_its_own_defaults_where_it_sets_one() -> None:
    write("[services.sentiment.build]\nmax_seconds = 1800\n")
    build = load().service("sentiment").build
    assert build == FIRST.model_copy(update={"max_seconds": 1800.0})
    sent = load().model_dump(mode="json")
    assert Settings.model_validate(sent).service("sentiment").build == build, "as a job gets it"


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("sqlite:///store.db", "sqlite:///{here}/store.db"),
        ("sqlite:////srv/store.db", "sqlite:////srv/store.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
    ],
)
def test_server_and_worker_mean_the_same_store_wherever_they_work(told: str, used: str) -> None:
    write(f'store_url = "{told}"\n')
    assert load().database == used.format(here=Path.cwd())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nhttp_prot = 1\n", "unknown setting 'server.http_prot'; did you mean 'http_port'?"),
        ("stat = 'x'\n", "unknown setting 'stat'; did you mean 'state'?"),
        ("[services.a]\nepochs = 3\n", "unknown setting 'services.a.epochs'"),
        ("[services.a]\nschedule = 'often'\n", "is not a cron expression"),
        ("[services.Bad_Name]\n", "a service's name is"),
        ("[server]\nhttp_port = 70000\n", "server.http_port = 70000"),
        ("[server\n", "perennial.toml"),
        ("llm = 'vllm'\n", "llm = 'vllm': writes in the container alone; set runtime = "),
        ("llm = 'vlm'\nruntime = 'container'\n", "llm = 'vlm': Input should be '', 'vllm' or 'trtllm'"),
        (
            "[services.a]\nengine = 'tensort'\n",
            "is not an engine; did you mean 'tensorrt'? known: auto",
        ),
        ("[services.a.engine_options.tensort]\n", "'tensort' is not an engine; did you mean 'tensorrt'?"),
        (
            "[services.a.engine_options.tensorrt]\nrefitt = true\n",
            "unknown option 'refitt' of tensorrt; did you mean 'refit'? known: cache, refit, version_comp",
        ),
        ("[services.a.engine_options.tensorrt]\nrefit = 'often'\n", "tensorrt.refit = 'often': Input should"),
        ("[services.a.engine_options.onnxruntime]\ndevice = 'gpu'\n", "should be 'cpu' or 'cuda'"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as mistake:
        load(write(text))
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_every_engine_is_a_choice_and_takes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "auto", *plugins.names("engines")):
        assert load(write(f"[services.a]\nengine = '{name}'\n")).service("a").engine == name
    write("[services.a.engine_options.tensorrt]\ncache = '/srv/plans'\n")
    monkeypatch.setenv("PERENNIAL_SERVICES__A__ENGINE_OPTIONS__TENSORRT__REFIT", "true")
    options = load().service("a").engine_options
    assert options == {"tensorrt": {"cache": "/srv/plans", "refit": True}}
    assert plugins.get("engines", "tensorrt")(**options["tensorrt"])
    sent = load().model_dump(mode="json")
    assert Settings.model_validate(sent).service("a").engine_options == options, "as a job gets it"


def test_a_variable_that_sets_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_SERVER__HTP_PORT", "1")
    with pytest.raises(
        ConfigError, match="PERENNIAL_SERVER__HTP_PORT sets nothing; did you mean 'http_port'"
    ):
        load()


def test_a_file_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"there is no settings file 'missing\.toml'"):
        load(Path("missing.toml"))


def test_secrets_are_made_once_and_for_their_owner_alone() -> None:
    settings = load()
    secret = settings.admin_key
    assert len(secret) == 64
    assert load().admin_key == secret
    assert settings.folder.secret("admin").stat().st_mode & 0o777 == 0o600
