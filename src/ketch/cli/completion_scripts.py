"""The completion scripts. Each hands the words to ``ketch __complete`` and shows its answer."""

BASH = r"""# bash completion for ketch
_ketch() {
    local cur words cword letters line reply before
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n "=:" cur words cword
    else
        cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    COMPREPLY=()
    reply=$("${words[0]}" __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null) || return
    letters=${reply##*$'\n'}
    letters=${letters#:}
    # readline replaces what follows the last = or : of the word
    before=
    [[ $COMP_WORDBREAKS == *=* && $cur == *=* ]] && before=${cur%"${cur##*=}"}
    [[ $COMP_WORDBREAKS == *:* && ${cur#"$before"} == *:* ]] && before=${cur%"${cur##*:}"}
    while IFS= read -r line; do
        [[ $line == :* || -z $line ]] && continue
        line=${line%%$'\t'*}
        COMPREPLY+=("${line#"$before"}")
    done <<<"$reply"
    local rest=${cur#"$before"}
    case $letters in
        *f*) compopt -o filenames
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$rest") ;;
        *d*) compopt -o filenames
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$rest") ;;
    esac
    case $letters in *n*) compopt -o nospace ;; esac
}
complete -F _ketch ketch
"""

ZSH = r"""#compdef ketch
# zsh completion for ketch
_ketch() {
    local reply line letters typed
    local -a plain open shown
    typed=${words[CURRENT]}
    reply=$("${words[1]}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)typed}" 2>/dev/null) ||
        return
    for line in "${(@f)reply}"; do
        if [[ $line == :* ]]; then
            letters=${line#:}
            continue
        fi
        local word=${line%%$'\t'*} text=
        [[ $line == *$'\t'* ]] && text=${line#*$'\t'}
        word=${word//:/\\:}
        if [[ $word == *= || $word == *: ]]; then
            open+=("$word${text:+:$text}")
        else
            plain+=("$word${text:+:$text}")
        fi
    done
    (( $#plain )) && _describe -t ketch 'ketch' plain
    (( $#open )) && _describe -t ketch 'ketch' open -S ''
    [[ $letters == *f* ]] && _files
    [[ $letters == *d* ]] && _files -/
    return 0
}
if [[ $funcstack[1] == _ketch ]]; then
    _ketch "$@"
else
    compdef _ketch ketch
fi
"""

FISH = r"""# fish completion for ketch
function __ketch_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l reply ($words[1] __complete $words[2..-1] $typed 2>/dev/null)
    set -l letters (string replace -r '^:' '' -- $reply[-1])
    if test (count $reply) -gt 1
        printf '%s\n' $reply[1..-2]
    end
    set -l path (string replace -r '^--?[\w-]+=' '' -- $typed)
    set -l length (math (string length -- "$typed") - (string length -- "$path"))
    set -l before (string sub -l $length -- "$typed")
    if string match -q '*f*' -- $letters
        for found in (__fish_complete_path $path)
            printf '%s\n' $before$found
        end
    else if string match -q '*d*' -- $letters
        for found in (__fish_complete_directories $path '')
            printf '%s\n' $before$found
        end
    end
end
complete -c ketch -f -a '(__ketch_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
