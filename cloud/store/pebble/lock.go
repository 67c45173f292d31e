package pebble

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// lockHeld tells whether another process holds the database's lock file.
func lockHeld(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	return syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock) == nil && lock.Type != syscall.F_UNLCK
}

// logger passes on what pebble finds worth saying. Its information is of
// interest to few, so it goes to debug.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	l.log.Error("pebble gave up", "message", fmt.Sprintf(format, args...))
	panic(fatal(fmt.Sprintf(format, args...)))
}

// fatal is pebble's verdict that it can't go on, for instance because a sync
// failed. From a commit it is recovered and breaks the store; from pebble's own
// goroutines it ends the process, since what is on disk is no longer known.
type fatal string

func (f fatal) Error() string { return "pebble: " + string(f) }
