"""What bash, zsh and fish need to have a line completed: the script of each, and how each says the line.

click's own scripts know a word as the shell splits it, which in bash is at `=`, and cut a value at its first
comma in fish. Here a shell sends its line up to the cursor, and gets back what the last word may be.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

GOES_ON = "="  # at the end of what is followed by no space
SPECIAL = re.compile(r"([^\w@%+=:,./~-])")  # in bash, outside of quotes

BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_PIECE="${COMP_WORDS[COMP_CWORD]}" COMP_WORDS="${COMP_LINE:0:COMP_POINT}" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
ZSH = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local line kind value
    local -a whole goes_on
    (( $+commands[%(prog_name)s] )) || return 1
    for line in "${(@f)$(COMP_WORDS="${(F)words[1,CURRENT]}" %(complete_var)s=zsh_complete \\
            %(prog_name)s 2>/dev/null)}"; do
        kind=${line%%%%,*} value=${line#*,}
        case $kind in
            dir) compset -P '*='; _path_files -/ ;;
            file) compset -P '*='; _path_files ;;
            plain) [[ $value == *= ]] && goes_on+=("$value") || whole+=("$value") ;;
        esac
    done
    (( $#goes_on )) && compadd -U -S '' -V unsorted -a goes_on
    (( $#whole )) && compadd -U -V unsorted -a whole
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
FISH = """\
function %(complete_func)s
    set -l start (string match -r -- '^.*=' (commandline -ct))
    for line in (env COMP_WORDS=(commandline -cp | string collect) %(complete_var)s=fish_complete \\
            %(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                printf '%%s\\n' $start(__fish_complete_directories "$parts[2]" '')
            case file
                printf '%%s\\n' $start(__fish_complete_path "$parts[2]")
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class LineComplete(ShellComplete):
    """Completes the last word of a line that is sent as it stands."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the last one, without the command, and the last."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        if not words or (line[-1].isspace() and not _is_in_quotes(line)):
            return words, ""
        return words[:-1], words[-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Return what the last word may be: the whole of it, as `--option=VALUE` where it begins so."""
        found = super().get_completions(args, incomplete)
        option = re.match(r"--?[^=]+=", incomplete)
        if option:
            for item in found:
                if item.type == "plain" and not item.value.startswith(option[0]):
                    item.value = f"{option[0]}{item.value}"
        return found

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the kind of what is offered, and what it is."""
        return f"{item.type},{item.value}"


class BashLine(LineComplete):
    """Returns what follows in place of the piece that bash replaces, which begins after an `=`."""

    name = "bash"
    source_template = BASH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the kind of what is offered, and what stands for the piece."""
        if item.type != "plain":
            return super().format_completion(item)
        word, piece = self.get_completion_args()[1], os.environ.get("COMP_PIECE", "")
        start = piece[:1] if piece[:1] in ("'", '"') else ""
        piece = "" if piece in ("=", ":") else piece.removeprefix(start)
        before = word.removesuffix(piece) if word.endswith(piece) else ""
        value = item.value.removeprefix(before)
        return f"{item.type},{value if start else SPECIAL.sub(_escape, value)}"


class ZshLine(LineComplete):
    """As the line says."""

    name = "zsh"
    source_template = ZSH


class FishLine(LineComplete):
    """As the line says."""

    name = "fish"
    source_template = FISH


SHELLS = {cls.name: add_completion_class(cls) for cls in (BashLine, ZshLine, FishLine)}


def _is_in_quotes(line: str) -> bool:
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[1]}"
