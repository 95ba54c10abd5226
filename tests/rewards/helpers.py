"""Completions in GSM8K's layout, and the examples in docstrings, which doctest alone does not find in rewards."""

import doctest


def tagged(answer, reasoning="9 * 2 = 18"):
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"


def run_examples(module):
    """Return how many examples of a module ran, and how many failed."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    own = (each for each in vars(module).values() if each.__class__.__module__ != "builtins" or callable(each))
    for each in [module, *own]:
        if getattr(each, "__module__", module.__name__) == module.__name__ and each.__doc__:
            name = getattr(each, "__name__", module.__name__)
            for example in finder.find(each, name, module=False, globs=dict(vars(module))):
                runner.run(example)
    return runner.tries, runner.failures
