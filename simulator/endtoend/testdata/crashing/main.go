// Command crashing is an agent that says its version and panics when it is run.
package main

import (
	"fmt"
	"os"
)

var version = "dev"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println("gnomon-edge", version)
		return
	}
	panic("no agent at all")
}
