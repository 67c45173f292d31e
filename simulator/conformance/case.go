package conformance

import (
	"os"
	"strconv"
	"testing"
)

// Config says where the service under test is, and its limits.
type Config struct {
	HTTP       string // host:port
	MQTT       string // host:port
	StateBytes int    // of desired and reported together; default 8192
	Depth      int    // levels of nesting; default 6

	// External: MQTT is another's broker, over which the service publishes after
	// it has answered over HTTP.
	External bool
}

// FromEnvironment reads where a service is that runs already, from
// GNOMON_CONFORMANCE_HTTP and GNOMON_CONFORMANCE_MQTT, and its limits, if they
// are not AWS's, from GNOMON_CONFORMANCE_STATE_BYTES and GNOMON_CONFORMANCE_DEPTH.
// GNOMON_CONFORMANCE_EXTERNAL says that the broker isn't the service's own.
// ok is false when no address is given.
func FromEnvironment() (c Config, ok bool) {
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name)) // none: the default
		return n
	}
	c = Config{
		HTTP: os.Getenv("GNOMON_CONFORMANCE_HTTP"), MQTT: os.Getenv("GNOMON_CONFORMANCE_MQTT"),
		StateBytes: number("GNOMON_CONFORMANCE_STATE_BYTES"), Depth: number("GNOMON_CONFORMANCE_DEPTH"),
	}
	c.External = os.Getenv("GNOMON_CONFORMANCE_EXTERNAL") != ""
	return c, c.HTTP != "" && c.MQTT != ""
}

func (c Config) withDefaults() Config {
	if c.StateBytes == 0 {
		c.StateBytes = 8192
	}
	if c.Depth == 0 {
		c.Depth = 6
	}
	return c
}

// Op is what a step asks for.
type Op string

// The operations. A step without one is an update.
const (
	Update Op = "update"
	Get    Op = "get"
	Delete Op = "delete"
)

// Transport is how a step's request gets to the service.
type Transport string

// The transports.
const (
	MQTT311 Transport = "mqtt-3.1.1"
	MQTT5   Transport = "mqtt-5"
	HTTP    Transport = "http"
)

// Case is one sentence of the contract as a conversation about one shadow.
type Case struct {
	Line       string // of the contract, and what of it
	Unverified bool   // AWS doesn't say: what Gnomon documents is asserted
	OnMQTT     bool   // HTTP can't say it
	LongNames  bool   // thing and shadow have names as long and odd as can be
	Steps      []Step
	Make       func(Config) []Step // in place of Steps, where limits matter
}

// Step is a request and what must come of it. In its texts {name} stands for the
// name that the contract's messages have: the shadow's, or the thing's. In what
// is expected every timestamp, once checked, is 0.
type Step struct {
	Op   Op
	Body string

	Want string // the whole answer; "" = any that accepts

	Code    int    // of the rejection, 0 = none
	Message string // of the rejection
	Token   string // in the rejection

	Delta     string // the whole update/delta published; "" = not looked at, None = none
	Documents string // the whole update/documents published; likewise
}

// None is what isn't published.
const None = "none"

func (c Case) steps(cfg Config) []Step {
	if c.Make != nil {
		return c.Make(cfg)
	}
	return c.Steps
}

// over tells whether a case can be told over a transport.
func (c Case) over(tr Transport) bool { return tr != HTTP || !c.OnMQTT }

// name is a subtest's.
func (c Case) name() string {
	if c.Unverified {
		return c.Line + " [U]"
	}
	return c.Line
}

// Run runs every case over every transport, on a classic shadow and a named one.
func Run(t *testing.T, cfg Config) {
	cfg = cfg.withDefaults()
	for _, tr := range []Transport{MQTT311, MQTT5, HTTP} {
		for _, c := range Cases() {
			if !c.over(tr) {
				continue
			}
			for _, named := range []bool{false, true} {
				kind := "classic"
				if named {
					kind = "named"
				}
				t.Run(string(tr)+"/"+c.name()+"/"+kind, func(t *testing.T) {
					t.Parallel()
					runCase(t, cfg, tr, c, named)
				})
			}
		}
	}
}
