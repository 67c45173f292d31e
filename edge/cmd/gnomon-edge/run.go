package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gnomon/cli/settings"
	"gnomon/edge/bus"
	"gnomon/edge/collect/credentials"
	"gnomon/edge/failpoint"
	"gnomon/edge/override"
	"gnomon/edge/readings"
	"gnomon/edge/upgrade/slot"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/schema"
	"gnomon/shadow/wire"
)

// config is the agent's configuration: flags, then environment, then file.
type config struct {
	Dev         bool
	Cloud       string
	Node        string
	Data        string
	Components  string
	Shim        string
	Cgroup      string
	unit        string // cgroup that systemd has handed over, if Cgroup is below it
	Bridge      workload.Bridge
	SubIDs      workload.Range
	Launch      *slot.Launch // nil: it wasn't started by a launcher
	Bus         string       // "": none
	Credentials string       // directory of what policies name as credentials; "": none
	LogFormat   string
	LogLevel    string

	ReadingsBytes int // bound of the readings that are kept
	ReadingsRate  int // bytes a second that readings may take of the link; 0: all

	OverrideLimit time.Duration // the longest lease of a change made on the node; 0: none is taken
}

func runCommand() *cobra.Command {
	cfg := config{Bridge: workload.DefaultBridge(), SubIDs: workload.DefaultSubIDs(), Data: "/var/lib/gnomon", Shim: besides("gnomon-shim"), LogFormat: "text", LogLevel: "info", OverrideLimit: override.DefaultLimit, ReadingsBytes: readings.DefaultBytes, Credentials: credentials.DefaultDir}
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the agent until it is stopped; what it runs goes on without it",
		Long: `Run the agent: keep the node's shadows in step with the cloud, run its
applications and collection policies, and report how they are. Without a cloud
it lives from its own disk.

Every flag can also be given in the environment (--log-level is GNOMON_LOG_LEVEL)
or in the file of --config (log-level: debug).`,
		Example: "  gnomon-edge run --dev --cloud mqtt://127.0.0.1:1883 --node gw-17 --data /var/lib/gnomon",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := settings.Fill(c.Flags(), file)
			if err == nil {
				err = cfg.launched(c.Flags())
			}
			if err == nil {
				err = cfg.complete()
			}
			if err == nil {
				err = failpoint.Arm(os.Getenv(failpoint.Env))
			}
			if err != nil {
				return usageError{err}
			}
			log, err := settings.Logger(c.ErrOrStderr(), cfg.LogFormat, cfg.LogLevel)
			if err != nil {
				return usageError{err}
			}
			a, err := newAgent(cfg, log)
			if err != nil {
				return err
			}
			return a.run(c.Context())
		},
	}
	f := c.Flags()
	f.BoolVar(&cfg.Dev, "dev", cfg.Dev, "development mode: no login, no encryption")
	f.StringVar(&cfg.Cloud, "cloud", cfg.Cloud, "address of the cloud's MQTT broker, as mqtt://host:port")
	f.StringVar(&cfg.Node, "node", cfg.Node, "name of this node")
	f.StringVar(&cfg.Data, "data", cfg.Data, "directory of everything the agent keeps")
	f.StringVar(&cfg.Components, "components", cfg.Components, "directory that components named name@version are taken from (default DATA/inbox)")
	f.StringVar(&cfg.Shim, "shim", cfg.Shim, "the gnomon-shim program")
	f.StringVar(&cfg.Cgroup, "cgroup", cfg.Cgroup, "cgroup that workloads live below (default /gnomon/NODE, with cgroup v2 and Delegate=yes below the unit's own)")
	f.DurationVar(&cfg.OverrideLimit, "override-limit", cfg.OverrideLimit, "longest lease of a change made on the node itself; 0 takes none")
	f.StringVar(&cfg.Bridge.Name, "bridge", cfg.Bridge.Name, "network bridge of containers with run.network bridge; made when needed")
	f.Var(&prefix{&cfg.Bridge.Pool}, "pool", "IPv4 addresses of such containers")
	f.Var(&prefix{&cfg.Bridge.Pool6}, "pool6", "IPv6 addresses of such containers; empty = none")
	f.Var(&forwarding{&cfg.Bridge.Userland}, "port-forwarding", "how ports reach such containers: auto (by nftables where the kernel has it) or userland")
	f.Var(&subids{&cfg.SubIDs}, "subids", "users and groups of the node, as START:COUNT, that containers with run.userNamespace auto have theirs from, 65536 each")
	f.StringVar(&cfg.Bus, "bus", cfg.Bus, "address of loopback on which devices and applications of the node find MQTT and their shadows, as 127.0.0.1:1883; also at the bridge of containers (default none)")
	f.StringVar(&cfg.Credentials, "credentials", cfg.Credentials, "directory of the files that collection policies name as credentials of SNMP agents and MQTT brokers")
	f.IntVar(&cfg.ReadingsBytes, "readings-bytes", cfg.ReadingsBytes, "bytes of readings kept on disk; over that the oldest go, first of those that the cloud has")
	f.IntVar(&cfg.ReadingsRate, "readings-rate", cfg.ReadingsRate, "bytes a second of the link that readings may take, on average, unless node.readings.bytesPerSecond says otherwise; 0 = as many as there are")
	f.StringVar(&cfg.LogFormat, "log-format", cfg.LogFormat, "text or json")
	f.StringVar(&cfg.LogLevel, "log-level", cfg.LogLevel, "debug, info, warn or error")
	f.StringVar(&file, "config", "", "YAML file with the same names")
	return c
}

