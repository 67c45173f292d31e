package main

import (
	"fmt"
	"net/netip"
)

// prefix is a flag that takes a pool of addresses.
type prefix struct{ to *netip.Prefix }

func (p *prefix) Type() string { return "prefix" }

func (p *prefix) String() string {
	if p.to == nil || !p.to.IsValid() {
		return ""
	}
	return p.to.String()
}

func (p *prefix) Set(s string) error {
	if s == "" {
		*p.to = netip.Prefix{}
		return nil
	}
	v, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("must be a prefix such as 10.213.0.0/24: %w", err)
	}
	*p.to = v
	return nil
}

// forwarding is a flag that says how ports reach containers.
type forwarding struct{ userland *bool }

func (f *forwarding) Type() string { return "auto|userland" }

func (f *forwarding) String() string {
	if f.userland != nil && *f.userland {
		return "userland"
	}
	return "auto"
}

func (f *forwarding) Set(s string) error {
	switch s {
	case "auto", "userland":
		*f.userland = s == "userland"
		return nil
	}
	return fmt.Errorf("must be auto or userland")
}
