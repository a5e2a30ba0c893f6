# bash completion of ztnode-cli: the tool itself knows what can stand at the cursor.

_ztnode_cli() {
    local line cur word about start quoted
    COMPREPLY=()
    # bash cuts words at = and : as well; the line up to the cursor tells what was meant.
    line=${COMP_LINE:0:COMP_POINT}
    local -a words
    # Quotes and backslashes as the shell reads them; nothing in the line is carried out.
    local IFS=$' \t\n'
    local chunk='' quote='' char i started=
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ -n $quote ]]; then
            if [[ $char == "$quote" ]]; then quote=''; else chunk+=$char; fi
        else
            case $char in
            \' | \") quote=$char started=1 ;;
            \\) ((i++)); chunk+=${line:i:1}; started=1 ;;
            ' ' | $'\t') [[ -n $chunk$started ]] && words+=("$chunk"); chunk='' started= ;;
            *) chunk+=$char ;;
            esac
        fi
    done
    cur=$chunk
    words+=("$cur")
    # What bash takes for the beginning of the word that it replaces.
    start=
    if [[ -z $quote && $cur == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]]; then
        start=${cur%"${cur##*[=:]}"}
    fi
    while IFS=$'\t' read -r word about; do
        if [[ $word == :files ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("${word#"$start"}"); done < <(compgen -f -- "$cur")
            continue
        fi
        word=${word#"$start"}
        if [[ -n $quote ]]; then
            COMPREPLY+=("$word")
        else
            printf -v quoted %q "$word"
            COMPREPLY+=("$quoted")
        fi
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
} && complete -F _ztnode_cli ztnode-cli
