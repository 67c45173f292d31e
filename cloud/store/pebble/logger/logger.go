// Package logger is what pebble says, and what its last word means.
//
// When pebble can't go on, for instance because a sync failed, it expects its logger
// to end the process. This one panics: a commit recovers that with Caught and breaks
// the store; from pebble's own goroutines it ends the process, since what is on
// disk is no longer known.
package logger

import (
	"fmt"
	"log/slog"
)

// Logger implements pebble.Logger. Pebble's information is of interest to few, so
// it goes to debug.
type Logger struct{ Log *slog.Logger }

// Infof implements pebble.Logger.
func (l Logger) Infof(format string, args ...any) {
	l.Log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l Logger) Errorf(format string, args ...any) {
	l.Log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger.
func (l Logger) Fatalf(format string, args ...any) {
	l.Log.Error("pebble gave up", "message", fmt.Sprintf(format, args...))
	panic(fatal(fmt.Sprintf(format, args...)))
}

type fatal string

func (f fatal) Error() string { return "pebble: " + string(f) }

// Caught is deferred around a commit: it makes pebble's giving up an error.
func Caught(err *error) {
	switch r := recover().(type) {
	case nil:
	case fatal:
		*err = r
	default:
		panic(r)
	}
}