// lastWords is the file that tells the launcher why the agent ended; "" without one.
var lastWords string

// launched takes in what the launcher says, if there is one. Its directory is the
// agent's.
func (c *config) launched(flags *pflag.FlagSet) error {
	var err error
	if c.Launch, err = slot.Launched(); err != nil || c.Launch == nil {
		return err
	}
	if flags.Changed("data") && filepath.Clean(c.Data) != filepath.Clean(c.Launch.Data) {
		return fmt.Errorf("--data %s: the launcher's is %s; leave it out here", c.Data, c.Launch.Data)
	}
	c.Data = c.Launch.Data
	f, err := os.Create(slot.At(c.Data).CrashFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has been upgraded yet, and nothing is to be told apart
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lastWords = f.Name()
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}

// besides names a program in this one's directory.
func besides(program string) string {
	self, err := os.Executable()
	if err != nil {
		return program
	}
	return filepath.Join(filepath.Dir(self), program)
}

// complete checks the configuration and fills what follows from the rest of it.
func (c *config) complete() error {
	if !c.Dev {
		return errors.New("this version has no encryption: it runs with --dev, and not otherwise")
	}
	if !wire.ValidThing(c.Node) {
		return fmt.Errorf("--node %q: must be 1 to 128 of a-z, A-Z, 0-9, :, _ and -", c.Node)
	}
	if _, err := c.broker(); err != nil {
		return err
	}
	var err error
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if c.Components == "" {
		c.Components = filepath.Join(c.Data, "inbox")
	}
	if c.Components, err = filepath.Abs(c.Components); err != nil {
		return fmt.Errorf("--components: %w", err)
	}
	if err := c.Bridge.Check(); err != nil {
		return fmt.Errorf("--bridge, --pool, --pool6: %w", err)
	}
	if c.Cgroup == "" {
		c.Cgroup = "/gnomon/" + c.Node
		if unit, ok := cgroup.Delegated(); ok {
			c.unit, c.Cgroup = unit, unit+"/gnomon/"+c.Node
		}
	}
	if c.OverrideLimit < 0 {
		return fmt.Errorf("--override-limit %s: must not be negative", c.OverrideLimit)
	}
	if c.ReadingsBytes < leastReadings {
		return fmt.Errorf("--readings-bytes %d: must be %d or more", c.ReadingsBytes, leastReadings)
	}
	if c.ReadingsRate != 0 && (c.ReadingsRate < schema.MinReadingsRate || c.ReadingsRate > schema.MaxReadingsRate) {
		return fmt.Errorf("--readings-rate %d: must be 0, or %d to %d", c.ReadingsRate, schema.MinReadingsRate, schema.MaxReadingsRate)
	}
	if c.Bus != "" {
		if err := bus.Loopback(c.Bus); err != nil {
			return fmt.Errorf("--bus: %w", err)
		}
	}
	if _, err := os.Stat(c.Shim); err != nil {
		return fmt.Errorf("--shim: %w", err)
	}
	return nil
}

// broker returns the host and port of --cloud.
func (c *config) broker() (string, error) {
	u, err := url.Parse(c.Cloud)
	if err != nil || u.Scheme != "mqtt" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("--cloud %q: must be mqtt://host:port", c.Cloud)
	}
	port := u.Port()
	if port == "" {
		port = "1883"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
