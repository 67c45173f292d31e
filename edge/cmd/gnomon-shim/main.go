package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	_ "gnomon/edge/cmd/gnomon-shim/container" // takes over when started as "init"
	"gnomon/edge/failpoint"
	"gnomon/edge/workload/instance"
)

// File descriptors handed from stage to stage.
const (
	fdLock  = 3
	fdReady = 4
	fdLog   = 5

	fdLife = 3 // of exec
)

// The main thread never ends, and /proc/self is what it sees: goroutines that
// enter other namespaces with their thread must not get hold of it.
func init() { runtime.LockOSThread() }

// startHeap bounds the heap of a shim while it sets its workload up.
const startHeap = 32 << 20

func main() {
	// A shim lives for months and allocates next to nothing; until its workload runs
	// nobody shall wait for a collection.
	debug.SetGCPercent(20)
	if len(os.Args) > 1 && os.Args[1] == "run" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(startHeap)
	}
	err := failpoint.Arm(os.Getenv(failpoint.Env))
	switch {
	case err != nil:
	case len(os.Args) == 3 && os.Args[1] == "run":
		err = run(instance.Dir(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "hold":
		err = hold(instance.Dir(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "release":
		err = release(instance.Dir(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "reload":
		err = reload(instance.Dir(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "sweep":
		err = sweep(os.Args[2])
	case len(os.Args) > 4 && os.Args[1] == "exec":
		code, err := enter(instance.Dir(os.Args[2]), os.Args[4:], os.Args[3])
		if err != nil {
			fmt.Fprintln(os.Stderr, "gnomon-shim:", err)
			os.Exit(exitNotEntered)
		}
		os.Exit(code)
	case len(os.Args) == 2 && os.Args[1] == "version":
		fmt.Println(instance.Protocol)
	default:
		err = errors.New("usage: gnomon-shim run|hold|reload|release DIR | sweep BRIDGE | version; it is started by gnomon-edge")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gnomon-shim:", err)
		os.Exit(1)
	}
}

// exitNotEntered is the exit status of exec when the program could not be started.
const exitNotEntered = 126

// errNoLock: the shim was not started by an agent.
var errNoLock = errors.New("file descriptor 3 is not the instance's lock")

// inherit takes a descriptor handed over and keeps it from the workload.
func inherit(fd int, name string) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// adoptLock takes the lock over and signs it.
func adoptLock(dir instance.Dir) error {
	var err error
	if lock, err = inherit(fdLock, dir.Lock()); err != nil || !dir.Held() {
		return errNoLock
	}
	return instance.Sign(lock)
}

// lock is held until the process ends; were it not global, it would be closed
// as soon as nobody used it.
var lock *os.File
