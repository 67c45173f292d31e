package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
)

// Lease is an address in use.
type Lease struct {
	Instance string     `json:"instance"` // unique; names what belongs to it
	Owner    string     `json:"owner"`    // what Alive is asked for, such as the instance's directory
	Address  netip.Addr `json:"address"`
	Address6 netip.Addr `json:"address6,omitzero"`
}

// Alive tells whether the owner of a lease may still use it. It has to say yes
// unless it is sure.
type Alive func(owner string) bool

// Take leases addresses for an instance of an application. On the way it releases
// what the dead have left.
func Take(c Config, name, instance, owner string, alive Alive) (Lease, error) {
	unlock, err := c.lock()
	if err != nil {
		return Lease{}, err
	}
	defer unlock()
	leases, err := c.leases()
	if err != nil {
		return Lease{}, err
	}
	taken := map[int]bool{}
	for n, l := range leases {
		if alive(l.Owner) {
			taken[n] = true
			continue
		}
		if err := c.drop(n, l); err != nil {
			return Lease{}, fmt.Errorf("release the network of %s, which is dead: %w", l.Owner, err)
		}
	}
	n, err := c.choose(name, taken)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{Instance: instance, Owner: owner, Address: nth(c.Pool, n)}
	if c.Pool6.IsValid() && hasIPv6() {
		l.Address6 = nth(c.Pool6, n)
	}
	return l, c.write(n, l)
}

// Release takes back all that an instance has of the network, and the bridge
// after the last one. What is not there is not missed.
func Release(c Config, instance string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	leases, err := c.leases()
	if err != nil {
		return err
	}
	err = c.clear(Lease{Instance: instance})
	for n, l := range leases {
		if l.Instance == instance {
			err = errors.Join(err, c.drop(n, l))
			delete(leases, n)
		}
	}
	if err == nil && len(leases) == 0 {
		err = c.removeBridge()
	}
	return err
}

// drop clears a lease away; it is forgotten last.
func (c Config) drop(n int, l Lease) error {
	if err := c.clear(l); err != nil {
		return err
	}
	if err := os.Remove(c.file(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// clear removes what carries the instance's name.
func (c Config) clear(l Lease) error {
	return errors.Join(removeCable(l.Instance), unpublish(l))
}

// lock serialises everybody who changes the network of this bridge.
func (c Config) lock() (unlock func(), err error) {
	if err := workload.Bridge(c).Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.stateDir(), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.stateDir(), "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

func (c Config) stateDir() string { return workload.Bridge(c).StateDir() }

func (c Config) file(n int) string { return filepath.Join(c.stateDir(), strconv.Itoa(n)+".json") }

// leases reads all leases by number. One that can't be read was cut off while it
// was written: nothing had been made of it yet.
func (c Config) leases() (map[int]Lease, error) {
	entries, err := os.ReadDir(c.stateDir())
	if err != nil {
		return nil, err
	}
	all := map[int]Lease{}
	for _, e := range entries {
		number, isLease := strings.CutSuffix(e.Name(), ".json")
		n, err := strconv.Atoi(number)
		if !isLease || err != nil {
			continue
		}
		var l Lease
		b, err := os.ReadFile(c.file(n))
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(b, &l) == nil && l.Instance != "" {
			all[n] = l
		}
	}
	return all, nil
}

// write needs no sync: leases live in memory, below /run.
func (c Config) write(n int, l Lease) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	tmp := c.file(n) + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.file(n))
}

// hasIPv6 tells whether the node speaks IPv6 at all.
func hasIPv6() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}
