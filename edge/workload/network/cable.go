package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inside is the name of the container's end of the cable.
const inside = "eth0"

// cable names the node's end. An interface has at most 15 characters.
func cable(instance string) string { return ("gn-" + instance)[:min(15, len(instance)+3)] }

// hardware is the link address of an IPv4 address. It is always the same, as the
// neighbours remember it for longer than an address is out of use.
func hardware(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x67, b[0], b[1], b[2], b[3]} // 02: given out locally, to one
}

// Connect lays a cable from the bridge into the network namespace of a process,
// which must be a fresh one, and sets addresses and routes there.
func Connect(c Config, l Lease, pid int) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	bridge, err := c.ensureBridge()
	if err != nil {
		return err
	}
	if err := c.ensureTable(); err != nil && !errors.Is(err, errNoNftables) {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = cable(l.Instance), bridge.Attrs().MTU, net.FlagUp
	attrs.MasterIndex = bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: inside, PeerNamespace: netlink.NsPid(pid), PeerMTU: uint32(attrs.MTU),
		PeerHardwareAddr: hardware(l.Address)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("lay cable %s to the container: %w", attrs.Name, err)
	}
	return c.furnish(l, pid)
}

// furnish sets up the container's end.
func (c Config) furnish(l Lease, pid int) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter network namespace of process %d: %w", pid, err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo of the container up: %w", err)
	}
	eth, err := h.LinkByName(inside)
	if err != nil {
		return err
	}
	own := []netip.Prefix{netip.PrefixFrom(l.Address, c.Pool.Bits())}
	ways := []netip.Addr{gateway(c.Pool).Addr()}
	if l.Address6.IsValid() {
		own = append(own, netip.PrefixFrom(l.Address6, c.Pool6.Bits()))
		ways = append(ways, gateway(c.Pool6).Addr())
	}
	for _, p := range own {
		if err := h.AddrAdd(eth, address(p)); err != nil {
			return fmt.Errorf("give %s to the container: %w", p, err)
		}
	}
	if err := h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("set %s of the container up: %w", inside, err)
	}
	for _, via := range ways {
		if err := h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: via.AsSlice()}); err != nil {
			return fmt.Errorf("set the container's route by %s: %w", via, err)
		}
	}
	return nil
}

// removeCable removes the node's end, and with it the other.
func removeCable(instance string) error {
	link, err := netlink.LinkByName(cable(instance))
	if absent(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !absent(err) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove cable %s: %w", cable(instance), err)
	}
	return nil
}
