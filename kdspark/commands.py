"""The verbs of the command line: what each is called with, and which part of kdspark does it.

That part is imported when it is asked for: help and mistakes wait for neither Spark nor torch.
"""

import json
from typing import Annotated, Optional

import typer

from kdspark import __version__

ConfigOption = Annotated[str, typer.Option("--config", help="YAML configuration; see conf/.")]
DateOption = Annotated[str, typer.Option("--date", help="The night's date, YYYY-MM-DD; events up to its end (UTC).")]
RootOption = Annotated[str, typer.Option("--root", help="Folder for everything kdspark writes; shared by all nodes.")]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045  typer on Python 3.10 reads Optional
    typer.Option("--set", help="Override one configuration key: dotted.key=value. Repeatable."),
]

ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Publish a date anew, go on in spite of the gate; the manifest records it."),
]

AcceptOption = Annotated[
    bool,
    typer.Option("--accept-schema", help="Let columns of the inputs have other types than last night; recorded."),
]

_HELP = "Nightly recommendations by distilled models, on Spark."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=_HELP,
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
        _run(verb, config, date, root, set_)

    def reading(
        config: ConfigOption,
        date: DateOption,
        root: RootOption,
        set_: SetOption = None,
        force: ForceOption = False,
        accept_schema: AcceptOption = False,
    ) -> None:
        _run(verb, config, date, root, set_, force, accept_schema)

    def publishing(
        config: ConfigOption, date: DateOption, root: RootOption, set_: SetOption = None, force: ForceOption = False
    ) -> None:
        _run(verb, config, date, root, set_, force)

    by_verb = {"run": reading, "prepare": reading, "publish": publishing}
    app.command(verb, help=help_text)(by_verb.get(verb, command))


def _run(verb: str, config: str, date: str, root: str, set_: list[str] | None, *flags: bool) -> None:
    from kdspark.stages.pipeline import run_verb

    run_verb(verb, config, date, root, set_ or [], *flags)


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

    typer.echo(latest_table(root))


@app.command()
def runs(root: RootOption, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the published runs."""
    from kdspark.stages.results import list_runs

    typer.echo(list_runs(root, as_json))


@app.command()
def rollback(
    root: RootOption,
    date: Annotated[
        Optional[str],  # noqa: UP045  as above
        typer.Option("--date", help="Of the run to go back to; default: the one published before the latest."),
    ] = None,
    run: Annotated[
        Optional[str],  # noqa: UP045  as above
        typer.Option("--run", help="Its id, where the date has several."),
    ] = None,
) -> None:
    """Point readers to an earlier published run, at once."""
    from kdspark.stages.results import roll_back

    typer.echo(roll_back(root, date, run))


@app.command()
def verify(
    root: RootOption, every: Annotated[bool, typer.Option("--all", help="All published runs, not the latest.")] = False
) -> None:
    """Check every hash of what is published."""
    from kdspark.stages.results import verify as verify_published

    typer.echo(verify_published(root, every))


@app.command()
def erase(
    root: RootOption,
    user: Annotated[
        Optional[list[str]],  # noqa: UP045  as above
        typer.Option("--user", help="Id of a user, as it is in the log. Repeatable."),
    ] = None,
    users: Annotated[
        Optional[str],  # noqa: UP045  as above
        typer.Option("--users", help="File of ids, one a line."),
    ] = None,
    config: Annotated[
        Optional[str],  # noqa: UP045  as above
        typer.Option("--config", help="Of the nights; needed where users have pseudonyms."),
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds that readers have to finish with runs that are replaced.")
    ] = 60.0,
) -> None:
    """Erase users from what is published and kept, for good; prints the receipt's path."""
    from kdspark.stages.erase import erase as erase_users

    typer.echo(erase_users(root, user or [], users, config, grace))


@app.command()
def doctor(
    config: Annotated[Optional[str], typer.Option("--config", help="As for a night.")] = None,  # noqa: UP045
    root: Annotated[Optional[str], typer.Option("--root", help="As for a night.")] = None,  # noqa: UP045
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a machine or a cluster before its first night."""
    from kdspark.doctor.run import run_doctor

    report, code = run_doctor(config, root, set_ or [], as_json)
    typer.echo(report)
    raise typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(json.dumps({"kdspark": __version__}))
