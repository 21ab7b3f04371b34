// Command siproam runs offices in which one telephone number works everywhere.
package main

import (
	_ "embed"
	"os"

	"github.com/siproam/siproam/cli"
)

// example is the commented configuration that `siproam init` prints.
//
//go:embed office.example.yaml
var example string

func main() { os.Exit(cli.Main(os.Args[1:], example)) }
