// Package cli is the commands, one file each. They reach a running office over its control socket.
package cli

// Main runs one command and gives its exit code: 0 done, 1 failure, 2 usage or configuration, 3 offline, 4 unknown user.
func Main(args []string) int { panic("cli: not built") }
