package seccomp

import _ "embed"

// The numbers of system calls by processor, as "name number" lines, written by
// numbers_gen.go from the tables of golang.org/x/sys.
var (
	//go:embed numbers/amd64.txt
	numbersOfAMD64 string
	//go:embed numbers/386.txt
	numbersOf386 string
	//go:embed numbers/arm64.txt
	numbersOfARM64 string
	//go:embed numbers/arm.txt
	numbersOfARM string
)
