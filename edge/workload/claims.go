package workload

import (
	"fmt"
	"slices"

	"gnomon/schema"
)

// ClaimData is the claim on $GNOMON_DATA, which every application has, and an
// instance lays once there is anything.
const ClaimData = "its data"

// Claims lists what an instance needs for itself, by names for people, so that
// another one with any of the same can't run beside it. Where it is shared, that
// are only the things of which there is one for one.
func Claims(s Spec, shared bool) (all []string) {
	for _, p := range s.Ports {
		if s.Network == schema.NetworkBridge || !shared {
			all = append(all, fmt.Sprintf("run.ports %s %d", p.Protocol, p.Host))
		}
	}
	for _, path := range s.Serial {
		all = append(all, "run.serial "+path)
	}
	if s.Mode == schema.ModeAttach { // they are mounted where the others in the container see them
		for _, f := range s.Files {
			all = append(all, "run.files "+f.Path)
		}
	}
	if shared {
		return all
	}
	for _, d := range s.Devices {
		all = append(all, "run.devices "+d.Path)
	}
	for _, v := range s.Volumes {
		if v.Kind == schema.VolumeLasting {
			all = append(all, "run.volumes "+v.Name)
		}
	}
	return append(all, ClaimData)
}

// Clash lists the claims that are in both.
func Clash(a, b []string) (all []string) {
	for _, c := range a {
		if slices.Contains(b, c) && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}
