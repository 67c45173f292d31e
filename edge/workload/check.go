package workload

import (
	"fmt"
	"path/filepath"
	"strings"

	"gnomon/schema"
)

// Check tells whether a Spec can be run at all, without looking at the node.
// The error is ErrInvalid or ErrUnsupported and names the option.
func Check(s Spec) error {
	if !schema.ValidName(s.Name) {
		return fmt.Errorf("%w: name %q must be %s", ErrInvalid, s.Name, schema.NameRule)
	}
	if len(s.Command) == 0 || s.Command[0] == "" {
		return fmt.Errorf("%w: run.command is empty and the component has no default", ErrInvalid)
	}
	if s.Root != "" && !filepath.IsAbs(s.Root) {
		return fmt.Errorf("%w: root %q is not absolute", ErrInvalid, s.Root)
	}
	if err := checkStrings(s); err != nil {
		return err
	}
	for _, f := range s.Files {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path || f.Path == "/" {
			return fmt.Errorf("%w: run.files path %q must be absolute and clean", ErrInvalid, f.Path)
		}
	}
	for _, p := range s.Ports {
		if s.Network != schema.NetworkBridge && p.Container != 0 && p.Host != p.Container {
			return fmt.Errorf("%w: run.ports %d:%d: in the node's own network both ports must be the same; set run.network to bridge",
				ErrUnsupported, p.Host, p.Container)
		}
	}
	return checkMode(s)
}

func checkMode(s Spec) error {
	switch s.Mode {
	case schema.ModeContainer:
		if s.Root == "" {
			return fmt.Errorf("%w: mode container needs a component", ErrInvalid)
		}
	case schema.ModeAttach:
		if s.Target == "" {
			return fmt.Errorf("%w: mode attach needs attachTo", ErrInvalid)
		}
	case schema.ModeHost:
	default:
		return fmt.Errorf("%w: mode %q", ErrInvalid, s.Mode)
	}
	if s.User == schema.UserOwn && s.Mode != schema.ModeHost {
		return fmt.Errorf("%w: run.user own is only for mode host", ErrUnsupported)
	}
	if s.Mode != schema.ModeAttach && s.Target != "" {
		return fmt.Errorf("%w: attachTo belongs to mode attach, not %s", ErrInvalid, s.Mode)
	}
	if s.Privileged && s.UserNamespace == schema.UserNamespaceAuto {
		return fmt.Errorf("%w: run.userNamespace auto and run.privileged exclude each other", ErrUnsupported)
	}
	return checkMatrix(s)
}

// ofContainer are the options that shape a container when it is made. A document
// may set them in mode attach, but they have to be merged into the target's Spec.
func checkMatrix(s Spec) error {
	ofContainer := []struct {
		option schema.Option
		set    bool
	}{
		{schema.OptionHostname, s.Hostname != ""},
		{schema.OptionPrivileged, s.Privileged},
		{schema.OptionSerial, len(s.Serial) > 0},
		{schema.OptionNetwork, s.Network != ""},
		{schema.OptionDNS, s.DNS != nil},
		{schema.OptionDevices, len(s.Devices) > 0},
		{schema.OptionCapabilities, s.Capabilities != nil},
		{schema.OptionReadOnly, s.ReadOnly},
		{schema.OptionUsers, s.UserNamespace != ""},
		{schema.OptionInit, s.Init},
		{schema.OptionVolumes, len(s.Volumes) > 0},
		{schema.OptionTimezone, s.Timezone != "" && s.Mode != schema.ModeHost},
		{schema.OptionPorts, len(s.Ports) > 0 && s.Mode == schema.ModeHost},
	}
	for _, o := range ofContainer {
		if !o.set {
			continue
		}
		if s.Mode == schema.ModeAttach && o.option != schema.OptionPorts {
			return fmt.Errorf("%w: run.%s of an attached application belongs to the container, set it on %s",
				ErrUnsupported, o.option, s.Target)
		}
		if sup := schema.SupportOf(o.option, s.Mode); !sup.Allowed() {
			return fmt.Errorf("%w: run.%s in mode %s is %s", ErrUnsupported, o.option, s.Mode, sup)
		}
	}
	return nil
}

// checkStrings refuses what no exec could pass on.
func checkStrings(s Spec) error {
	for _, a := range s.Command {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%w: run.command holds a NUL", ErrInvalid)
		}
	}
	for _, e := range s.Env {
		if k, _, ok := strings.Cut(e, "="); !ok || k == "" || strings.ContainsRune(e, 0) {
			return fmt.Errorf("%w: run.env %q is not NAME=value", ErrInvalid, e)
		}
	}
	return nil
}
