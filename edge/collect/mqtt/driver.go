package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/schema"
)

// Config is what a Driver stands on.
type Config struct {
	Client      string          // what sessions are called, besides what tells brokers apart; default gnomon
	Credentials credentials.Dir // "" = none
	Log         *slog.Logger

	BackoffMin time.Duration // before the first reconnect; default 500ms
	BackoffMax time.Duration // default 1m
}

// Driver is a collect.Driver for what is published on brokers.
type Driver struct {
	cfg Config

	mu      sync.Mutex
	brokers map[string]*broker // by address
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceMQTT}

// New returns a driver without connections.
func New(cfg Config) *Driver {
	if cfg.Client == "" {
		cfg.Client = "gnomon"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.BackoffMin <= 0 {
		cfg.BackoffMin = 500 * time.Millisecond
	}
	if cfg.BackoffMax <= 0 {
		cfg.BackoffMax = time.Minute
	}
	return &Driver{cfg: cfg, brokers: make(map[string]*broker)}
}

// broker returns the connection of a source, which is made if there is none.
func (d *Driver) broker(s schema.Source) *broker {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.brokers[s.Address]
	if b == nil {
		b = newBroker(d.cfg, s)
		d.brokers[s.Address] = b
		b.start()
	}
	return b
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	err := ctx.Err()
	if err == nil {
		for {
			err = d.broker(r.Source).poll(ctx, r, out.Values)
			if !errors.Is(err, errReleased) {
				break
			}
			clear(out.Values) // another connection follows
		}
	}
	for _, it := range r.Items {
		if _, there := out.Values[it.Name]; !there {
			collect.NoValues(out.Values, []schema.Item{it}, err, time.Now())
		}
	}
	return out, err
}

// Release implements collect.Driver: the connection is closed, and what was heard
// over it forgotten.
func (d *Driver) Release(s schema.Source) {
	d.mu.Lock()
	b := d.brokers[s.Address]
	delete(d.brokers, s.Address)
	d.mu.Unlock()
	if b != nil {
		b.stop()
	}
}

var _ collect.Driver = (*Driver)(nil)
