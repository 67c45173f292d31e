package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"gnomon/simulator/mqtt"
)

// MaxShadows is how many applications and policies one node holds; more are
// left alone and counted as errors.
const MaxShadows = 256

// Config is shared by the nodes of a fleet. Dial is needed; every other field
// has a default.
type Config struct {
	Dial         func(ctx context.Context, name string) (net.Conn, error)
	Agent        string                         // version stated at registration
	BootEpoch    uint64                         // must grow from run to run; default 1
	KeepAlive    time.Duration                  // default 60 s
	SyncInterval time.Duration                  // between syncs, jittered by ±20 %; default 60 s
	Timeout      time.Duration                  // of a handshake, a write, the answer to a sync; default 20 s
	BackoffMin   time.Duration                  // before the first reconnect; default 200 ms
	BackoffMax   time.Duration                  // between reconnects; default 30 s
	Delay        func(*rand.Rand) time.Duration // what applying takes; default none
	FaultRate    float64                        // share of reports that meet a fault
	Log          *slog.Logger                   // default: discarded
}

func (c Config) withDefaults() Config {
	setDefault(&c.Agent, "gnomon-sim")
	setDefault(&c.BootEpoch, 1)
	setDefault(&c.KeepAlive, 60*time.Second)
	setDefault(&c.SyncInterval, 60*time.Second)
	setDefault(&c.Timeout, 20*time.Second)
	setDefault(&c.BackoffMin, 200*time.Millisecond)
	setDefault(&c.BackoffMax, 30*time.Second)
	if c.Delay == nil {
		c.Delay = func(*rand.Rand) time.Duration { return 0 }
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

// Counters count what happened to one node. They may be read at any time.
type Counters struct {
	Traffic      mqtt.Traffic
	Connects     atomic.Int64 // sessions that got as far as a SUBACK
	Failures     atomic.Int64 // attempts that did not
	Syncs        atomic.Int64 // answered syncs
	Unanswered   atomic.Int64 // syncs without an answer in time: the connection was given up
	Reports      atomic.Int64 // reports sent
	Rejected     atomic.Int64 // reports the cloud refused
	Errors       atomic.Int64 // anything else that should not happen
	CutBefore    atomic.Int64 // fault: connection cut instead of a report
	CutAfter     atomic.Int64 // fault: connection cut right after a report
	FailedApply  atomic.Int64 // fault: an application failed once
	ConnectNanos atomic.Int64 // what the first successful connect took, dial to SUBACK
}
