"""The parameter of a task that runs a workers' function."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Union


def map_param(
    function: str, source: Union[Sequence[Any], Dict[str, Any], str], sink: Union[str, Dict[str, Any]], attempts: int, timeout: float
) -> Dict[str, Any]:
    """Returns the parameter of a task of type ``map``."""
    if isinstance(source, range):
        if source.step != 1 or source.start < 0:
            raise ValueError(f"{source!r} cannot be a source; a range counts upwards from 0 or more, in steps of 1")
        described: Any = {"range": {"from": source.start, "to": max(source.start, source.stop)}}
    else:
        described = source if isinstance(source, (dict, str)) else {"list": list(source)}
    return {
        "source": described,
        "function": {"worker": function},
        "sink": sink,
        "attempts": attempts,
        "timeout_ms": max(1, round(timeout * 1000)),
    }
