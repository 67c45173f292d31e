package experiment

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// Config of an experiment. HTTP, MQTT and Nodes are needed.
type Config struct {
	HTTP        string        // base URL of REST
	MQTT        string        // host:port
	Nodes       int           // 1 to MaxNodes
	Apps        int           // applications per node; default 1
	Rounds      int           // changes to each application; default 1
	Prefix      string        // of the nodes' names; default sim
	Delay       time.Duration // mean time applying takes; see Delays
	FaultRate   float64       // share of reports that meet a fault, 0 to 0.9
	Seed        uint64
	ConnectRate int           // connections started per second; default 1000
	Writers     int           // concurrent REST writers; default 16
	Timeout     time.Duration // of registering, and of each round; default 2 min
	Agent       string        // version the nodes state
	Progress    func(Progress)
	Log         *slog.Logger
}

// Progress is how far a stage has come. It is called from one goroutine at a
// time, and often.
type Progress struct {
	Stage       string // connect, round 1, …, verify
	Done, Total int
}

// Bounds of an experiment.
const (
	MaxNodes = 100_000
	MaxApps  = 64
	// perSource is how many connections one source address makes to the one
	// destination. There are 28,000 ephemeral ports by default.
	perSource = 20_000
	// spareFiles are open for other reasons than nodes and writers.
	spareFiles = 64
)

// ErrConfig means that the experiment cannot be carried out as asked.
var ErrConfig = errors.New("experiment")

func (c Config) withDefaults() Config {
	setDefault(&c.Apps, 1)
	setDefault(&c.Rounds, 1)
	setDefault(&c.Prefix, "sim")
	setDefault(&c.ConnectRate, 1000)
	setDefault(&c.Writers, 16)
	setDefault(&c.Timeout, 2*time.Minute)
	setDefault(&c.Agent, "gnomon-sim")
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Validate checks the bounds, and that this process may open enough files.
func (c Config) Validate() error {
	c = c.withDefaults()
	for _, f := range []struct {
		name       string
		got        int
		least, top int
	}{
		{"nodes", c.Nodes, 1, MaxNodes},
		{"apps", c.Apps, 1, MaxApps},
		{"rounds", c.Rounds, 1, 10_000},
		{"writers", c.Writers, 1, 1024},
		{"connect-rate", c.ConnectRate, 1, 100_000},
	} {
		if f.got < f.least || f.got > f.top {
			return fmt.Errorf("%w: %s is %d, it must be %d to %d", ErrConfig, f.name, f.got, f.least, f.top)
		}
	}
	if c.FaultRate < 0 || c.FaultRate > 0.9 {
		return fmt.Errorf("%w: fault-rate is %g, it must be 0 to 0.9", ErrConfig, c.FaultRate)
	}
	if c.Delay < 0 || c.Delay > time.Hour {
		return fmt.Errorf("%w: delay is %s, it must be 0 to 1h", ErrConfig, c.Delay)
	}
	return c.checkSockets()
}

// checkSockets refuses what would otherwise fail one node at a time.
func (c Config) checkSockets() error {
	host, _, err := net.SplitHostPort(c.MQTT)
	if err != nil {
		return fmt.Errorf("%w: mqtt address %q: %w", ErrConfig, c.MQTT, err)
	}
	if ip := net.ParseIP(host); c.Nodes > perSource && !(ip.To4() != nil && ip.IsLoopback()) {
		return fmt.Errorf("%w: %d connections from one address to %s, the limit is %d; run several simulators on several addresses", ErrConfig, c.Nodes, c.MQTT, perSource)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%w: read the limit of open files: %w", ErrConfig, err)
	}
	if need := uint64(c.Nodes + c.Writers + spareFiles); need > limit.Cur {
		return fmt.Errorf("%w: %d nodes need %d open files, the limit is %d; raise it (ulimit -n, hard limit %d) or simulate at most %d nodes",
			ErrConfig, c.Nodes, need, limit.Cur, limit.Max, int(limit.Cur)-c.Writers-spareFiles)
	}
	return nil
}

// source is the address the i-th node connects from; nil leaves it to the
// kernel. Beyond perSource nodes all of 127.0.0.0/8 serves.
func source(nodes, i int) net.Addr {
	if nodes <= perSource {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 77, 0, byte(1+i/perSource))}
}

// DelayDistribution names how apply delays are spread around their mean.
const DelayDistribution = "uniform between half and one and a half of the mean"

// Delays returns draws of an apply delay: uniform from mean/2 to mean*3/2.
func Delays(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return mean/2 + time.Duration(r.Int64N(int64(mean)+1))
	}
}
