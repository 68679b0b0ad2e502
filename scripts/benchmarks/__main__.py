"""Entry point of scripts/bench: `python scripts/benchmarks NAME`."""

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import catalogue
import distill
import features
import feed
import kernel
import labels
import night
import rules
import scaling
import score
import typer
import warm
from surroundings import called_from

from kdspark.cli import configure_logging
from kdspark.errors import KdsparkError

_IN_A_FOLDER: dict[str, Any] = {bench.NAME: bench for bench in (features, labels, feed, score, rules, scaling)}
_NAMES = (*distill.BENCHES, *warm.BENCHES, catalogue.NAME, kernel.NAME, *_IN_A_FOLDER, night.NAME)


def main(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(_NAMES)}.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data: Annotated[str, typer.Option(help="Folder of the benchmark's data; default: data/ in the checkout.")] = "",
    out: Annotated[str, typer.Option(help="Folder for everything written; default: bench/NAME.")] = "",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "1,2,3",
    set_: Annotated[Optional[list[str]], typer.Option("--set", help="Override dotted.key=value. Repeatable.")] = None,  # noqa: UP045
    events: Annotated[int, typer.Option(help="Of the night's generated log.")] = night.EVENTS,
    parts: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(distill.PARTS)}.")] = "main",
) -> None:
    """Run a benchmark and print its table."""
    if name not in _NAMES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(_NAMES)}.")
    configure_logging()
    folder = called_from(out) if out else Path("bench") / name
    log, numbers, changes = called_from(data) if data else None, [int(seed) for seed in seeds.split(",")], set_ or []
    try:
        if name == catalogue.NAME:
            result, as_text = catalogue.run(), catalogue.text_table
        elif name == kernel.NAME:
            result, as_text = kernel.run(), kernel.text_table
        elif name in _IN_A_FOLDER:
            result, as_text = _IN_A_FOLDER[name].run(folder), _IN_A_FOLDER[name].text_table
        elif name == night.NAME:
            result, as_text = night.run(folder, changes, events), night.text_table
        elif name in warm.BENCHES:
            result, as_text = warm.run(name, log, folder, numbers, changes), warm.text_table
        else:
            result = distill.run(name, log, folder, numbers, parts.split(","), changes)
            as_text = distill.text_table
    except KdsparkError as error:
        typer.echo(f"kdspark: error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    typer.echo(json.dumps(result, indent=2) if as_json else as_text(result))


if __name__ == "__main__":
    typer.run(main)
