package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gnomon/schema"
)

// errNoNftables: this kernel cannot translate addresses the way it is asked to.
var errNoNftables = errors.New("the kernel has no nftables with address translation")

func unsupported(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOENT, unix.ENOSYS, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// table is what all containers on the bridge share.
func (c Config) table() string { return "gnomon-" + c.Name }

func instanceTable(instance string) string { return "gnomon-" + instance }

// ensureTable makes the way out: what leaves the bridge does so under the node's
// own address. The call holds the lock of the bridge.
func (c Config) ensureTable() error {
	nft, err := nftables.New()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNftables, err)
	}
	tables, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNftables, err)
	}
	for _, t := range tables {
		if t.Name == c.table() {
			return nil // it is made as one
		}
	}
	t := nft.AddTable(&nftables.Table{Name: c.table(), Family: nftables.TableFamilyINet})
	guard := nft.AddChain(&nftables.Chain{Name: "guard", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw})
	out := nft.AddChain(&nftables.Chain{Name: "out", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		nft.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: all})
	}
	masquerade, drop := []expr.Any{&expr.Masq{}}, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	// Containers have no business with what the node keeps to itself, although
	// the bridge lets such addresses pass for answers' sake.
	rule(guard, comesFrom(c.Name), ipv(4), to(loopback), drop)
	// What the node's own 127.0.0.1 asks of a container must find back.
	rule(out, leavesBy(c.Name, true), ipv(4), from(loopback), masquerade)
	for _, p := range []netip.Prefix{c.Pool, c.Pool6} {
		if !p.IsValid() {
			continue
		}
		rule(out, leavesBy(c.Name, false), ipv(version(p)), from(p), masquerade)
		// Between containers by a published port: answers must come the same way.
		rule(out, leavesBy(c.Name, true), ipv(version(p)), from(p), to(p), redirected(), masquerade)
	}
	if err := nft.Flush(); err != nil {
		if unsupported(err) {
			return fmt.Errorf("%w: %w", errNoNftables, err)
		}
		return fmt.Errorf("make table %s: %w", c.table(), err)
	}
	return nil
}

// Publish leads ports of the node to the container. ok is false when the kernel
// can't, and a Forwarder is needed.
func Publish(c Config, l Lease, ports []schema.Port) (ok bool, err error) {
	if c.Userland {
		return false, nil
	}
	nft, err := nftables.New()
	if err != nil {
		return false, nil //nolint:nilerr // no nftables is an answer
	}
	t := nft.AddTable(&nftables.Table{Name: instanceTable(l.Instance), Family: nftables.TableFamilyINet})
	for name, hook := range map[string]*nftables.ChainHook{
		"arriving": nftables.ChainHookPrerouting, "own": nftables.ChainHookOutput,
	} {
		ch := nft.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeNAT,
			Hooknum: hook, Priority: nftables.ChainPriorityNATDest})
		for _, p := range ports {
			for _, a := range []netip.Addr{l.Address, l.Address6} {
				if a.IsValid() {
					nft.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: publish(p, a)})
				}
			}
		}
	}
	if err := nft.Flush(); err != nil {
		if unsupported(err) {
			return false, nil
		}
		return false, fmt.Errorf("publish ports: %w", err)
	}
	for _, p := range ports {
		forgetFlows(p)
	}
	return true, nil
}

// publish is the rule for one port and family.
func publish(p schema.Port, a netip.Addr) []expr.Any {
	v := version(netip.PrefixFrom(a, a.BitLen()))
	rule := append(ipv(v), addressedToNode()...)
	if v == 6 { // the kernel can't route away what goes to ::1
		rule = append(rule, toOther(netip.IPv6Loopback())...)
	}
	family := uint32(unix.NFPROTO_IPV4)
	if v == 6 {
		family = unix.NFPROTO_IPV6
	}
	return append(rule,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol(p)}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bigEndian(p.Host)},
		&expr.Immediate{Register: 1, Data: a.AsSlice()},
		&expr.Immediate{Register: 2, Data: bigEndian(p.Container)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: 1, RegProtoMin: 2},
	)
}

func protocol(p schema.Port) byte {
	if p.Protocol == "udp" {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

func bigEndian(port int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(port)) }

// unpublish removes an instance's rules and forgets the flows to it: a peer that
// keeps talking would else go on to an address that may be another's by then.
func unpublish(l Lease) error {
	if err := removeTable(instanceTable(l.Instance)); err != nil {
		return err
	}
	for _, a := range []netip.Addr{l.Address, l.Address6} {
		if !a.IsValid() {
			continue
		}
		f := &netlink.ConntrackFilter{}
		if f.AddIP(netlink.ConntrackReplySrcIP, a.AsSlice()) == nil {
			_, _ = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, familyOf(a), f)
		}
	}
	return nil
}

// forgetFlows makes peers that have asked a UDP port before anybody was there be
// led anew. There may be no conntrack yet, and then there is nothing to forget.
func forgetFlows(p schema.Port) {
	if p.Protocol != "udp" {
		return
	}
	for _, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		f := &netlink.ConntrackFilter{}
		if f.AddProtocol(unix.IPPROTO_UDP) == nil && f.AddPort(netlink.ConntrackOrigDstPort, uint16(p.Host)) == nil {
			_, _ = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, f)
		}
	}
}

func familyOf(a netip.Addr) netlink.InetFamily {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func removeTable(name string) error {
	nft, err := nftables.New()
	if err != nil {
		return nil //nolint:nilerr // without nftables there is no table
	}
	nft.DelTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	if err := nft.Flush(); err != nil && !unsupported(err) { // absent is ENOENT
		return fmt.Errorf("remove table %s: %w", name, err)
	}
	return nil
}

// The parts of rules.

func version(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}

func ipv(v int) []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if v == 6 {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
}

func comesFrom(link string) []expr.Any { return onLink(expr.MetaKeyIIFNAME, link, expr.CmpOpEq) }

func leavesBy(link string, yes bool) []expr.Any {
	op := expr.CmpOpEq
	if !yes {
		op = expr.CmpOpNeq
	}
	return onLink(expr.MetaKeyOIFNAME, link, op)
}

func onLink(key expr.MetaKey, link string, op expr.CmpOp) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

// Where a packet's header has its addresses.
func offsets(v int) (source, destination, size uint32) {
	if v == 4 {
		return 12, 16, 4
	}
	return 8, 24, 16
}

func from(p netip.Prefix) []expr.Any {
	source, _, size := offsets(version(p))
	return inPrefix(source, size, p)
}

func to(p netip.Prefix) []expr.Any {
	_, destination, size := offsets(version(p))
	return inPrefix(destination, size, p)
}

func inPrefix(offset, size uint32, p netip.Prefix) []expr.Any {
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func toOther(a netip.Addr) []expr.Any {
	_, destination, size := offsets(version(netip.PrefixFrom(a, 0)))
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: size},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: a.AsSlice()},
	}
}

// addressedToNode holds for any address of the node, whichever it gets.
func addressedToNode() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// redirected holds for flows that a rule has led elsewhere.
func redirected() []expr.Any {
	const dnat = 1 << 5 // IPS_DST_NAT
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(dnat), Xor: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}
