// Package rotate writes a log that never grows beyond a bound. It keeps a file
// and its predecessors, file.1 the latest of them, and never fails its caller:
// what cannot be written, for want of space say, is dropped.
package rotate

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Log is an io.Writer onto a bounded set of files. It is not safe for
// concurrent use, but another process may write to the same files.
type Log struct {
	path  string
	limit int64 // bytes of one file
	files int   // kept, the current one included
	file  *os.File
	size  int64
}

// Open appends to the log at path. A limit or number that is not positive
// becomes the least that works.
func Open(path string, limit int64, files int) (*Log, error) {
	l := &Log{path: path, limit: max(limit, 1), files: max(files, 1)}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, st.Size()
	return nil
}

// Write takes all of b, always. A write that would exceed the limit goes to a
// fresh file, in pieces if it is larger than a file may be.
func (l *Log) Write(b []byte) (int, error) {
	n := len(b)
	l.follow()
	for len(b) > 0 {
		if l.size >= l.limit || l.size > 0 && l.size+int64(len(b)) > l.limit {
			l.rotate()
		}
		piece := b[:min(int64(len(b)), l.limit)]
		b = b[len(piece):]
		if l.file == nil && l.open() != nil {
			continue
		}
		w, _ := l.file.Write(piece)
		l.size += int64(w)
	}
	return n, nil
}

// follow makes sure that what is written goes to the end of the current file: while
// one instance takes over from another, both write to the log.
func (l *Log) follow() {
	if l.file == nil {
		return
	}
	ours, err := l.file.Stat()
	if err != nil {
		return
	}
	l.size = ours.Size()
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(ours, now) {
		return
	}
	l.file.Close()
	if l.file = nil; l.open() != nil {
		l.size = 0
	}
}

// rotate renames the files one further; the oldest falls off. Of two writers one
// does it.
func (l *Log) rotate() {
	if l.file != nil {
		_ = unix.Flock(int(l.file.Fd()), unix.LOCK_EX)
		was := l.file
		if l.follow(); l.file != was { // which has given up the lock, too
			return
		}
		defer was.Close() // the lock, until the files have their names
		l.file = nil
	}
	for i := l.files - 1; i >= 1; i-- {
		_ = os.Rename(l.name(i-1), l.name(i))
	}
	if l.files == 1 {
		_ = os.Remove(l.path)
	}
	if l.open() != nil {
		l.size = 0
	} else if l.size >= l.limit {
		// Renaming is not possible here: keep the bound rather than the text.
		_ = l.file.Truncate(0)
		l.size = 0
	}
}

func (l *Log) name(i int) string {
	if i == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, i)
}

// Close closes the current file.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
