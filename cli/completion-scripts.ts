// What a shell needs to complete the command: it asks `mayfly __complete` for the words, with those that stand before the cursor.

/** bash takes `:` and `=` for ends of words; what it has already taken is cut from the answers. Files are offered where nothing is. */
const BASH = `# mayfly completion for bash: source <(mayfly completion bash)
_mayfly() {
  local -a words
  local line=\${COMP_LINE:0:COMP_POINT}
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  mapfile -t COMPREPLY < <("\${words[0]}" __complete -- "\${words[@]:1}" 2>/dev/null)
  local partial=\${words[-1]}
  local taken=\${partial%"\${partial##*[:=]}"}
  COMPREPLY=("\${COMPREPLY[@]#"$taken"}")
}
complete -o default -F _mayfly mayfly
`;

const ZSH = `#compdef mayfly
# mayfly completion for zsh: source <(mayfly completion zsh), or as a file _mayfly in your fpath
_mayfly() {
  local -a found
  found=(\${(f)"$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( \${#found} )); then compadd -- "\${found[@]}"; else _files; fi
}
if [[ \${funcstack[1]} == _mayfly ]]; then _mayfly "$@"; else compdef _mayfly mayfly; fi
`;

const FISH = `# mayfly completion for fish: mayfly completion fish | source
function __mayfly_complete
  set -l before (commandline -opc)
  set -l found ($before[1] __complete -- $before[2..] (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c mayfly -f -a '(__mayfly_complete)'
`;

export const COMPLETION_SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
