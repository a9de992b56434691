# bash completion for govmd and govmctl: what there is is asked of the programs.

# Prints the words of the line up to the cursor; the last one may be empty.
_govmctl_words() {
	local line=${COMP_LINE:0:COMP_POINT}
	local -a words
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=('')
	printf '%s\n' "${words[@]}"
}

_govmctl_reply() { # PROGRAM-AND-ARGUMENTS... -- what was typed is their last
	local last=${*: -1} cut
	mapfile -t COMPREPLY < <("$@" 2>/dev/null)
	# Bash breaks words at = and : and replaces only what follows.
	cut=${last%"${last##*[=:]}"}
	[[ $cut == *=* && $COMP_WORDBREAKS != *=* ]] && cut=
	COMPREPLY=("${COMPREPLY[@]#"$cut"}")
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace 2>/dev/null
	return 0
}

_govmctl() {
	local -a words
	mapfile -t words < <(_govmctl_words)
	_govmctl_reply "$1" --complete "${words[@]:1}"
}

_govmd() {
	local -a words
	mapfile -t words < <(_govmctl_words)
	if [[ ${words[1]} == ctl && ${#words[@]} -gt 2 ]]; then
		_govmctl_reply "$1" ctl --complete "${words[@]:2}"
		return
	fi
	local last=${words[-1]} before=${words[-2]}
	case $before in
	-M | -machine) mapfile -t COMPREPLY < <("$1" -M help 2>/dev/null | sed -n '2,$s/ .*//p') ;;
	-device) mapfile -t COMPREPLY < <("$1" -device help 2>/dev/null | sed -n 's/^name "\([^"]*\)".*/\1/p') ;;
	-object) mapfile -t COMPREPLY < <("$1" -object help 2>/dev/null | sed -n 's/^  *//p') ;;
	*)
		if [[ $last == -* ]]; then
			mapfile -t COMPREPLY < <("$1" -help 2>/dev/null | sed -n 's/^\(-[^ ]*\).*/\1/p')
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$last")
			compopt -o filenames 2>/dev/null
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "${COMPREPLY[*]}" -- "$last")
	return 0
}

complete -F _govmctl govmctl
complete -F _govmd govmd
