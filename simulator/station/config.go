package station

import (
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect/q376/wire"
)

// Limits of a simulated area.
const (
	MaxMeters   = 1000
	maxBranches = 64
)

// ErrConfig is a mistake in a Config.
var ErrConfig = errors.New("station area")

// Config says what there is. The zero value of everything but Meters has a default.
type Config struct {
	Meters     int     // 1 to MaxMeters
	Share698   float64 // of the meters, those that speak DL/T 698.45; the others speak DL/T 645
	ThreePhase float64 // share of the meters with three phases
	First      uint64  // address of the first meter; the others follow; default 202600000001
	MainNode   uint64  // address of the CCO
	Seed       uint64

	Branches   int           // nodes that one node relays for; default 6
	HopDelay   time.Duration // for a frame to pass from one node to the next; default 60ms
	MeterDelay time.Duration // for a meter to take one frame and answer; default 250ms
	Loss       float64       // chance that a request or its answer gets lost on its way, 0 to 0.9
	Resend     time.Duration // until the CCO repeats a request that nobody answered; default 6.5s
	GiveUp     time.Duration // until it says that the meter can't be read; default 90s
	Drift      time.Duration // clocks of meters are wrong by this at the most
	Record     time.Duration // between two records of what meters measure, which they keep for ten days; default 5m
	Dead       []Outage

	Baud        int           // of the line to the concentrator; 0 = it takes no time
	Limits      wire.Limits   // default wire.DefaultLimits
	VendorCodes bool          // denials have a vendor's codes in place of 109 to 111
	Reversed    bool          // addresses of meters come the other way round in answers, as of some modules
	Boot        time.Duration // until a CCO reports that has started; default 1s
	Ask         time.Duration // how often a CCO that may route asks what to read (14H); 0 = never

	Now   func() time.Time // the time in the area; default time.Now
	Fault Fault            // nil = none
}

// Outage is a time in which meters are dead, counted from the start of the area.
type Outage struct {
	First, Last int           // numbers of meters, from 1
	From, To    time.Duration // To 0 = for ever
}

// Fault may spoil what the CCO says: it is asked for each answer, counted from 0,
// and returns what is said in its place, and when. Frames are whole ones.
type Fault func(n int, request *wire.Frame, good []byte) []Said

// Said is something the CCO says a while later than it would have.
type Said struct {
	After time.Duration
	Bytes []byte
}

func (c *Config) defaults() {
	set(&c.First, 202600000001)
	set(&c.Branches, 6)
	set(&c.HopDelay, 60*time.Millisecond)
	set(&c.MeterDelay, 250*time.Millisecond)
	set(&c.Resend, 6500*time.Millisecond)
	set(&c.GiveUp, 90*time.Second)
	set(&c.Record, 5*time.Minute)
	set(&c.Limits, wire.DefaultLimits)
	set(&c.Boot, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	for _, f := range []struct {
		name     string
		is       float64
		low, top float64
	}{
		{"meters", float64(c.Meters), 1, MaxMeters},
		{"share of DL/T 698.45", c.Share698, 0, 1},
		{"share of three-phase meters", c.ThreePhase, 0, 1},
		{"branches", float64(c.Branches), 1, maxBranches},
		{"loss", c.Loss, 0, 0.9},
		{"first address", float64(c.First), 1, 999999999998 - MaxMeters},
		{"main node", float64(c.MainNode), 0, 999999999998},
		{"hop delay in s", c.HopDelay.Seconds(), 0, 60},
		{"meter delay in s", c.MeterDelay.Seconds(), 0, 60},
		{"resend in s", c.Resend.Seconds(), 0.01, 600},
		{"give up in s", c.GiveUp.Seconds(), 0.01, 600},
		{"record in s", c.Record.Seconds(), 60, 86400},
		{"drift in s", c.Drift.Seconds(), 0, 86400},
		{"baud", float64(c.Baud), 0, 4_000_000},
		{"frames in one request", float64(c.Limits.MeterFrames), 1, 255},
		{"meters at once", float64(c.Limits.Meters), 1, 255},
		{"payload", float64(c.Limits.Payload), 16, wire.MaxData - 4},
	} {
		if !(f.is >= f.low && f.is <= f.top) {
			return fmt.Errorf("%w: %s is %v, it must be from %v to %v", ErrConfig, f.name, f.is, f.low, f.top)
		}
	}
	for _, o := range c.Dead {
		if o.First < 1 || o.Last < o.First || o.Last > c.Meters || o.From < 0 || o.To != 0 && o.To <= o.From {
			return fmt.Errorf("%w: outage of meters %d to %d from %v to %v: there are meters 1 to %d, and it must end after it begins", ErrConfig, o.First, o.Last, o.From, o.To, c.Meters)
		}
	}
	return nil
}
