package schema

import (
	"net/netip"
	"regexp"
)

// ofContainer adds the options that shape a container and are set.
func (r *Run) ofContainer(set map[Option]any) {
	if r.Network != "" {
		set[OptionNetwork] = r.Network
	}
	if r.DNS != nil {
		set[OptionDNS] = len(r.DNS.Servers)
	}
}

// validateNetwork checks what follows from whose network an application has. An
// attached one has its container's, which its document doesn't know.
func (a *Application) validateNetwork(c *check) {
	if a.Mode != ModeContainer || a.Run.Network == NetworkBridge {
		return
	}
	for i, p := range a.Run.Ports {
		if p.Host != p.Container {
			c.add(index("run.ports", i)+".container", "in the node's own network must be the same as host; set run.network to bridge", p.Container, p.Host)
		}
	}
}

// validateContainer checks what shapes a container.
func (r *Run) validateContainer(c *check) {
	c.need(r.Network == "" || r.Network == NetworkHost || r.Network == NetworkBridge,
		"run.network", "must be host or bridge", r.Network)
	r.DNS.validate(c)
}

var domain = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_-]{1,63}){0,10}\.?$`)

func (d *DNS) validate(c *check) {
	if d == nil {
		return
	}
	if len(d.Servers) > MaxDNSServers {
		c.add("run.dns.servers", "too many servers", len(d.Servers), MaxDNSServers)
	}
	for i, s := range d.Servers {
		_, err := netip.ParseAddr(s)
		c.need(err == nil, index("run.dns.servers", i), "must be an IPv4 or IPv6 address", s)
	}
	if len(d.Search) > MaxDNSSearch {
		c.add("run.dns.search", "too many domains", len(d.Search), MaxDNSSearch)
	}
	for i, s := range d.Search {
		c.need(domain.MatchString(s), index("run.dns.search", i), "must be a domain", s)
	}
}
