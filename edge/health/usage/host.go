package usage

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// node measures the node itself.
func (s *Sampler) node(now time.Time) Node {
	n := Node{FileSystems: FileSystems(s.cfg.Paths)}
	c := counters{at: now}
	c.busy, c.all, n.Cores = s.processors()
	n.MemoryTotal, n.Memory = s.memory()
	n.Pids, n.PidsMost = s.pids()
	c.read, c.written = s.disks()
	c.in, c.out = s.network("self", true)
	switch {
	case s.host.precedes(c) && c.all > s.host.all:
		n.Settled = true
		n.CPU = (c.busy - s.host.busy) / (c.all - s.host.all) * float64(n.Cores)
		n.Rates = s.host.rates(c)
		s.host = c
	case s.host.at.IsZero() || now.Sub(s.host.at) >= shortest:
		s.host = c
	}
	return n
}

// read returns a small file of the kernel, "" if there is none.
func read(parts ...string) string {
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		return ""
	}
	return string(b)
}

// processors reads the ticks of all processors and how many there are.
func (s *Sampler) processors() (busy, all float64, cores int) {
	for line := range strings.SplitSeq(read(s.cfg.Proc, "stat"), "\n") {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasPrefix(f[0], "cpu") {
			break // they come first
		}
		if f[0] != "cpu" {
			cores++
			continue
		}
		// user nice system idle iowait irq softirq steal; what guests had is in user already.
		for i, text := range f[1:min(len(f), 9)] {
			v, _ := strconv.ParseFloat(text, 64)
			all += v
			if i != 3 && i != 4 && i != 7 {
				busy += v
			}
		}
	}
	return busy, all, cores
}

func (s *Sampler) memory() (total, used int64) {
	total, available := NodeMemory(s.cfg.Proc)
	return total, max(0, total-available)
}

// NodeMemory reads how much memory the node has, and how much of that an application
// could still get, from what is mounted at proc. It is 0 where that isn't known.
func NodeMemory(proc string) (total, available int64) {
	for line := range strings.SplitSeq(read(proc, "meminfo"), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "MemTotal":
			total = kilobytes(value)
		case "MemAvailable":
			return total, kilobytes(value)
		}
	}
	return total, total
}

func kilobytes(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
	return n << 10
}

// pids reads how many threads there are, and how many there can be.
func (s *Sampler) pids() (now, most int64) {
	if f := strings.Fields(read(s.cfg.Proc, "loadavg")); len(f) >= 4 {
		_, all, _ := strings.Cut(f[3], "/")
		now, _ = strconv.ParseInt(all, 10, 64)
	}
	for _, file := range []string{"pid_max", "threads-max"} {
		v, err := strconv.ParseInt(strings.TrimSpace(read(s.cfg.Proc, "sys/kernel", file)), 10, 64)
		if err == nil && v > 0 && (most == 0 || v < most) {
			most = v
		}
	}
	return now, most
}

const sector = 512 // bytes, whatever the disk says

// disks adds up the node's disks. What lies upon them, such as partitions and
// mapped devices, would count twice.
func (s *Sampler) disks() (read64, written int64) {
	for line := range strings.SplitSeq(read(s.cfg.Proc, "diskstats"), "\n") {
		f := strings.Fields(line)
		if len(f) < 10 || !exists(s.cfg.Sys, "block", f[2], "device") {
			continue
		}
		r, _ := strconv.ParseInt(f[5], 10, 64)
		w, _ := strconv.ParseInt(f[9], 10, 64)
		read64 += r * sector
		written += w * sector
	}
	return read64, written
}

// network adds up the interfaces a process sees but loopback; with physical set
// only those that are hardware, if there are any: what goes through a bridge
// would count twice.
func (s *Sampler) network(pid string, physical bool) (in, out int64) {
	var hardIn, hardOut int64
	hard := false
	for line := range strings.SplitSeq(read(s.cfg.Proc, pid, "net/dev"), "\n") {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || name == "lo" || len(f) < 9 {
			continue
		}
		i, _ := strconv.ParseInt(f[0], 10, 64)
		o, _ := strconv.ParseInt(f[8], 10, 64)
		in, out = in+i, out+o
		if physical && exists(s.cfg.Sys, "class/net", name, "device") {
			hard, hardIn, hardOut = true, hardIn+i, hardOut+o
		}
	}
	if hard {
		return hardIn, hardOut
	}
	return in, out
}

func exists(parts ...string) bool {
	_, err := os.Lstat(filepath.Join(parts...))
	return err == nil
}

func pidText(pid int) string {
	if pid <= 0 {
		return "none"
	}
	return strconv.Itoa(pid)
}

// netns identifies the network a process sees; "" if there is no telling.
func netns(proc, pid string) string {
	name, err := os.Readlink(filepath.Join(proc, pid, "ns/net"))
	if err != nil {
		return ""
	}
	return name
}

// FileSystems looks at the file systems that directories are on, each once, in
// that order. A directory that isn't there is left out.
func FileSystems(paths []string) []FileSystem {
	var all []FileSystem
	seen := map[uint64]bool{}
	for _, p := range paths {
		var st unix.Stat_t
		if unix.Stat(p, &st) != nil || seen[st.Dev] {
			continue
		}
		seen[st.Dev] = true
		if fs, ok := FileSystemOf(p); ok {
			all = append(all, fs)
		}
	}
	return all
}

// FileSystemOf looks at the file system that a directory is on.
func FileSystemOf(path string) (FileSystem, bool) {
	var v unix.Statfs_t
	if unix.Statfs(path, &v) != nil {
		return FileSystem{}, false
	}
	size := int64(v.Frsize) //nolint:unconvert // 32 bits on some machines
	if size <= 0 {
		size = int64(v.Bsize) //nolint:unconvert // as above
	}
	return FileSystem{
		Path: path,
		Size: int64(v.Blocks) * size, Used: int64(v.Blocks-v.Bfree) * size, Free: int64(v.Bavail) * size,
		Inodes: int64(v.Files), InodesUsed: int64(v.Files - v.Ffree),
		ReadOnly: int64(v.Flags)&unix.ST_RDONLY != 0, //nolint:unconvert // as above
	}, true
}
