"""upstream.toml lists the undocumented names of other packages that this one needs, and they are still there."""

import ast
import platform
import re
import tomllib
from contextlib import suppress
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from inspect import getsource, isclass, signature

from tests.conftest import MODEL, ROOT
from tests.e2e.scripted import trainer_of

# Its other tests have imported torch and TRL, which takes most of the time.
PACKAGE = ROOT / "axolotl_grpo_plugin"
LISTS = tomllib.loads((PACKAGE / "repairs/upstream.toml").read_text(encoding="utf-8"))
SOURCES = {str(file.relative_to(PACKAGE)): file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
CLOSE = {"accelerate", "axolotl", "datasets", "peft", "transformers", "trl"}
PRIVATE = re.compile(r"_[a-z]\w+")
DOCUMENTED = {"_asdict", "_exit", "_replace"}
# Of transformers' trainer. Its pages document them, or it takes them as arguments.
KNOWN = set("accelerator args eval_dataset is_world_process_zero model pop_callback state train_dataset".split())


@cache
def trees():
    return {file: ast.parse(source) for file, source in SOURCES.items()}


def listed(kind):
    """Yield owner, name, parameters (or None), and the purpose of each file of each entry. kind: names or keys."""
    for owner, names in LISTS[kind].items():
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


def parts(holder):
    """Return a class with its bases, or a module."""
    return holder.__mro__[:-1] if isclass(holder) else [holder]


@cache
def source_of(part):
    return getsource(part)


def sets(part, name):
    """Return whether a class sets an attribute of its objects."""
    return bool(re.search(rf"\bself\.{name}(: .+|, .+)? = ", source_of(part)))


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
    elif holder and any(sets(part, name) for part in parts(holder)):
        change = ""
    files = " ".join(f"axolotl_grpo_plugin/{file} {purpose}." for file, purpose in users.items())
    return change and f"{release(owner.partition('.')[0])}: {short} {change}. {files}"


def test_listed_names_are_where_they_were():
    missing = {name for name in ("deepspeed", "vllm", "ray") if not find_spec(name)}  # optional packages
    here = [entry for entry in listed("names") if entry[0].partition(".")[0] not in missing]
    assert not (faults := [said for entry in here if (said := moved(*entry))]), "\n".join(faults)


def test_listed_keys_are_where_they_were():
    faults = []
    for owner, key, _, users in listed("keys"):
        if not any(f'"{key}"' in source_of(part) for part in parts(resolve(owner))):
            faults += [f"{owner} has no {key}. axolotl_grpo_plugin/{file} {use}." for file, use in users.items()]
    assert not faults, "\n".join(faults)


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
    """Yield the private names of other packages' objects, and each name that is replaced. own: names of this package."""
    imported = {alias.asname or alias.name for alias in imports_of_others(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if PRIVATE.match(name):
                holder = ast.unparse(value)
                if holder.endswith("trainer") or not (name in own or holder in ("self", "cls")):
                    yield name
            case ast.Attribute(value=ast.Name(id=holder), attr=name, ctx=ast.Store()) if holder in imported:
                yield name
            case ast.Call(func=ast.Attribute(attr="object"), args=[_, ast.Constant(value=name), *_]):
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
                if PRIVATE.match(name) and name not in own:
                    yield name


def imports_of_others(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in CLOSE:
            yield from node.names


@cache
def trainer_names():
    """Return the names of the classes of this package that are TRL's trainer with methods of this package."""
    names, before = {"GRPOTrainer"}, set()
    classes = [node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while names != before:
        before = set(names)
        names |= {node.name for node in classes if any(ast.unparse(base) in before for base in node.bases)}
    return names


def trainer_classes(tree):
    """Yield the classes of a file that are TRL's trainer with methods of this package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in trainer_names() for base in node.bases):
            yield node


def methods_of(trainer_class):
    """Yield the names of the methods of a trainer class."""
    yield from (node.name for node in trainer_class.body if isinstance(node, ast.FunctionDef))


def attributes_of(trainer_class):
    """Yield the names of the attributes that a trainer class has, or that its `__init__` sets."""
    for node in trainer_class.body:
        match node:
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets)
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.FunctionDef(name="__init__"):
                for inner in ast.walk(node):
                    match inner:
                        case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                            yield name


@cache
def defined_here(parts_of):
    """Return the names of the trainer classes of this package with their files. parts_of: one of the two above."""
    here = set()
    for file, tree in trees().items():
        for made in trainer_classes(tree):
            here |= {(name, file) for name in parts_of(made)}
    return here


def own_names():
    """Return the names of the trainer classes of this package."""
    return {name for name, _ in defined_here(methods_of) | defined_here(attributes_of)}


def takes_trainer(tree):
    """Return whether a function of a file takes TRL's trainer."""
    kinds = ("GRPOTrainer", "'GRPOTrainer'", "Trainer", "Any")  # the last two also stand for Axolotl's trainers
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg="trainer", annotation=kind) if kind and ast.unparse(kind) in kinds:
                return True
    return False


def of_trainers(tree):
    """Yield the names of TRL's trainer that a file reads."""
    for made in trainer_classes(tree):
        for node in ast.walk(made):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name):
                    yield name
    for node in ast.walk(tree) if takes_trainer(tree) else ():
        match node:
            # A name that is only set may be that of a later version.
            case ast.Attribute(value=value, attr=name, ctx=ast.Load()):
                if ast.unparse(value).endswith("trainer"):
                    yield name
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[value, ast.Constant(value=name), *_]):
                if ast.unparse(value).endswith("trainer"):
                    yield name


def test_each_name_of_other_packages_is_listed_with_its_files():
    own = set(DOCUMENTED)
    for node in (node for tree in trees().values() for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.Attribute(ast.Name("self"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
    needed = {(name, file) for file, tree in trees().items() for name in of_others(tree, own)}
    for file, tree in trees().items():
        needed |= {(name, file) for name in of_trainers(tree) if name not in KNOWN | own_names()}
    known = {(name, file) for kind in LISTS.keys() - {"tested"} for _, name, _, users in listed(kind) for file in users}
    missing = [f"{name} in {file}" for name, file in sorted(needed - known)]
    assert not missing, f"Add to upstream.toml: {', '.join(missing)}."
    unused = [f"{name} in {file}" for name, file in known if not re.search(rf"\b{name}\b", SOURCES[file])]
    assert not unused, f"Remove from upstream.toml: {', '.join(unused)}."


def test_new_names_of_our_trainers_are_on_no_trainer_of_others():
    from axolotl_grpo_plugin.training.trainer import DataProducerTrainer, SynchronousTrainer

    bases = {*DataProducerTrainer.__mro__, *SynchronousTrainer.__mro__} - {object}
    bases = [base for base in bases if not base.__module__.startswith("axolotl_grpo_plugin.")]
    entries = {(name, file): parameters for _, name, parameters, users in listed("names") for file in users}
    replaced = {entry for entry, parameters in entries.items() if parameters}
    faults = []
    for name, file in (defined_here(methods_of) - replaced) | (defined_here(attributes_of) - entries.keys()):
        owners = [base.__name__ for base in bases if name in vars(base) or sets(base, name)]
        if owners and not name.startswith("__"):
            faults.append(f"{name} of {file} is also a name of {', '.join(owners)}")
    assert not faults, (
        f"{'; '.join(faults)}. Rename it. If it shall replace that method, add it with its parameters to upstream.toml."
    )


def test_each_argument_that_is_read_is_a_field_of_the_trainers_config():
    config = resolve("axolotl.core.trainers.grpo.args.AxolotlAsyncGRPOConfig")
    known = {*dir(config), *(field.name for field in fields(config))}
    faults = []
    for file, tree in trees().items():
        for node in ast.walk(tree) if takes_trainer(tree) or "args: GRPOConfig" in SOURCES[file] else ():
            match node:
                case ast.Attribute(value=ast.Name(id="args") | ast.Attribute(attr="args"), attr=name):
                    if name not in known:
                        faults.append(f"{release('trl')}: {name} is no argument. axolotl_grpo_plugin/{file} reads it.")
    assert not faults, "\n".join(faults)


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


def test_trl_calls_the_methods_of_the_packed_step(tmp_path):
    from axolotl_grpo_plugin.trl import GRPOTrainer as PackedTrainer

    rows = [{"prompt": [{"role": "user", "content": "1 + 1?"}]}] * 8

    def first_group_teaches(completions, **_):
        return [float(number % 2 and number < 4) for number, _ in enumerate(completions)]

    trainer = trainer_of(
        MODEL,
        [first_group_teaches],
        rows,
        kind=PackedTrainer,
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_generations=4,
        max_completion_length=16,
        logging_steps=1,
        max_steps=2,
        save_strategy="no",
    )
    trainer.train()
    assert trainer.packed_step == "pack, skip"
    for log in trainer.state.log_history[:2]:
        assert log["grad_norm"] > 0
        assert 0 < log["tokens/computed"] < 0.4 * log["tokens/computed_by_trl"]  # without the second group


def test_trl_has_no_repair_for_end_tokens_of_its_own():
    repaired = "eos_token_ids" in getsource(resolve("trl.GRPOTrainer"))
    assert not repaired, (
        "TRL stops at all end tokens of generation_config (trl#7039). In repairs/end_tokens.py remove _AnyOf, in "
        "upstream.py all of stop_at_tokens after the `else:` block, and let scoring/rollout_log.py read trainer.eos_token_ids."
    )
