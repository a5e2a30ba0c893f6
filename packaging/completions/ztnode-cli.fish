# fish completion of ztnode-cli: the tool itself knows what can stand at the cursor.

function __ztnode_cli_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    for line in ($typed[1] __complete -- $typed[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end

complete -c ztnode-cli -f -a '(__ztnode_cli_complete)'
