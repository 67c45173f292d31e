package edgeproc

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Processes are those that belong to the node, the agent left out: they are in
// its cgroups, or their command names its disk. They are told by number, start
// and command.
func (n *Node) Processes() map[string]int {
	all := map[string]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		began := Ticks(pid)
		mine := bytes.Contains(groups, []byte(":"+n.Cgroup()+"/")) || bytes.Contains(command, []byte(n.Data+"/"))
		if err != nil || began == "" || !mine || pid == os.Getpid() || n.agent != nil && pid == n.agent.pid() {
			continue
		}
		text := strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		all[fmt.Sprintf("%d since %s: %.400s", pid, began, text)] = pid
	}
	return all
}

// Ticks tells when a process started, so that a number used again isn't taken
// for the same process; "" for one that is no more.
func Ticks(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return f[19]
}

// Groups are the node's cgroups in all hierarchies, the deepest first. That of
// the shims is there from the first start on.
func (n *Node) Groups() (dirs []string) {
	mounts, _ := filepath.Glob("/sys/fs/cgroup/*" + n.Cgroup())
	for _, top := range append(mounts, "/sys/fs/cgroup"+n.Cgroup()) {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what is gone meanwhile is none of ours any more
		})
	}
	slices.SortFunc(dirs, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return dirs
}
