package instance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BootID identifies the running boot of the node.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Process is what tells a process from every other of this boot.
type Process struct {
	Ticks   uint64 // start time since boot
	Zombie  bool   // it ended and its parent has not looked yet
	Exiting bool   // it is about to: the first of a container first waits for all others there to be gone
}

// pfExiting is PF_EXITING of the kernel's task flags.
const pfExiting = 0x4

// Inspect reads a process' identity; ok is false when there is none.
func Inspect(pid int) (p Process, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, false
	}
	// The name in parentheses may hold spaces and parentheses itself.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return p, false
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 20 {
		return p, false
	}
	p.Ticks, err = strconv.ParseUint(f[19], 10, 64)
	p.Zombie = f[0] == "Z" || f[0] == "X"
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	p.Exiting = flags&pfExiting != 0
	return p, err == nil
}

// Alive tells whether the workload's main process still runs.
func (r Record) Alive() bool {
	if r.PID <= 0 || r.Boot != BootID() {
		return false
	}
	p, ok := Inspect(r.PID)
	return ok && !p.Zombie && p.Ticks == r.Ticks
}

// lockTries bounds the wait for those who look, in milliseconds.
const lockTries = 200

// Acquire takes the instance's lock. The caller passes the file on to the shim,
// which holds the lock by merely keeping it open: the kernel gives it up when
// the last copy is closed, however the shim ends.
func (d Dir) Acquire() (*os.File, error) {
	f, err := os.OpenFile(d.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		// Whoever looks whether it is held holds it himself for that moment.
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) || tries == lockTries {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", d.Lock(), err)
	}
	return f, nil
}

// Sign leaves the shim's process number in the lock it holds.
func Sign(lock *os.File) error {
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Shim opens the living shim of the instance as a pidfd, which cannot come to
// mean another process. ok is false when the shim is dead.
func (d Dir) Shim() (pidfd, pid int, ok bool) {
	b, err := os.ReadFile(d.Lock())
	if err != nil {
		return 0, 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, 0, false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, 0, false
	}
	// Looked at only now: while the lock is held the number is the shim's.
	if !d.Held() {
		_ = unix.Close(fd)
		return 0, 0, false
	}
	return fd, pid, true
}

// Held tells whether the instance's shim lives. What can't be looked at for now
// isn't taken for dead; and to look takes no disk that can be written.
func (d Dir) Held() bool {
	f, err := os.Open(d.Lock())
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK)
}
