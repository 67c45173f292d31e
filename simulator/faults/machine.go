package faults

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gnomon/simulator/edgeproc"
)

// machine is everything that a node can leave over, at one moment.
type machine map[string][]string // by kind

// observe looks at the machine.
func observe(n *edgeproc.Node) (machine, error) {
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
	m["cgroup"] = n.Groups()
	for pid := range n.Processes() {
		m["process"] = append(m["process"], pid)
	}
	for _, pattern := range []string{"run/*", "apps/*", "subids/*", "state/*", "components/unpacking", "net/*"} {
		found, err := filepath.Glob(filepath.Join(n.Data, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			switch base := filepath.Base(path); {
			case base == "reserve", strings.HasPrefix(base, "bad."):
			default:
				m["file"] = append(m["file"], strings.TrimPrefix(path, n.Data+"/"))
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
