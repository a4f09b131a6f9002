"""The entry points `export-model` and `fuseport`: find the command, run it, and turn every error into one line.

Exit codes: 0 every check that ran passed, 1 a conversion or a check failed, 2 wrong usage. What a run has to say to
people goes to the terminal through `terminal.py`; results for machines (`--json`) go to stdout, progress to stderr.

A command is one file in `commands/` and one name in `COMMANDS`. torch is not loaded here, so that `--help` answers at
once: everything heavy is imported by the command that needs it, when it runs.
"""

from __future__ import annotations

import importlib
import sys

import click

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COMMANDS = (
    *("export", "check", "diff", "lint", "list", "show", "cost", "profile", "fold"),
    *("convert", "xcode", "report", "doctor"),
)
"""In the order in which `fuseport --help` lists them."""


class _Group(click.Group):
    """A group that loads a command's file when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name) if cmd_name in COMMANDS else None


def _command(name: str) -> click.Command:
    return importlib.import_module(f".commands.{name}", __package__).command


@click.group("fuseport", cls=_Group)
@click.version_option(package_name="fuseport")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def group() -> None:
    """Fuse a PyTorch vision model, port it to a phone, and prove what was ported."""


def export_model() -> None:
    """Entry point of `export-model`."""
    _run(_command("export"), "export-model")


def main() -> None:
    """Entry point of `fuseport`."""
    _run(group, "fuseport")


def _run(command: click.Command, program: str) -> None:
    """Run a command; every error becomes one line on stderr and an exit code."""
    try:
        sys.exit(command.main(prog_name=program, standalone_mode=False, **CONTEXT) or 0)
    except click.UsageError as error:
        _fail(error.format_message(), 2)
    except click.ClickException as error:
        _fail(error.format_message(), 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing was written", 1)
    except SystemExit:
        raise
    except BaseException as error:  # a user's file may raise anything
        if "--debug" in sys.argv:
            raise
        _fail(_one_line(error), 1)


def _one_line(error: BaseException) -> str:
    """The first line of a message of ours; for an error that nobody expected, its type as well."""
    from .artifact import NotConverted

    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    ours = isinstance(error, NotConverted) or type(error).__module__.startswith("fuseport.")
    return text if ours and text else f"{type(error).__name__}: {text}; --debug shows where"


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
