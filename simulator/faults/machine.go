package faults

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// machine is everything that a node can leave over, at one moment.
type machine map[string][]string // by kind

// observe looks at the machine.
func (n *node) observe() (machine, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	m := machine{}
	for _, l := range links {
		m["network device"] = append(m["network device"], l.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 {
			m["mount"] = append(m["mount"], f[4])
		}
	}
	m["cgroup"] = n.groups()
	for pid := range n.processes() {
		m["process"] = append(m["process"], pid)
	}
	for _, pattern := range []string{"run/*", "apps/*", "state/*", "components/unpacking", "net/*"} {
		found, err := filepath.Glob(filepath.Join(n.data, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			switch base := filepath.Base(path); {
			case base == "reserve", strings.HasPrefix(base, "bad."):
			default:
				m["file"] = append(m["file"], strings.TrimPrefix(path, n.data+"/"))
			}
		}
	}
	for kind := range m {
		slices.Sort(m[kind])
	}
	return m, nil
}

// differences names what is there now and wasn't before, and the reverse.
func (m machine) differences(now machine) (all []string) {
	for _, kind := range []string{"process", "mount", "cgroup", "network device", "file"} {
		for _, x := range now[kind] {
			if !slices.Contains(m[kind], x) {
				all = append(all, kind+" left over: "+x)
			}
		}
		for _, x := range m[kind] {
			if !slices.Contains(now[kind], x) {
				all = append(all, kind+" gone: "+x)
			}
		}
	}
	return all
}

// processes are those that belong to the node, the agent left out: they are in
// its cgroups, or their command names its disk. They are told by number, start
// and command.
func (n *node) processes() map[string]int {
	all := map[string]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		began := ticks(pid)
		mine := bytes.Contains(groups, []byte(":"+n.cgroup()+"/")) || bytes.Contains(command, []byte(n.data+"/"))
		if err != nil || began == "" || !mine || pid == os.Getpid() || n.agent != nil && pid == n.agent.pid() {
			continue
		}
		text := strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		all[fmt.Sprintf("%d since %s: %.80s", pid, began, text)] = pid
	}
	return all
}

// ticks tells when a process started, so that a number used again isn't taken
// for the same process; "" for one that is no more.
func ticks(pid int) string {
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

// groups are the node's cgroups in all hierarchies, the deepest first. That of
// the shims is there from the first start on.
func (n *node) groups() (dirs []string) {
	mounts, _ := filepath.Glob("/sys/fs/cgroup/*" + n.cgroup())
	for _, top := range append(mounts, "/sys/fs/cgroup"+n.cgroup()) {
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
