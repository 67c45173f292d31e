//go:build ignore

// Writes numbers/ from the tables of golang.org/x/sys.
package main

import (
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		log.Fatal(err)
	}
	entry := regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`)
	for _, arch := range []string{"amd64", "386", "arm64", "arm"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go"))
		if err != nil {
			log.Fatal(err)
		}
		var lines []string
		for _, m := range entry.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "SYSCALL_MASK" { // no system call
				lines = append(lines, strings.ToLower(m[1])+" "+m[2])
			}
		}
		if arch == "arm" { // the processor's own, which only C knows
			lines = append(lines, "breakpoint 983041", "cacheflush 983042", "set_tls 983045")
		}
		text = []byte(strings.Join(lines, "\n") + "\n")
		if err := os.WriteFile(filepath.Join("numbers", arch+".txt"), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
