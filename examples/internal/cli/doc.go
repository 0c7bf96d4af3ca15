// Package cli has what the programs below examples share: how they describe themselves, and where their settings come from. If
// you copy a program, copy this package too; it uses nothing else of Penstock.
//
//   - [Command] describes a program and its subcommands. Help, the manual page and the completion scripts for bash, zsh and fish
//     are made from that one description, so that they cannot disagree.
//   - [Set] is a set of flags, each of which is also an environment variable and a key of a YAML file. The command line
//     overrides the environment, the environment the file, and the file the default. All mistakes are reported at once, each
//     with its place.
//   - [Set.Table] is the table of flags, variables and keys that the documentation shows.
//
// # The way through the files
//
// command.go is Command; man.go and completion.go are made from it. set.go is Set and the kinds of its flags; load.go reads the
// three sources, file.go the YAML file. origin.go names places, suggest.go guesses the meaning of a misspelled name, table.go
// prints the table.
package cli
