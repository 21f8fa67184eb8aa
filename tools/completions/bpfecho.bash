# Completes bpfecho(8). Made by `cargo build-docs`.
_bpfecho() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    # The options, and what follows each: nothing, any value, an interface, a word, or a list of words.
    local -A follows=(
        [--ipv4]='value'
        [--ipv6]='value'
        [--port]='value'
        [--ifname]='interface'
        [--protocol]='list tcp udp icmp'
        [--allow]='value'
        [--virtual-hosts]='value'
        [--force]=''
        [--hook]='word auto tcx clsact xdp xdp-generic'
        [--before]='value'
        [--after]='value'
        [--background]=''
        [--wait]=''
        [--check]=''
        [--status]=''
        [--stop]=''
        [--all]=''
        [--stats]=''
        [--json]=''
        [--quiet]='' [-q]=''
        [--verbose]='' [-v]=''
        [--version]=''
        [--help]=''
    )
    local what words prefix=
    read -r what words <<<"${follows[$before]-}"
    case $what in
        '') words=${!follows[*]} ;;
        list) [[ $word == *,* ]] && prefix=${word%,*}, ;;
        # As files: whoever names an interface could have words expanded.
        interface) mapfile -t COMPREPLY < <(cd /sys/class/net && compgen -f -- "$word") && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "${word#"$prefix"}")
}
complete -F _bpfecho bpfecho
