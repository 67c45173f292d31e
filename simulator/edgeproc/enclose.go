package edgeproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside marks a process that is enclosed.
const inside = "GNOMON_ENCLOSED"

// Enclosed returns a command that runs this very program with other arguments in
// network and mount namespaces of its own, so that what is found there is what
// the run within left. The run within calls Inside first.
func Enclosed(args ...string) (*exec.Cmd, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("containers, cgroups and namespaces need root: run it as root")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	return cmd, nil
}

// Inside tells whether this process is enclosed, and makes its namespaces ready.
func Inside() (bool, error) {
	if os.Getenv(inside) == "" {
		return false, nil
	}
	return true, furnish()
}

// Enclose runs this program again, enclosed, with the same arguments. Within it
// returns false; outside true, with the exit status of the run within.
func Enclose() (done bool, status int, err error) {
	if within, err := Inside(); within || err != nil {
		return false, 0, err
	}
	cmd, err := Enclosed(os.Args[1:]...)
	if err != nil {
		return true, 1, err
	}
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	// The one within gets the same signals from a terminal, and clears up.
	signal.Ignore(os.Interrupt)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return true, max(1, exit.ExitCode()), nil
	}
	return true, 0, err
}

// runtimeDir is where nodes keep what belongs to their network: as the network
// within is another, so is this.
const runtimeDir = "/run/gnomon"

// furnish makes the namespaces as a node has them: mounts propagate within, and
// none gets out; loopback works; no network has been leased to anybody.
func furnish() error {
	for _, flag := range []uintptr{unix.MS_SLAVE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", flag|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("set mounts apart: %w", err)
		}
	}
	if err := os.MkdirAll(runtimeDir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("gnomon", runtimeDir, "tmpfs", 0, "mode=0700,size=16m"); err != nil {
		return fmt.Errorf("mount %s: %w", runtimeDir, err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}
