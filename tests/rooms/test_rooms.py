"""The rules that let code know its room, read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial import plugins

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "builders/perennial"
MODULES = sorted(PACKAGE.rglob("*.py"))

TASKS = tuple(f"tasks/{name}" for name in plugins.names("tasks"))
FAMILIES = ("engines", "gates", "learners", "publishers", "recipes", "samples", "stores", *TASKS)
GROUND = {
    "children",
    "errors",
    "heads",
    "losses",
    "machine",
    "memory",
    "names",
    "packages",
    "pauses",
    "pipeline",
    "plugins",
    "predictions",
    "protocols",
    "quiet",
    "shapes",
    "speed",
    "split",
    "state",
    "store_protocol",
    "task_protocol",
    "timings",
    "types",
}
"""What every room may import. `repository` is the publishers' and the stages' as well: paths and configs."""

FENCES = {
    "torch": (
        "losses.py",
        "protocols.py",
        "task_protocol.py",
        "tasks/*/train.py",
        "encoders/*",
        "writing/network.py",
        "learners/*",
        "recipes/*",
        "jobs/between.py",
        "jobs/fit.py",
        "jobs/hidden.py",
        "jobs/noise.py",
        "jobs/teaching.py",
        "jobs/training.py",
        "engines/torch.py",
        "engines/_torch_*.py",
    ),
    "accelerate": ("jobs/training.py",),
    "transformers": ("encoders/network.py", "writing/network.py"),
    "jinja2": ("writing/chat.py",),
    "peft": ("encoders/moving.py",),
    "onnx": ("encoders/graph.py", "engines/*.py"),
    "onnxruntime": ("engines/onnxruntime.py", "engines/_*.py"),
    "openvino": ("engines/openvino.py",),
    "nncf": ("engines/openvino.py",),
    "tensorrt": ("engines/tensorrt.py",),
    "tensorrt_rtx_bindings": ("engines/tensorrt_rtx.py",),
    "modelopt": ("engines/_typed.py",),
    "polygraphy": ("engines/_tensorrt_session.py",),
    "sqlalchemy": ("stores/*", "stores/*/*", "stores/*/*/*"),
    "alembic": ("stores/*", "stores/*/*", "stores/*/*/*"),
    "pysqlite3": ("stores/*",),
    "psycopg": ("stores/*",),
    "triton_python_backend_utils": ("serve/*",),
    "tritonclient": ("repository/*", "server/*"),
    "google": ("repository/*", "server/*"),
    "grpc": ("server/*",),
    "httpx": ("server/*",),
    "river": ("jobs/drift.py",),
    "scipy": ("gates/*", "jobs/drift.py", "jobs/watch.py"),
    "sklearn": ("tasks/*/*", "gates/*", "jobs/confusion.py", "jobs/noise.py"),
    "cleanlab": ("jobs/noise.py",),
    "pydantic": ("config.py", "engine_options.py", "jobs/data.py", "server/openai_words.py"),
    "starlette": ("server/*",),
    "uvicorn": ("jobs/front.py",),
    "typer": ("cli/*",),
    "rich": ("cli/*",),
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, typing-only imports too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_a_library_stays_in_its_room(path: Path) -> None:
    for name in imports(path):
        allowed = FENCES.get(name.partition(".")[0])
        assert allowed is None or any(Path(room(path)).match(pattern) for pattern in allowed), (
            f"{room(path)} imports {name}, which belongs in {allowed}"
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_knows_the_ground_floor_only(family: str) -> None:
    for path in (PACKAGE / family).rglob("*.py"):
        for name in imports(path):
            if name.startswith("perennial."):
                assert _may_import(family, name), f"{room(path)} imports {name}"


def _may_import(family: str, name: str) -> bool:
    first, _, rest = name.removeprefix("perennial.").partition(".")
    own = family.replace("/", ".")
    if name.startswith(f"perennial.{own}"):
        return (
            name.removeprefix(f"perennial.{own}").removeprefix(".").startswith("_")
            or name == f"perennial.{own}"
        )
    beside = {
        "engines": ("writing",),
        "publishers": ("repository",),
        **dict.fromkeys(TASKS, ("encoders", "ranking", "writing")),
    }
    return first in GROUND or (first in beside.get(family, ()) and bool(rest))


def test_the_ground_floor_knows_no_room() -> None:
    for name in GROUND:
        for imported in imports(PACKAGE / f"{name}.py"):
            if imported.startswith("perennial."):
                assert imported.split(".")[1] in GROUND, f"{name} imports {imported}"


@pytest.mark.parametrize("outer", ["serve", "server", "repository"])
def test_serving_knows_neither_jobs_nor_the_command_line(outer: str) -> None:
    for path in (PACKAGE / outer).rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(("perennial.jobs", "perennial.cli", "perennial.config")), room(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_is_found_by_its_name(family: str) -> None:
    names = plugins.names(family)
    assert names
    for name in names:
        source = ast.parse((PACKAGE / family / f"{name}.py").read_text())
        exported = [
            node.value
            for node in source.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        assert len(exported) == 1 and len(ast.literal_eval(exported[0])) == 1, f"{family}/{name}"


def test_no_branch_on_a_task_or_an_engine() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                left = ast.unparse(node.left).rpartition(".")[2]
                constant = any(isinstance(side, ast.Constant) for side in node.comparators)
                assert not (left in ("task", "engine") and constant), f"{room(path)}: {ast.unparse(node)}"


def test_a_module_says_what_it_knows() -> None:
    silent = [room(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


HEAVY = (
    "torch",
    "accelerate",
    "transformers",
    "peft",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tensorrt",
    "tensorrt_rtx_bindings",
    "modelopt",
    "polygraphy",
    "sklearn",
    "cleanlab",
    "matplotlib",
    "tensorboard",
    "psycopg",
)
NEEDS_HEAVY = (
    "perennial.jobs.__main__",
    "perennial.jobs.between",
    "perennial.jobs.candidate",
    "perennial.jobs.compress",
    "perennial.jobs.fit",
    "perennial.jobs.hidden",
    "perennial.jobs.measure",
    "perennial.jobs.noise",
    "perennial.jobs.rebuild",
    "perennial.jobs.students",
    "perennial.jobs.teaching",
    "perennial.jobs.training",
)

_IMPORT_EACH = """
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Block())
for name in {modules}:
    importlib.import_module(name)
"""


def _import_each(modules: list[str], blocked: tuple[str, ...]) -> None:
    code = _IMPORT_EACH.format(blocked=set(blocked), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_module_imports_without_the_heavy_libraries() -> None:
    light = [
        _dotted(path)
        for path in MODULES
        if _dotted(path) not in NEEDS_HEAVY
        and path.name != "env.py"  # alembic runs it, inside a migration
        and not path.match("tasks/*/train.py")
        and (path.name == "tokens.py" or not path.match("encoders/*.py"))
        and not path.match("writing/network.py")
        and not path.match("serve/*.py")
    ]
    _import_each(light, HEAVY)


def test_a_codec_needs_numpy_and_tokenizers_alone() -> None:
    codecs = [_dotted(path) for path in PACKAGE.glob("tasks/*/codec.py")]
    _import_each(
        codecs,
        (*HEAVY, "sqlalchemy", "alembic", "pydantic", "typer", "rich", "grpc", "tritonclient", "scipy"),
    )
