package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mostCounted bounds the processes whose own accounts are read.
const mostCounted = 512

// IO returns the bytes that the group's processes have had read from and written
// to block devices. Where no controller counts them, as under v1 on kernels since
// 6.6, the accounts of the processes that live are added up, which hold those of
// their children that ended.
func (g Group) IO() (read, written int64) {
	read, written, counted := g.controllerIO()
	if counted {
		return read, written
	}
	pids, err := g.Pids()
	if err != nil {
		return 0, 0
	}
	for _, pid := range pids[:min(len(pids), mostCounted)] {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
		if err != nil {
			continue // it has ended
		}
		r, w := processIO(string(b))
		read, written = read+r, written+w
	}
	return read, written
}

// controllerIO reads what a controller counts. One that has seen no device may
// as well count nothing at all.
func (g Group) controllerIO() (read, written int64, counted bool) {
	for _, name := range []string{"blkio", "io"} {
		d, ok := g.controller(name)
		if !ok {
			continue
		}
		if d.Unified {
			b, err := os.ReadFile(filepath.Join(d.path, "io.stat"))
			read, written = ioStat(string(b))
			return read, written, err == nil
		}
		b, err := os.ReadFile(filepath.Join(d.path, "blkio.throttle.io_service_bytes_recursive"))
		if err != nil {
			b, _ = os.ReadFile(filepath.Join(d.path, "blkio.throttle.io_service_bytes"))
		}
		read, written = serviceBytes(string(b))
		return read, written, read+written > 0
	}
	return 0, 0, false
}

// processIO reads a process' account: "read_bytes: 1".
func processIO(text string) (read, written int64) {
	for line := range strings.SplitSeq(text, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "read_bytes":
			read = n
		case "write_bytes":
			written = n
		}
	}
	return read, written
}

// ioStat adds up the devices of a v2 io.stat: "254:0 rbytes=1 wbytes=2 rios=…".
func ioStat(text string) (read, written int64) {
	for field := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "rbytes":
			read += n
		case "wbytes":
			written += n
		}
	}
	return read, written
}

// serviceBytes adds up the devices of a v1 table: "254:0 Read 1".
func serviceBytes(text string) (read, written int64) {
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(f[2], 10, 64)
		switch f[1] {
		case "Read":
			read += n
		case "Write":
			written += n
		}
	}
	return read, written
}
