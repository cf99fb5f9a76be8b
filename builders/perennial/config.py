"""Settings: perennial.toml and the environment (`PERENNIAL_SERVER__HTTP_PORT=9000`), checked by pydantic.

Only `cli` and `jobs` read them; every constructor below takes plain values.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from perennial.engine_options import EngineName, EngineOptions
from perennial.errors import ConfigError
from perennial.names import service_name
from perennial.state import State
from perennial.types import LlmName, Moving, Precision, Runtime, Tracker

FILE = Path("perennial.toml")
PREFIX = "PERENNIAL_"


def _cron(value: str) -> str:
    if value and not croniter.is_valid(value):
        raise ValueError("is not a cron expression; for 03:00 every night write '0 3 * * *'")
    return value


def _in_the_container(value: LlmName, others: ValidationInfo) -> LlmName:
    if value and others.data.get("runtime") != "container":
        raise ValueError('writes in the container alone; set runtime = "container" as well')
    return value


def _label(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("a label must not be empty or hold NUL")
    return value


ServiceName = Annotated[str, AfterValidator(service_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """The embedded tritonserver: loopback only, port 0 takes a free one. `url` (grpc://host:port) is for a
    worker beside a server that runs elsewhere, such as the container: its admin secret is in
    `admin_key_file`, its figures at `metrics_url` (http://host:port/metrics)."""

    url: str = ""
    metrics_url: str = ""
    admin_key_file: str = ""
    host: str = "127.0.0.1"
    http_port: Port = 8000
    grpc_port: Port = 8001
    metrics_port: Port = 8002
    openai_port: Port = 8003
    """Where the front speaks OpenAI's API, once some service writes."""
    start_timeout_s: Seconds = 120.0
    cache_mb: Annotated[int, Field(ge=0)] = 0
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """A release that takes the embedded server above it is not put into service; 0 is no bound."""


class WorkerSettings(_Section):
    """The one process that learns."""

    poll_s: Seconds = 0.5
    lease_s: Seconds = 10.0
    job_tries: Positive = 3


class TrainingSettings(_Section):
    """How one kind of job trains. At `max_steps` it ends, so that its time does not grow with the data;
    `max_seconds` is a guard: a run that it ends is not repeatable. `balance` is the power in `jobs.balance`;
    `trainable_layers` are those of "last-k"; `noise_filter` leaves out what looks mistaken (`jobs.noise`);
    `augment` adds copies with other words (`jobs.augment`); `interpolate` is how far the weights go back to
    where they began, "auto" what validation prefers (`jobs.between`); `threads` 0 takes every core.
    `processes` train together, each on a GPU or on its share of `threads`, and a step is of `accumulate`
    batches in each of them; `trackers` are told what TensorBoard is.

    On 1,100 single ratings of tweets these reached a macro-F1 of .72 there (.45 before) in 55 s, and so did
    three epochs at 2e-4 in 87 s; three epochs of all six layers at 1e-4 reached .66 in 102 s."""

    learner: str = "replay"
    epochs: Positive = 2
    max_steps: Positive = 400
    learning_rate: Annotated[float, Field(gt=0.0)] = 3e-4
    batch_size: Positive = 32
    trainable: Moving = "last-k"
    trainable_layers: Annotated[int, Field(ge=0)] = 3
    balance: Share = 0.5
    noise_filter: bool = False
    augment: tuple[Literal["word-dropout", "synonyms"], ...] = ()
    interpolate: Share | Literal["auto"] = 0.0
    max_seconds: Seconds = 900.0
    threads: Annotated[int, Field(ge=0)] = 1
    processes: Positive = 1
    accumulate: Positive = 1
    precision: Precision = "auto"
    trackers: tuple[Tracker, ...] = ()


FIRST = TrainingSettings(
    learner="finetune",
    epochs=6,
    max_steps=100,
    learning_rate=4e-4,
    balance=1.0,
    threads=0,
)
"""A first build has nothing to forget, and a user waits for it: 100 steps of 32 film reviews through three
layers take 59 s on two cores with AVX2, 200 through all six 155 s, for a macro-F1 of .567 and .576."""


AGAIN = TrainingSettings()


def _like_first(value: Any) -> Any:
    """What a user leaves out of a build's settings is as in FIRST."""
    return {**FIRST.model_dump(), **value} if isinstance(value, dict) else value


class HeadSettings(_Section):
    """How feedback moves a service's answers between releases. `ridge` is how many rows the release is worth
    where nothing was taught; `balance` as in a build: 1 gives every label the same say, 0 every row, and None
    is as the task's codec has it.

    After 50, 200 and 1,000 single ratings of tweets these reached a macro-F1 of .58, .59 and .66 there (.44
    before), and cost the film reviews that the release came from 2 of 57 points."""

    ridge: Annotated[float, Field(gt=0.0)] = 0.3
    balance: Share | None = None


class ServiceSettings(_Section):
    """One service: what it accepts, when it rebuilds, how it learns, and what a candidate must show."""

    max_text_bytes: Positive = 20_000
    require_prediction_id: bool = False
    unproven_trust: Share = 0.5
    feedback_within_s: Seconds = 0.0
    """How old the answer may be that a PREDICTION_ID names; 0 is no bound."""
    keep_feedback_days: Annotated[float, Field(ge=0.0)] = 0.0
    """After so many days the worker forgets feedback, its texts too; 0 is never."""
    abstain_below: Share = 0.0

    trigger_count: Positive = 1000
    trigger_age_s: Seconds = 24 * 3600.0
    trigger_drift: bool = False
    trigger_shift: bool = False
    trigger_drop: Share = 0.0
    """From `trigger_drift` on: reasons that feedback itself may be to rebuild (`jobs.drift`); 0 is none."""
    schedule: Annotated[str, AfterValidator(_cron)] = ""
    max_rows: Positive = 2000
    max_attempts: Positive = 3
    source_trust: dict[str, Share] = {}
    """By a source's name how far it is trusted, 1 where it is not here; "" are rows without a source."""
    source_cap: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The share of a rebuild's rows that one source may be. What is above it is never learned."""
    labels: tuple[Annotated[str, AfterValidator(_label)], ...] = ()
    """Further ones than its first build's data has: they are answered once feedback has taught them."""

    build: Annotated[TrainingSettings, BeforeValidator(_like_first)] = FIRST
    rebuild: TrainingSettings = AGAIN
    head: HeadSettings = HeadSettings()
    seed: int = 0
    memory_rows: Positive = 2000
    golden_rows: Positive = 1000
    validation_rows: Positive = 400

    engine: EngineName = ""
    """A name, `auto`, or empty: the serving release's, and onnxruntime for a service's first."""
    engine_options: EngineOptions = {}
    """By an engine's name what it is made with; a release is opened with what it was built with."""
    instances: Annotated[int, Field(ge=0)] = 0
    threads: Positive = 1
    alone_threads: Annotated[int, Field(ge=0)] = 0
    tokenizers: Positive = 1
    postprocesses: Positive = 1
    shadow_share: Share = 0.0
    shadow_texts: Positive = 500
    explore: Annotated[float, Field(ge=0.0, le=0.2)] = 0.01
    recall: bool = True
    llm_options: dict[str, Any] = {}
    """From `instances` on: how its releases run (`Placement`), from the next start or promotion on."""

    golden_margin: Share = 0.03
    slice_margin: Share = 0.1
    most_flips: Share = 0.1
    calibration_margin: Share = 0.08
    golden_looks: Positive = 20
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """From `golden_margin` on: what the quality gate (`gates.quality`) asks of a candidate."""
    never_say: tuple[str, ...] = ()
    perplexity_margin: Share = 0.03
    """Of what writes: what no answer may hold (`gates.guardrails`), and how much more perplexity a candidate
    may have than what serves (`jobs.regression`)."""
    latency_ratio: Annotated[float, Field(ge=1.0)] = 1.3
    watch_s: Seconds = 60.0
    keep_releases: Annotated[int, Field(ge=2)] = 5


class Settings(BaseSettings):
    """Everything that can be set, and its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    state: Path = Path("var")
    repository: Path = Path("model_repository")
    runtime: Runtime = "embedded"
    llm: Annotated[LlmName, AfterValidator(_in_the_container)] = ""
    """In the container: which backend of Triton's writes, instead of the engine of a service that writes."""
    store_url: str = ""
    key_file: str = ""
    server: ServerSettings = ServerSettings()
    worker: WorkerSettings = WorkerSettings()
    services: dict[ServiceName, ServiceSettings] = {}

    @property
    def folder(self) -> State:
        return State(self.state)

    @property
    def database(self) -> str:
        """The store's URL. SQLite's path is made absolute: the feedback model works in another folder."""
        url = self.store_url or self.folder.store_url
        driver, _, path = url.partition(":///")
        named = driver.startswith("sqlite") and path not in ("", ":memory:")
        return f"{driver}:///{Path(path).resolve()}" if named else url

    @property
    def admin_key(self) -> str:
        """The secret of the server's admin APIs."""
        own = self.server.admin_key_file
        return (Path(own) if own else self.folder.secret("admin")).read_text().strip()

    @property
    def id_key(self) -> Path:
        """The file with the key of prediction ids."""
        return Path(self.key_file) if self.key_file else self.folder.secret("prediction-id")

    def service(self, name: str) -> ServiceSettings:
        return self.services.get(name, ServiceSettings())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(file: Path | None = None, **overrides: Any) -> Settings:
    """The settings from `file` (perennial.toml where there is one), the environment, and `overrides`."""
    if file is not None and not file.is_file():
        raise ConfigError(f"there is no settings file {str(file)!r}; create it or leave --config out")
    source = file or FILE

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=source)

    _refuse_unknown_variables(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return FromFile(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error, source)) from None
    except ValueError as error:  # tomllib's and the environment's own complaints
        raise ConfigError(f"{source}: {error}") from None


def _explain(error: ValidationError, file: Path) -> str:
    """One line a mistake: where, what, the rule, and for an unknown key the nearest known one."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {where!r}; {_nearest(tuple(map(str, problem['loc'])))}")
        else:
            lines.append(f"{where} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}")
    return f"{file} or environment: " + "; ".join(lines)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    for variable in environment:
        if variable.startswith(PREFIX):
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            if not _known(path):
                raise ConfigError(f"environment variable {variable} sets nothing; {_nearest(path)}")


def _known(path: tuple[str, ...]) -> bool:
    """A service as a whole, in JSON, may have any name; of its engines' options each engine knows its own."""
    return path[:-1] == ("services",) or path[2:3] == ("engine_options",) or path[-1] in _keys_beside(path)


def _nearest(path: tuple[str, ...]) -> str:
    known = _keys_beside(path)
    near = difflib.get_close_matches(path[-1], known, 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def _keys_beside(path: tuple[str, ...]) -> list[str]:
    """The keys of the section that `path` ends in; between `services` and its keys stands a name."""
    section: type[BaseModel] = Settings
    for part in path[:-1]:
        field = section.model_fields.get(part)
        if field is None:
            continue  # the name of a service
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)]
        if not inner:
            return []
        section = inner[0]
    return list(section.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
