// Package cli has what the programs below examples share: how they describe themselves, and where their settings come from.
// Whoever copies a program copies this package too; it uses nothing else of Penstock.
//
//   - [Command] describes a program and its subcommands. Help, the manual page and the completion scripts for bash, zsh and fish
//     are made from that one description, so that they cannot disagree.
//   - [Set] is a set of flags, each of which is also a variable of the environment and a key of a YAML file. The command line
//     comes before the environment, the environment before the file, and the file before the default. All mistakes are
//     reported at once, each with its place.
//   - [Set.Table] is the table of flags, variables and keys that the documentation shows.
//
// # The way through the files
//
// command.go is Command; man.go and completion.go are made from it. set.go is Set and the kinds of its flags, load.go reads the
// three sources, file.go the YAML file. origin.go names places, suggest.go guesses what a misspelled name means, table.go prints
// the table.
package cli
