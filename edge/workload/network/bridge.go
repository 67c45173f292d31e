package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ensureBridge makes the bridge unless it is there, and returns it.
func (c Config) ensureBridge() (netlink.Link, error) {
	link, err := netlink.LinkByName(c.Name)
	if err == nil {
		if link.Type() != "bridge" {
			return nil, fmt.Errorf("%s is there already and is no bridge but a %s: choose another name", c.Name, link.Type())
		}
		if link.Attrs().Flags&net.FlagUp != 0 {
			return link, nil // it is set up last of all
		}
	} else if !absent(err) {
		return nil, fmt.Errorf("look for bridge %s: %w", c.Name, err)
	} else {
		if err := c.checkOverlap(); err != nil {
			return nil, err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = c.Name, uplinkMTU()
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", c.Name, err)
		}
		if link, err = netlink.LinkByName(c.Name); err != nil {
			return nil, err
		}
	}
	return link, c.setUpBridge(link)
}

func (c Config) setUpBridge(link netlink.Link) error {
	pools := []netip.Prefix{c.Pool}
	if c.Pool6.IsValid() && hasIPv6() {
		pools = append(pools, c.Pool6)
	}
	for _, p := range pools {
		if err := netlink.AddrReplace(link, address(gateway(p))); err != nil {
			return fmt.Errorf("give %s to bridge %s: %w", gateway(p), c.Name, err)
		}
	}
	// A port that the node itself opens on 127.0.0.1 is led to a container, too.
	if err := sysctl("net/ipv4/conf/"+c.Name+"/route_localnet", "1"); err != nil {
		return err
	}
	if err := forwardPackets(len(pools) > 1); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set bridge %s up: %w", c.Name, err)
	}
	return nil
}

func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // nobody else gives out addresses here, and waiting takes seconds
	}
	return a
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ErrOverlap: the pool is part of a network that the node has already.
var ErrOverlap = errors.New("the pool of container addresses overlaps a network of the node")

// checkOverlap keeps the bridge from taking traffic away that goes elsewhere.
func (c Config) checkOverlap() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if !ok || bits == 0 {
			continue
		}
		to := netip.PrefixFrom(a.Unmap(), bits)
		for _, p := range []netip.Prefix{c.Pool, c.Pool6} {
			if p.IsValid() && p.Overlaps(to) {
				return fmt.Errorf("%w: %s is in %s; choose another pool", ErrOverlap, p, to)
			}
		}
	}
	return nil
}

// uplinkMTU is that of the way out; larger packets would only be cut up there.
func uplinkMTU() int {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err == nil {
		for _, r := range routes {
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU >= 1280 {
				return min(l.Attrs().MTU, 1500)
			}
		}
	}
	return 1500
}

// forwardPackets makes the node a router. An IPv6 router would stop learning its
// own routes from others, so interfaces that do so are told to go on.
func forwardPackets(v6 bool) error {
	if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	const all = "net/ipv6/conf/all/forwarding"
	if !v6 || read(all) == "1" {
		return nil
	}
	learning, _ := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	for _, path := range learning {
		name := strings.TrimPrefix(path, "/proc/sys/")
		if read(name) == "1" {
			if err := sysctl(name, "2"); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return sysctl(all, "1")
}

func read(name string) string {
	b, err := os.ReadFile(filepath.Join("/proc/sys", name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func sysctl(name, value string) error {
	if read(name) == value {
		return nil
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", strings.ReplaceAll(name, "/", "."), err)
	}
	return nil
}

// removeBridge removes what the containers shared.
func (c Config) removeBridge() error {
	var errs []error
	if err := removeTable(c.table()); err != nil {
		errs = append(errs, err)
	}
	link, err := netlink.LinkByName(c.Name)
	switch {
	case absent(err):
	case err != nil:
		errs = append(errs, err)
	case link.Type() == "bridge":
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove bridge %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

func absent(err error) bool {
	var not netlink.LinkNotFoundError
	return errors.As(err, &not)
}
