"""The command groups. A command's module registers itself here; it imports what it needs only when it runs."""

import typer

app = typer.Typer(
    help="Train, attack, measure and explain image classifiers that stay right under attack.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Download, check and describe data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
