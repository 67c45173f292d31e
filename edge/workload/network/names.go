package network

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"gnomon/schema"
)

// NodeName is how a container calls its node.
const NodeName = "node.internal"

// Hosts is a container's /etc/hosts. Without a lease it has no address of its own.
func Hosts(c Config, l Lease, hostname string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, a := range []netip.Addr{l.Address, l.Address6} {
		if a.IsValid() {
			fmt.Fprintf(&b, "%s\t%s\n", a, hostname)
		}
	}
	if l.Address.IsValid() {
		fmt.Fprintf(&b, "%s\t%s\n", gateway(c.Pool).Addr(), NodeName)
	}
	return b.String()
}

// resolvers are where a node tells its name servers; the second those that a
// local cache of systemd asks in its turn.
var resolvers = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// Resolv is a container's /etc/resolv.conf: what its document says, and of the
// rest what the node's says. With a network of its own it can't reach a name
// server that listens on the node's loopback, so such ones are left out.
func Resolv(d *schema.DNS, own bool) string {
	text := ""
	for _, name := range resolvers {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		text = string(b)
		if !own || len(servers(text, true)) > 0 {
			break
		}
	}
	return resolv(text, d, own)
}

func resolv(node string, d *schema.DNS, own bool) string {
	if d == nil {
		d = &schema.DNS{}
	}
	var b strings.Builder
	list := d.Servers
	if len(list) == 0 {
		list = servers(node, own)
	}
	for _, s := range list {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(d.Search) > 0 {
		b.WriteString("search " + strings.Join(d.Search, " ") + "\n")
	}
	for line := range strings.SplitSeq(node, "\n") {
		key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == "options" || len(d.Search) == 0 && (key == "search" || key == "domain") {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return b.String()
}

// servers are the name servers of a resolv.conf.
func servers(text string, reachable bool) []string {
	var found []string
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err == nil && (!reachable || !a.IsLoopback()) {
			found = append(found, f[1])
		}
	}
	return found
}
