"""The same stages from a terminal: `kdspark run`, one verb per stage, `kdspark search`,
`kdspark compare`, `kdspark latest`.

Exit codes: 0 done, 2 configuration, 3 input, 4 stage, 5 training, 6 publish, 7 model (see kdspark.errors). A user's
mistake prints one line on stderr and no stack trace.
"""

import json
import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Optional

import typer

from kdspark import __version__
from kdspark.errors import KdsparkError

ConfigOption = Annotated[str, typer.Option("--config", help="YAML configuration; see conf/.")]
DateOption = Annotated[str, typer.Option("--date", help="The night's date, YYYY-MM-DD; events up to its end (UTC).")]
RootOption = Annotated[str, typer.Option("--root", help="Folder for everything kdspark writes; shared by all nodes.")]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045  typer on Python 3.10 reads Optional
    typer.Option("--set", help="Override one configuration key: dotted.key=value. Repeatable."),
]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=(__doc__ or "").split("\n")[0]
)

_VERBS = {
    "run": "The whole night: every stage in order, then publish.",
    "prepare": "Read the raw logs; write clean interactions, feature tables and training examples.",
    "train-teacher": "Train or load the teacher.",
    "soft-labels": "Write the teacher's answers for every training position.",
    "train-student": "Train the student, with and without distillation.",
    "score": "Write the top-k list of every user, not yet visible.",
    "evaluate": "Compare all models on the test events; write the report.",
    "publish": "Make the night's recommendations visible.",
}


def _add_verb(verb: str, help_text: str) -> None:
    def command(config: ConfigOption, date: DateOption, root: RootOption, set_: SetOption = None) -> None:
        from kdspark.stages.pipeline import run_verb

        run_verb(verb, config, date, root, set_ or [])

    app.command(verb, help=help_text)(command)


for _verb, _help in _VERBS.items():
    _add_verb(_verb, _help)


@app.command()
def search(
    config: ConfigOption,
    search: Annotated[str, typer.Option("--search", help="YAML file of fields, target and trials; see conf/.")],
    date: DateOption,
    root: RootOption,
    trials: Annotated[
        Optional[int],  # noqa: UP045  as above
        typer.Option("--trials", help="In place of the file's; a search that has fewer goes on."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Search for settings on the validation events; go on where a search stopped."""
    from kdspark.stages.search import run_search

    typer.echo(run_search(config, search, date, root, trials, set_ or []))


@app.command()
def compare(
    root: RootOption, date: DateOption, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print the night's models side by side."""
    from kdspark.stages.results import compare_night

    typer.echo(compare_night(root, date, as_json))


@app.command()
def latest(root: RootOption) -> None:
    """Print the path of the newest published recommendations; a plain spark.read.parquet of it works."""
    from kdspark.stages.results import latest_table

    typer.echo(str(latest_table(root)))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(json.dumps({"kdspark": __version__}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `kdspark` command; always raises SystemExit with the exit code."""
    configure_logging()
    try:
        app(args=list(arguments) if arguments is not None else None)
    except KdsparkError as error:
        sys.stderr.write(f"kdspark: error: {error}\n")
        sys.exit(error.exit_code)


def main_job(verb: str) -> None:
    """Entry point of a spark-submit job: the same options as `kdspark <verb>`."""
    main([verb, *sys.argv[1:]])


def configure_logging() -> None:
    """Send kdspark's log lines to stderr, unless somebody has arranged otherwise."""
    logger = logging.getLogger("kdspark")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
