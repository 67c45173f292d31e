package container

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	devices "github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// capabilitiesOf returns the names of what the processes of a container may have.
func capabilitiesOf(s workload.Spec) []string {
	usual := schema.UsualCapabilities
	if s.Privileged {
		usual = schema.KnownCapabilities
	}
	var set []string
	wanted := s.Capabilities.Of(usual)
	for _, c := range capability.ListKnown() {
		name := strings.ToUpper(c.String())
		// What the shim may not hold itself it cannot give.
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err == nil && held == 1 && slices.Contains(wanted, name) {
			set = append(set, "CAP_"+name)
		}
	}
	return set
}

// deviceNodes returns the devices made in the container, and the rules of what
// it may open: those every program needs and the serial ports asked for. A
// privileged container gets all of the node's.
func deviceNodes(s workload.Spec, u launch.User) ([]*devices.Device, []*devices.Rule, error) {
	if s.Privileged {
		all, err := nodeDevices()
		if err != nil {
			return nil, nil, fmt.Errorf("list the node's devices: %w", err)
		}
		every := &devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard,
			Permissions: "rwm", Allow: true}
		return all, []*devices.Rule{every}, nil
	}
	var made []*devices.Device
	rules := []*devices.Rule{
		{Type: devices.CharDevice, Major: 136, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}, // pts
		{Type: devices.CharDevice, Major: 5, Minor: 2, Permissions: "rwm", Allow: true},                  // ptmx
	}
	for _, d := range []struct {
		path         string
		major, minor int64
	}{
		{"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7}, {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
	} {
		made = append(made, &devices.Device{Path: d.path, FileMode: 0o666, Rule: devices.Rule{
			Type: devices.CharDevice, Major: d.major, Minor: d.minor, Permissions: "rwm", Allow: true}})
	}
	for _, path := range s.Serial {
		d, err := serial(path, u)
		if err != nil {
			return nil, nil, err
		}
		made = append(made, d)
	}
	for _, a := range s.Devices {
		d, err := allowed(a, u)
		if err != nil {
			return nil, nil, err
		}
		made = append(made, d)
	}
	for _, d := range made {
		rules = append(rules, &d.Rule)
	}
	return made, rules, nil
}

// allowed maps a device of the allow-list. To make its node takes "m" as well,
// which opens nothing.
func allowed(a schema.Device, u launch.User) (*devices.Device, error) {
	real, err := filepath.EvalSymlinks(a.Path)
	if err != nil {
		return nil, fmt.Errorf("run.devices: %w", err)
	}
	d, err := device(real)
	if err != nil {
		return nil, fmt.Errorf("run.devices %s: %w", a.Path, err)
	}
	d.Path, d.Uid, d.Gid, d.Allow = a.Path, uint32(u.UID), uint32(u.GID), true
	d.Permissions = devices.Permissions(a.Access + "m")
	if a.Access == "r" {
		d.FileMode = 0o400
	}
	return d, nil
}

// serial maps a serial port under the very name asked for, such as a link in
// /dev/serial/by-id that stays the same when ports are plugged in another order.
// A port that is not there may be plugged in later: the error is not final.
func serial(path string, u launch.User) (*devices.Device, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("run.serial: %w", err)
	}
	d, err := device(real)
	if err != nil {
		return nil, fmt.Errorf("run.serial %s: %w", path, err)
	}
	if d.Type != devices.CharDevice {
		return nil, fmt.Errorf("%w: run.serial %s is no character device", workload.ErrInvalid, path)
	}
	d.Path, d.Uid, d.Gid, d.Allow = path, uint32(u.UID), uint32(u.GID), true
	return d, nil
}

// device describes a device of the node.
func device(path string) (*devices.Device, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	d := &devices.Device{Path: path, FileMode: os.FileMode(st.Mode & 0o777), Uid: st.Uid, Gid: st.Gid}
	d.Major, d.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)) //nolint:unconvert // width differs by architecture
	d.Permissions = "rwm"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		d.Type = devices.CharDevice
	case unix.S_IFBLK:
		d.Type = devices.BlockDevice
	default:
		return nil, fmt.Errorf("%w: %s is no device", workload.ErrInvalid, path)
	}
	return d, nil
}

// nodeDevices lists the node's devices without those a container has its own of.
func nodeDevices() ([]*devices.Device, error) {
	var all []*devices.Device
	err := filepath.WalkDir("/dev", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // a device may vanish while it is listed
		case e.IsDir() && (path == "/dev/pts" || path == "/dev/shm" || path == "/dev/mqueue" || path == "/dev/fd"):
			return fs.SkipDir
		case e.Type()&fs.ModeDevice == 0 || path == "/dev/console" || path == "/dev/ptmx":
			return nil
		}
		if d, err := device(path); err == nil {
			all = append(all, d)
		}
		return nil
	})
	return all, err
}
