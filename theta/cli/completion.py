"""``theta completion``: scripts that let a shell complete verbs, refs, files and parameters."""

from typing import Annotated

import typer

from theta.cli.terminal import Terminal
from theta_store.errors import UsageError

EXAMPLES = (
    "Examples:  theta completion bash > ~/.local/share/bash-completion/completions/theta  ·  "
    "theta completion zsh > ~/.zfunc/_theta  ·  "
    "theta completion fish > ~/.config/fish/completions/theta.fish"
)

# Readline takes : and = for ends of words: of an answer it wants what stands behind the last one.
BASH = r"""
_theta_completion() {
    local line=${COMP_LINE:0:COMP_POINT} breaks= typed= word
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    word=${line##*[[:space:]]}
    [[ -n $breaks ]] && typed=${word%"${word##*[$breaks]}"}
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$typed"}")
    done < <(COMP_WORDS=$line _THETA_COMPLETE=complete_bash "$1" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[.:=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _theta_completion theta
"""

ZSH = r"""
#compdef theta
_theta() {
    local -a whole open whole_shown open_shown
    local line word
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        line=${line/$'\t'/  -- }
        if [[ $word == *[.:=] ]]; then
            open+=("$word"); open_shown+=("$line")
        else
            whole+=("$word"); whole_shown+=("$line")
        fi
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
        _THETA_COMPLETE=complete_zsh "${words[1]}" 2>/dev/null)
    (( $#open )) && compadd -l -S '' -d open_shown -a open
    (( $#whole )) && compadd -l -d whole_shown -a whole
    (( $#open + $#whole )) || _files
}
if [[ $funcstack[1] == _theta ]]; then _theta "$@"; else compdef _theta theta; fi
"""

FISH = r"""
function __theta_complete
    set -l found (env COMP_WORDS=(commandline -cp) _THETA_COMPLETE=complete_fish theta 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c theta -f -a '(__theta_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def completion(
    ctx: typer.Context,
    shell: Annotated[
        str | None, typer.Argument(help="bash, zsh or fish; by default the one you use.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Print the script that makes a shell complete verbs, refs, files and parameters.

    Put eval "$(theta completion bash)" into ~/.bashrc, and the like for zsh, or save the script
    where the shell looks for such scripts.
    """
    terminal: Terminal = ctx.obj
    wanted = shell or terminal.env.get("SHELL", "").rpartition("/")[2]
    if wanted not in SCRIPTS:
        raise UsageError(
            f"there is no script for {wanted or 'this shell'}",
            hint="theta completion bash|zsh|fish",
        )
    script = SCRIPTS[wanted].strip()
    if json:
        terminal.answer("completion", {"shell": wanted, "script": script})
    else:
        terminal.stdout.write(script + "\n")
