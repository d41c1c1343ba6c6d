"""Objects of anyone's code by reference: "pkg.module:name", or "path/to/file.py:name"."""

import importlib
import importlib.util
import sys
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from advdpnp.ranges import nearest

DEFENSES_GROUP = "advdpnp.defenses"


def installed_defenses() -> dict[str, EntryPoint]:
    """Entry points of installed packages in the group `DEFENSES_GROUP`, by name; none is imported."""
    return {point.name: point for point in entry_points(group=DEFENSES_GROUP)}


def find_object(reference: str, option: str, forms: str) -> Any:
    """The object that a reference names; the current folder, or that of the file, can be imported from.

    Args:
        reference: "pkg.module:name" or "path/to/file.py:name"; the name may have dots.
        option: what the user gave it as, such as "--model".
        forms: the forms that the option takes, for messages.
    Raises:
        ValueError: another form, no such module or name, or code that fails when it is imported.
        FileNotFoundError: no such file.
    """
    home, colon, name = reference.rpartition(":")
    if not colon or not home or not name:
        raise ValueError(f"{option} must be {forms}; got {reference!r}")
    module = import_home(home, option, forms)
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = nearest(name, names) or "none: it defines no callable"
        raise ValueError(f"{reference}: there is no {name!r}; nearest: {near}") from None


def import_home(home: str, option: str, forms: str) -> ModuleType:
    """A module by its name or file; arguments and errors as in `find_object`."""
    path = Path(home)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise FileNotFoundError(f"no file at {path}: {option} must be {forms}")
    # The folder stays in the path, for what the code imports when it runs.
    folder = str(path.resolve().parent if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _import_file(path) if is_file else importlib.import_module(home)
    except Exception as error:  # any code may run, and fail, on import
        if isinstance(error, ModuleNotFoundError) and error.name and f"{home}.".startswith(f"{error.name}."):
            raise ValueError(
                f"no module {error.name!r} in {Path.cwd()} or among the installed packages: run where it can be "
                f"imported, or give {forms}"
            ) from error
        raise ValueError(
            f"{home} cannot be imported ({described(error)}): mend it, or install what it needs"
        ) from error


def _import_file(path: Path) -> ModuleType:
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up; a file that is called like an imported module must not take its place.
    if known is None:
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if known is None:
            del sys.modules[name]
        raise
    return module


def described(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else repr(error)


def kind_of(value: object) -> str:
    """The type of a value, with its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
