// Command siproam runs offices in which one telephone number works everywhere.
package main

import (
	"os"

	"github.com/siproam/siproam/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
