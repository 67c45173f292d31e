package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gnomon/edge/cmd/gnomon-shim/container"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// How a program is run beside a workload.
const (
	howTTY   = "tty"   // with a pseudo terminal of its own, which this process connects to the one that it has itself
	howPipe  = "pipe"  // with this process' input and output; Ctrl-C is for the program
	howApart = "apart" // in a session of its own, on a leash; see there
)

// running is a program that was started beside a workload.
type running struct {
	pid  int
	wait func() (*os.ProcessState, error) // the error may be no more than that it failed
	tidy func()                           // once it has ended
}

// enter runs a program beside the workload of an instance and returns its exit
// status.
func enter(dir instance.Dir, args []string, how string) (int, error) {
	if how != howTTY && how != howPipe && how != howApart {
		return 0, fmt.Errorf("how %q: must be tty, pipe or apart", how)
	}
	var l *leash
	ctx := context.Background()
	if how == howApart { // before anything can be started
		var err error
		if l, err = newLeash(); err != nil {
			return 0, err
		}
		defer l.release()
		ctx = l.ctx
	}
	req, err := dir.ReadRequest()
	if err != nil {
		return 0, err
	}
	rec, err := dir.ReadRecord()
	if err != nil {
		return 0, err
	}
	if !dir.Held() || !rec.Alive() {
		return 0, launch.ErrOver
	}
	j := launch.Job{Dir: dir, Request: req, Output: os.Stdout}
	var p running
	if req.Spec.Mode == schema.ModeHost {
		p, err = enterHost(ctx, j, launch.Entry{Args: args, Apart: how == howApart}, how == howTTY)
	} else {
		p, err = enterContainer(ctx, j, container.Entry{Args: args, PID: rec.PID}, how == howTTY)
	}
	if err != nil {
		return 0, err
	}
	defer p.tidy()
	defer ignoreInterrupts()()
	var st *os.ProcessState
	if l != nil {
		st, err = l.wait(p, req.Cgroup)
	} else {
		st, err = p.wait()
	}
	if st == nil {
		return 0, err
	}
	return exitCode(st), nil
}

func enterHost(ctx context.Context, j launch.Job, e launch.Entry, tty bool) (running, error) {
	tidy := func() {}
	if tty {
		master, slave, err := openTerminal()
		if err != nil {
			return running{}, err
		}
		e.TTY = slave
		defer slave.Close()
		if tidy, err = connect(master); err != nil {
			return running{}, err
		}
	}
	child, err := launch.Enter(ctx, j, e)
	if err != nil {
		if tty { // what is shown ends with the last who has it open
			e.TTY.Close()
		}
		tidy()
		return running{}, err
	}
	return running{pid: child.Pid, wait: child.Wait, tidy: tidy}, nil
}

func enterContainer(ctx context.Context, j launch.Job, e container.Entry, tty bool) (running, error) {
	tidy := func() {}
	if tty {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return running{}, err
		}
		e.Console = os.NewFile(uintptr(fds[1]), "console")
		stopped := make(chan func(), 1)
		go func() {
			stop := func() {}
			if master, err := receive(fds[0]); err == nil {
				if s, err := connect(master); err == nil {
					stop = s
				}
			}
			stopped <- stop
		}()
		tidy = func() {
			e.Console.Close() // so that it is known that no terminal comes, if none has
			(<-stopped)()
		}
	}
	p, err := container.Enter(ctx, j, e)
	if err != nil {
		tidy()
		return running{}, err
	}
	child, err := p.Pid()
	if err != nil {
		tidy()
		return running{}, err
	}
	return running{pid: child, wait: p.Wait, tidy: tidy}, nil
}

func exitCode(st *os.ProcessState) int {
	if s, ok := st.Sys().(interface {
		Signaled() bool
		Signal() unix.Signal
	}); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return st.ExitCode()
}

// ignoreInterrupts leaves Ctrl-C to the program that was started.
func ignoreInterrupts() (restore func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, unix.SIGINT, unix.SIGQUIT)
	return func() { signal.Stop(c) }
}

// openTerminal makes a pseudo terminal.
func openTerminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

// receive takes a file descriptor out of a socket, and closes that.
func receive(socket int) (*os.File, error) {
	defer func() { _ = unix.Close(socket) }()
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	all, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("no terminal came: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil || len(fds) == 0 {
		return nil, fmt.Errorf("no terminal came: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// connect joins a pseudo terminal with the one that this process has, until stop
// is called; then what is left of the output is written, and the terminal is as
// it was.
func connect(master *os.File) (stop func(), err error) {
	in := int(os.Stdin.Fd())
	before, err := term.MakeRaw(in)
	if err != nil {
		return nil, fmt.Errorf("standard input is no terminal: %w", err)
	}
	resize := func() {
		if size, err := unix.IoctlGetWinsize(in, unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size)
		}
	}
	resize()
	sized := make(chan os.Signal, 1)
	signal.Notify(sized, unix.SIGWINCH)
	go func() {
		for range sized {
			resize()
		}
	}()
	go func() { _, _ = io.Copy(master, os.Stdin) }() // ends with this process
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(os.Stdout, master) // an error is how the end of a terminal shows
	}()
	return func() {
		<-drained
		signal.Stop(sized)
		_ = term.Restore(in, before)
	}, nil
}
