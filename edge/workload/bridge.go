package workload

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
)

// Bridge is where containers with a network of their own are plugged in.
type Bridge struct {
	Name  string       `json:"name"`           // of the interface; containers on one bridge reach each other
	Pool  netip.Prefix `json:"pool"`           // IPv4 addresses of containers; the bridge has the first
	Pool6 netip.Prefix `json:"pool6,omitzero"` // the same for IPv6; zero = none
	// Userland forwards published ports by sockets of the shim, as is done anyway
	// where the kernel has no nftables.
	Userland bool   `json:"userland,omitempty"`
	State    string `json:"state,omitempty"` // directory of leases; default /run/gnomon/NAME
}

// DefaultBridge is that of a node that says nothing of it.
func DefaultBridge() Bridge {
	return Bridge{
		Name:  "gnomon0",
		Pool:  netip.MustParsePrefix("10.213.0.0/24"),
		Pool6: netip.MustParsePrefix("fd67:6e6f:6d6f::/64"),
	}
}

var bridgeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,13}$`)

// Check refuses what could not work.
func (b Bridge) Check() error {
	if !bridgeName.MatchString(b.Name) {
		return fmt.Errorf("bridge %q: must be 1 to 14 of a-z, 0-9 and -, a letter first", b.Name)
	}
	if !b.Pool.Addr().Is4() || b.Pool.Bits() < 8 || b.Pool.Bits() > 29 {
		return fmt.Errorf("pool %s: must be an IPv4 prefix of /8 to /29", b.Pool)
	}
	if b.Pool6.IsValid() && (!b.Pool6.Addr().Is6() || b.Pool6.Addr().Is4In6() || b.Pool6.Bits() < 32 || b.Pool6.Bits() > 112) {
		return fmt.Errorf("pool %s: must be an IPv6 prefix of /32 to /112", b.Pool6)
	}
	if b.State != "" && !filepath.IsAbs(b.State) {
		return fmt.Errorf("state directory %q is not absolute", b.State)
	}
	return nil
}

// StateDir is the directory of leases.
func (b Bridge) StateDir() string {
	if b.State != "" {
		return b.State
	}
	return filepath.Join("/run/gnomon", b.Name)
}
