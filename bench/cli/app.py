"""Turn an error into one line and an exit status, for every command alike."""

from __future__ import annotations

import functools
import io
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TextIO

import click

from bench.boundary import tell_interrupts_apart
from bench.cli.supervisor import FAILED, LOAD_LIMIT_S, supervise
from bench.errors import BadValue, BenchError, UnknownName, UsageError, suggest
from bench.plain_text import spell_out
from bench.registry.discovery import REQUIREMENTS, has_foreign_points
from bench.registry.registry import Registry
from bench.spelling import find_nearest, is_another_word
from bench.system.journal import finish_journal
from bench.system.leaving import AskedToLeave, leave_when_asked
from bench.system.streams import show_crashes, take_stdout

MISUSED, INTERRUPTED = 2, 130  # exit statuses; 130 is what a shell gives Ctrl-C


class Commands(click.Group):
    """A group that suggests the nearest command where one is misspelt."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` starts with.

        Raises:
            UnknownName: there is none of that name.
        """
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise UnknownName(f"no command is named {args[0]!r}.{suggest(args[0], known)}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:  # which is a line that is being typed
            refuse_empty_and_repeated(command, rest)
        return name, command, rest


def refuse_empty_and_repeated(command: click.Command, words: Sequence[str]) -> None:
    """Refuse an option without a value, and a second value of one that takes one: click would take the last.

    Args:
        command: whose options they are.
        words: of the command line, after its name.

    Raises:
        BadValue: there is one.
    """
    given: dict[str | None, str] = {}
    for option, name, word in pair_options(command, words):
        value = word if option is None else word.removeprefix(name).removeprefix("=")
        if not value.strip() and (option is None or not option.is_flag):
            what = f"{name}: it" if option else f"{command.name}: an argument"
            raise BadValue(f"{what} is empty. Name one, or leave it out.")
        if option is None or option.multiple or (option.is_flag and given.get(option.name) == word):
            continue
        if option.name in given:
            raise BadValue(f"{name}: it is given twice, {given[option.name]} and {word}. Give it once.")
        given[option.name] = word


def pair_options(
    command: click.Command, words: Sequence[str]
) -> Iterator[tuple[click.Option | None, str, str]]:
    """Yield the options of a command line: which, its name, and how it is written; of an argument, none."""
    options = {
        word: option
        for option in command.params
        if isinstance(option, click.Option)
        for word in (*option.opts, *option.secondary_opts)
    }
    rest = iter(words)
    for word in itertools.takewhile(lambda word: word != "--", rest):
        name, equals, _ = word.partition("=")
        option = options.get(name)
        if option is None or option.is_flag or equals:
            yield option, name if option else "", word
        elif (value := next(rest, None)) is not None:  # where there is none, click says so
            yield option, name, f"{name} {value}"


class Shell(Commands):
    """The outermost group: an error that a user can mend becomes one line here."""

    group_class = Commands

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BenchError as error:
            if ctx.params.get("traceback"):
                traceback.print_exception(error)
            click.echo(f"Error: {error}", err=True)
            return MISUSED if isinstance(error, UsageError) else FAILED

    def main(
        self, args: Sequence[str] | None = None, *more: Any, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run the command line, and exit with its status.

        A command returns its exit status, or none for success.

        Args:
            args: none are those of this process, which is then the command's own.
            *more: click's.
            standalone_mode: click's.
            **extra: click's.
        """
        session = Session(owns_process=args is None)
        run = functools.partial(super().main, args, *more, **{"obj": session, **extra})
        if not standalone_mode:
            return run(standalone_mode=False)
        status = FAILED
        try:
            with tell_interrupts_apart(), leave_when_asked():
                status = self._run(run)
        finally:
            finish_journal(status)
        sys.exit(status)

    def _run(self, run: Callable[..., Any]) -> int:
        """Return the exit status of the command line."""
        if isinstance(sys.stdout, io.TextIOWrapper):  # a table has signs that not every terminal has
            sys.stdout.reconfigure(errors="replace")
        try:
            status: int | None = run(standalone_mode=False)
        except click.ClickException as error:
            click.echo(f"Error: {format_click_error(error)}", err=True)
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt) as error:
            cause = error.__cause__ if isinstance(error, click.Abort) else error
            status = say_interrupted(cause)
        return status or 0


def say_interrupted(cause: BaseException | None) -> int:
    """Say what interrupted the command, and return its exit status."""
    if isinstance(cause, AskedToLeave):
        click.echo(f"Ended by {cause.name}. The same command goes on where it was.", err=True)
        return cause.exit_status
    click.echo("Interrupted.", err=True)
    return INTERRUPTED


def format_click_error(error: click.ClickException) -> str:
    """Return click's message, with where to read on."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and context:
        message = f"No such option '{error.option_name}'.{suggest_option(error.option_name, context.command)}"
    return f"{message} See `{context.command_path} --help`." if context else message


def suggest_option(name: str, command: click.Command) -> str:
    """Return what to write in place of an option that a command does not have, if that can be told."""
    known = [word for option in command.params for word in option.opts if word.startswith("--")]
    near = find_nearest(name, known)
    if "--set" in known and not any(
        is_another_word(name, word.lstrip("-").replace("-", "_")) for word in near
    ):
        from bench.contracts.recipe import TrainConfig

        settings = find_nearest(name, [field.name for field in fields(TrainConfig)])
        if settings and is_another_word(name, settings[0]):
            return f" Did you mean '--set train.{settings[0]}=VALUE'?"
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


@dataclass
class Session:
    """What the options before the command set.

    Args:
        by_option: plugins that `-p` disables.
        by_environment: plugins that the environment disables; unlike the others, they need not be installed.
        load_limit_s: seconds that a plugin which did not come with bench may take to be loaded.
        owns_process: nothing but this command runs in the process, which may fork.
        stdout: where the result of the command goes; none is standard output as it stands.
    """

    by_option: tuple[str, ...] = ()
    by_environment: tuple[str, ...] = ()
    load_limit_s: float = LOAD_LIMIT_S
    owns_process: bool = False
    stdout: TextIO | None = None

    @cached_property
    def registry(self) -> Registry:
        """The plugins, loaded when a command first asks for them.

        From then on standard output is the result's alone: what plugins print goes to standard error.

        Raises:
            UnknownName: `-p` names a plugin that is not installed.
        """
        self.stdout = take_stdout()
        show_crashes()  # a plugin may end this process, too: what is known then is where
        registry = Registry.load(self.blocked)
        for name in self.by_option:
            if not any(plugin.answers_to(name) for plugin in registry.plugins):
                known = {n for p in registry.plugins for n in (p.id, p.name, p.dist)}
                raise UnknownName(f"-p no:{name}: no plugin is named {name!r}.{suggest(name, known)}")
        return registry

    def supervise(self) -> None:
        """Go on in a child process where there are plugins that did not come with bench, and might end it.

        Nothing may have imported torch yet: a process that forks must have no other threads.
        """
        if self.owns_process and has_foreign_points(self.blocked):
            supervise(self.load_limit_s)
        self.owns_process = False

    def say_failures(self) -> None:
        """Say on standard error which plugins something is wrong with."""
        failures = self.registry.failures
        broken = {failure.plugin.id for failure in failures if failure.phase != REQUIREMENTS}
        lacking = {failure.plugin.id for failure in failures} - broken
        for said, ids in (("Failed to load", broken), ("Without what it needs", lacking)):
            if ids:
                click.echo(f"{said}: {', '.join(sorted(ids))}. See `bench plugins doctor`.", err=True)

    def echo(self, result: object) -> None:
        """Print what the command was asked for: the only thing on standard output."""
        click.echo(spell_out(str(result)), file=self.stdout)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Every plugin that is not to be imported, by worker processes neither."""
        return self.by_option + self.by_environment


def session(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command called with the session, in a child process where a plugin might end it."""

    @functools.wraps(command)
    def call(session: Session, /, *args: Any, **options: Any) -> Any:
        session.supervise()
        return command(session, *args, **options)

    return click.make_pass_decorator(Session)(call)
