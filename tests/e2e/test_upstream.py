"""upstream.toml lists the private names of other packages that this one needs, and they are still there."""

import ast
import platform
import re
import tomllib
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from inspect import getsource, isclass, signature

from tests.conftest import MODEL, ROOT
from tests.e2e.scripted import trainer_of

# Its other tests have imported torch and TRL, which takes most of the time.
PACKAGE = ROOT / "axolotl_grpo_plugin"
NAMES = tomllib.loads((PACKAGE / "upstream.toml").read_text(encoding="utf-8"))["names"]
SOURCES = {str(file.relative_to(PACKAGE)): file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
CLOSE = {"accelerate", "axolotl", "datasets", "peft", "transformers", "trl"}
PRIVATE = re.compile(r"_[a-z]\w+")
DOCUMENTED = {"_asdict", "_exit", "_replace"}


@cache
def trees():
    return {file: ast.parse(source) for file, source in SOURCES.items()}


def listed():
    """Yield owner, name, parameters (or None), and the purpose of each file of each entry."""
    for owner, names in NAMES.items():
        for name, entry in names.items():
            entry = dict(entry)
            yield owner, name, entry.pop("parameters", None), entry


def resolve(path):
    """Return the module, class or function with this path."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(resolve(module), name)


@cache
def release(top):
    packages = packages_distributions().get(top)
    return f"{packages[0]} {version(packages[0])}" if packages else f"Python {platform.python_version()}"


def moved(owner, name, parameters, users):
    """Return a sentence and the users of a name that is gone or takes other parameters, else ""."""
    short, change = f"{owner.rpartition('.')[2]}.{name}", "is gone"
    try:
        holder = resolve(owner)
    except (AttributeError, ModuleNotFoundError):
        short, holder = owner, None
    if hasattr(holder, name) and parameters is None:
        return ""
    if hasattr(holder, name):
        taken = " ".join(parameter for parameter in signature(getattr(holder, name)).parameters if parameter != "self")
        change = f"takes ({taken}), not ({parameters})" * (taken != parameters)
    elif holder:  # an attribute of its objects, or a key
        sources = map(getsource, holder.__mro__[:-1] if isclass(holder) else [holder])
        change *= not any(re.search(rf"\bself\.{name}\b[^=\n]*=[^=]|\"{name}\":", source) for source in sources)
    files = " ".join(f"axolotl_grpo_plugin/{file} {purpose}." for file, purpose in users.items())
    return change and f"{release(owner.partition('.')[0])}: {short} {change}. {files}"


def test_listed_names_are_where_they_were():
    here = [entry for entry in listed() if find_spec("vllm") or not entry[0].startswith("vllm.")]
    assert not (faults := [said for entry in here if (said := moved(*entry))]), "\n".join(faults)


def test_imported_names_are_where_they_were():
    faults = set()
    for file, node in ((file, node) for file, tree in trees().items() for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in CLOSE:
            for alias in node.names:
                with suppress(ModuleNotFoundError):  # a submodule becomes an attribute
                    import_module(f"{node.module}.{alias.name}")
                faults.add(moved(node.module, alias.name, None, {file: "imports it"}))
    assert not faults - {""}, "\n".join(faults)


def of_others(tree, own):
    """Yield the private names of other packages' objects, and each patched name. own: names of this package."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if PRIVATE.match(name):
                holder = ast.unparse(value)
                if holder.endswith("trainer") or not (name in own or holder in ("self", "cls")):
                    yield name
            case ast.Call(func=ast.Attribute(attr="object"), args=[_, ast.Constant(value=name), *_]):
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
                if PRIVATE.match(name) and name not in own:
                    yield name


def test_each_private_name_is_listed_with_its_files():
    own = set(DOCUMENTED)
    for node in (node for tree in trees().values() for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.Attribute(ast.Name("self"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
    needed = {(name, file) for file, tree in trees().items() for name in of_others(tree, own)}
    known = {(name, file) for _, name, _, users in listed() for file in users}
    missing = [f"{name} in {file}" for name, file in needed - known]
    assert not missing, f"Add to upstream.toml: {', '.join(missing)}."
    unused = [f"{name} in {file}" for name, file in known if not re.search(rf"\b{name}\b", SOURCES[file])]
    assert not unused, f"Remove from upstream.toml: {', '.join(unused)}."


def test_logs_and_metrics_of_a_batch_have_the_shape_that_is_read(tmp_path):
    from axolotl_grpo_plugin.training.samples import group

    def length(completion_ids, **_):
        return [*map(len, completion_ids)]

    rows = [{"prompt": [{"role": "user", "content": "1 + 1?"}]}] * 8
    sizes = {"per_device_train_batch_size": 8, "max_completion_length": 16}
    trainer = trainer_of(MODEL, [length], rows, output_dir=str(tmp_path), **sizes)
    trainer._generate_and_score_completions(rows)
    kinds = {name: type(value) for name, value in group(trainer._logs, 8, [1.0], 1)[0].items()}
    numbers = dict.fromkeys(("length", "advantage", "reward"), float)
    assert kinds == {"step": int, "prompt": str, "completion": str, **numbers}
    assert isinstance(trainer._metrics["train"]["reward"][0], float)


def test_trl_has_no_repair_for_end_tokens_of_its_own():
    repaired = "eos_token_ids" in getsource(resolve("trl.GRPOTrainer"))
    assert not repaired, (
        "TRL stops at all end tokens of generation_config (trl#7039). In training/end_tokens.py remove _AnyOf, in "
        "upstream.py all of stop_at_tokens after the `else:` block, and let scoring/rollout_log.py read trainer.eos_token_ids."
    )
