"""Evals as pytest tests, and a loop that improves a model under them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalloop.protocols import (
        Fault,
        LanguageModel,
        Materials,
        Mutator,
        MutatorError,
        Responder,
        check,
    )
    from pytest_evalloop.records import Brief, Document, Proposal, Trace

__all__ = [
    "Brief",
    "Document",
    "Fault",
    "LanguageModel",
    "Materials",
    "Mutator",
    "MutatorError",
    "Proposal",
    "Responder",
    "Trace",
    "check",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use: pytest loads this package in projects that never use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    ground = "records" if name in {"Brief", "Document", "Proposal", "Trace"} else "protocols"
    return getattr(import_module(f"{__name__}.{ground}"), name)
