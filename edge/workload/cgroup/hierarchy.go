package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoHierarchy: no cgroup file system is mounted.
var ErrNoHierarchy = errors.New("no cgroup hierarchy is mounted")

// Hierarchy is one mounted tree of cgroups.
type Hierarchy struct {
	Mount       string
	Unified     bool     // the v2 tree, of a pure or hybrid system
	Controllers []string // v1: those bound to this tree; "name=…" for a named one
}

// Hierarchies lists the mounted trees of the caller's mount namespace, each once.
func Hierarchies() ([]Hierarchy, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []Hierarchy
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		h, ok := parseMount(lines.Text())
		key := strings.Join(h.Controllers, ",")
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		found = append(found, h)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNoHierarchy
	}
	return found, nil
}

// parseMount reads one line of mountinfo: fields, " - ", type, source, options.
func parseMount(line string) (Hierarchy, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 5 || len(r) < 3 {
		return Hierarchy{}, false
	}
	h := Hierarchy{Mount: l[4]}
	switch r[0] {
	case "cgroup2":
		h.Unified = true
	case "cgroup":
		for o := range strings.SplitSeq(r[2], ",") {
			if slices.Contains(v1Controllers, o) || strings.HasPrefix(o, "name=") {
				h.Controllers = append(h.Controllers, o)
			}
		}
		if len(h.Controllers) == 0 {
			return Hierarchy{}, false
		}
	default:
		return Hierarchy{}, false
	}
	return h, true
}

// v1Controllers tells controllers from other mount options, such as rw or xattr.
var v1Controllers = []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer",
	"hugetlb", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"}

// Group is one path in every hierarchy. The zero Group is in none.
type Group struct {
	path string
	dirs []dir
}

// dir is the group's directory in one hierarchy.
type dir struct {
	Hierarchy
	path string
}

// At returns the group of an absolute path such as /gnomon/n1/web, which need
// not exist.
func At(path string) (Group, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return Group{}, fmt.Errorf("cgroup path %q is not absolute and clean", path)
	}
	hs, err := Hierarchies()
	if err != nil {
		return Group{}, err
	}
	g := Group{path: path}
	for _, h := range hs {
		g.dirs = append(g.dirs, dir{h, filepath.Join(h.Mount, path)})
	}
	return g, nil
}

// Path returns the path the group was made with.
func (g Group) Path() string { return g.path }

// Hold returns the very group that exists now, until release is called: one that is
// made later at the same path is another. Only this process can use what it returns.
func (g Group) Hold() (held Group, release func(), err error) {
	held = Group{path: g.path}
	var open []*os.File
	release = func() {
		for _, f := range open {
			_ = f.Close()
		}
	}
	for _, d := range g.dirs {
		f, err := os.OpenFile(d.path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			release()
			return Group{}, nil, err
		}
		open = append(open, f)
		held.dirs = append(held.dirs, dir{d.Hierarchy, "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))})
	}
	if len(open) == 0 {
		return Group{}, nil, &os.PathError{Op: "hold", Path: g.path, Err: os.ErrNotExist}
	}
	return held, release, nil
}

// Exists tells whether the group exists in any hierarchy.
func (g Group) Exists() bool {
	return slices.ContainsFunc(g.dirs, func(d dir) bool {
		_, err := os.Lstat(d.path)
		return err == nil
	})
}

// PureV2 tells whether there is only the unified hierarchy, where a group with
// children that have controllers may not hold processes itself.
func (g Group) PureV2() bool { return len(g.dirs) == 1 && g.dirs[0].Unified }

// Child returns the group of a name below this one.
func (g Group) Child(name string) Group {
	c := Group{path: filepath.Join(g.path, name)}
	for _, d := range g.dirs {
		c.dirs = append(c.dirs, dir{d.Hierarchy, filepath.Join(d.path, name)})
	}
	return c
}

// V1Controllers returns the v1 controllers, named as /proc/self/cgroup does.
func (g Group) V1Controllers() []string {
	var cs []string
	for _, d := range g.dirs {
		cs = append(cs, d.Controllers...)
	}
	return cs
}

// controller returns the directory that governs a controller: the v1 one if
// bound there, else the unified one.
func (g Group) controller(name string) (dir, bool) {
	var unified dir
	for _, d := range g.dirs {
		if slices.Contains(d.Controllers, name) {
			return d, true
		}
		if d.Unified {
			unified = d
		}
	}
	return unified, unified.Unified // which calls blkio io
}
