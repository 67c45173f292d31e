package schema

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// ofContainer adds the options that shape a container and are set.
func (r *Run) ofContainer(set map[Option]any) {
	if r.Network != "" {
		set[OptionNetwork] = r.Network
	}
	if r.DNS != nil {
		set[OptionDNS] = len(r.DNS.Servers)
	}
	if n := len(r.Devices); n > 0 {
		set[OptionDevices] = n
	}
	if r.Capabilities != nil {
		set[OptionCapabilities] = len(r.Capabilities.Add) + len(r.Capabilities.Drop)
	}
	if r.ReadOnly {
		set[OptionReadOnly] = true
	}
	if r.UserNamespace != "" {
		set[OptionUsers] = r.UserNamespace
	}
	if r.Init {
		set[OptionInit] = true
	}
	if n := len(r.Volumes); n > 0 {
		set[OptionVolumes] = n
	}
	if r.Timezone != "" {
		set[OptionTimezone] = r.Timezone
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
	c.need(r.UserNamespace == "" || r.UserNamespace == UserNamespaceHost || r.UserNamespace == UserNamespaceAuto,
		"run.userNamespace", "must be host or auto", r.UserNamespace)
	c.need(r.UserNamespace != UserNamespaceAuto || !r.Privileged, "run.userNamespace",
		"auto and run.privileged exclude each other: users that are nobody on the node can't have its capabilities and devices", r.UserNamespace)
	r.DNS.validate(c)
	r.validateDevices(c)
	r.Capabilities.validate(c)
	r.validateVolumes(c)
	c.need(r.Timezone == "" || timezone.MatchString(r.Timezone), "run.timezone", "must be the name of a time zone, such as Asia/Shanghai", r.Timezone)
	if l := r.Log; l != nil {
		if l.Size != 0 && (l.Size < MinLogSize || l.Size > MaxLogSize) {
			c.add("run.log.size", fmt.Sprintf("must be from %v to %v", MinLogSize, MaxLogSize), l.Size, MaxLogSize)
		}
		within(c, "run.log.files", l.Files, 0, MaxLogFiles)
	}
}

var timezone = lazily(`^[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}$`)

func (r *Run) validateDevices(c *check) {
	if len(r.Devices) > MaxDevices {
		c.add("run.devices", "too many devices", len(r.Devices), MaxDevices)
	}
	for i, d := range r.Devices {
		at := index("run.devices", i)
		c.need(strings.HasPrefix(d.Path, "/dev/") && path.Clean(d.Path) == d.Path, at+".path", "must be a path below /dev", d.Path)
		c.need(d.Access == "r" || d.Access == "w" || d.Access == "rw", at+".access", "must be r, w or rw", d.Access)
	}
}

func (k *Capabilities) validate(c *check) {
	if k == nil {
		return
	}
	for part, names := range map[string][]string{"run.capabilities.add": k.Add, "run.capabilities.drop": k.Drop} {
		for i, n := range names {
			c.need(n == AllCapabilities || slices.Contains(KnownCapabilities, n), index(part, i), "must be ALL or a capability without CAP_, such as NET_ADMIN", n)
		}
	}
}

func (r *Run) validateVolumes(c *check) {
	if len(r.Volumes) > MaxVolumes {
		c.add("run.volumes", "too many volumes", len(r.Volumes), MaxVolumes)
	}
	paths, names := map[string]bool{}, map[string]bool{}
	for i, v := range r.Volumes {
		at := index("run.volumes", i)
		c.need(path.IsAbs(v.Path) && path.Clean(v.Path) == v.Path && v.Path != "/", at+".path", "must be absolute, without . or .. parts", v.Path)
		for _, own := range []string{"/proc", "/sys", "/dev"} {
			c.need(v.Path != own && !strings.HasPrefix(v.Path, own+"/"), at+".path", "must not be in "+own, v.Path)
		}
		c.need(!paths[v.Path], at+".path", "is given twice", v.Path)
		paths[v.Path] = true
		switch v.Kind {
		case VolumeLasting:
			c.need(ValidName(v.Name), at+".name", "a lasting volume needs a name: "+NameRule, v.Name)
			c.need(!names[v.Name], at+".name", "is given twice", v.Name)
			names[v.Name] = true
			c.need(v.Size == 0, at+".size", "is only for a temporary volume", v.Size)
		case VolumeTemporary:
			c.need(v.Name == "" && !v.Keep, at+".name", "name and keep are only for a lasting volume", v.Name)
		default:
			c.add(at+".kind", "must be lasting or temporary", v.Kind, nil)
		}
	}
}

var domain = lazily(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_-]{1,63}){0,10}\.?$`)

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
