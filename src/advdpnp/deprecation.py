"""Old names of arguments: still accepted, with a warning that gives the new name."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def renamed(**names: str) -> Callable[[FunctionT], FunctionT]:
    """Take keyword arguments by their old names too, with a FutureWarning: renamed(old="new")."""

    def decorate(function: FunctionT) -> FunctionT:
        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            for old in names.keys() & keywords.keys():
                new = names[old]
                if new in keywords:
                    raise TypeError(f"{function.__name__} got {new} and its old name {old}: give {new} alone")
                warnings.warn(f"{function.__name__}: {old} is called {new} now", FutureWarning, stacklevel=2)
                keywords[new] = keywords.pop(old)
            return function(*arguments, **keywords)

        return cast(FunctionT, call)

    return decorate
