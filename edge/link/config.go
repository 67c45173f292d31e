package link

import (
	"context"
	"log/slog"
	"net"
	"time"

	"gnomon/edge/state"
)

// Limits of one node.
const (
	MaxShadows   = 1024      // replicas held; more are left alone and counted
	maxInFlight  = 8         // unanswered reports; below any broker's receive maximum
	receiveQuota = 64        // messages the broker may send before we acknowledge
	maxPacket    = 512 << 10 // accepted from the broker, in bytes
)

// Config of a Link.
type Config struct {
	Node  string // the thing's name, and the MQTT client's
	Store *state.Store
	// Dial connects to the broker.
	Dial func(context.Context) (net.Conn, error)

	Traffic Traffic // what else goes over the connection; nil: nothing

	KeepAlive    time.Duration // default 60s
	SyncInterval time.Duration // unless the node's own shadow says otherwise; jittered by ±20 %; default 60s
	Timeout      time.Duration // of a handshake, of a write, and for an answer; default 10s
	BackoffMin   time.Duration // before the first reconnect; default 500ms
	BackoffMax   time.Duration // between reconnects; default 1m
	PersistAfter time.Duration // what is reported is on disk this long after it changed; default 1s
	Now          func() time.Time
	Log          *slog.Logger
}

func (c Config) withDefaults() Config {
	setDefault(&c.KeepAlive, 60*time.Second)
	setDefault(&c.SyncInterval, 60*time.Second)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.BackoffMin, 500*time.Millisecond)
	setDefault(&c.BackoffMax, time.Minute)
	setDefault(&c.PersistAfter, time.Second)
	if c.Now == nil {
		c.Now = time.Now
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
