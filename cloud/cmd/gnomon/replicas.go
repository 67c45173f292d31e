package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/fanout"
	fanoutredis "gnomon/cloud/fanout/redis"
	"gnomon/cloud/index"
	"gnomon/cloud/readings"
	"gnomon/cloud/store"
	"gnomon/cloud/store/pebble"
	"gnomon/cloud/store/redis"
	"gnomon/cloud/trace"
	"gnomon/cloud/twin"
)

// openTimeout bounds how long the start waits for a store that isn't there.
const openTimeout = 10 * time.Second

// refresh is how often the index of a replica is read anew: what it hears of the
// others may have gaps.
const refresh = 5 * time.Minute

// database is a store as the server runs it.
type database interface {
	store.Store
	Run(ctx context.Context) error
	Err() error
	Close() error
}

// openDatabase opens the store that the configuration names. others is nil when
// this process is the only one that writes to it.
func (cfg *cloudConfig) openDatabase(ctx context.Context, log *slog.Logger, metrics prometheus.Registerer) (db database, others *fanout.Fanout, err error) {
	if cfg.Shared.URL == "" {
		db, err := pebble.Open(pebble.Config{Dir: cfg.Data, Log: log})
		return db, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	shared, err := redis.Open(ctx, redis.Config{URL: cfg.Shared.URL, Security: cfg.Shared.security(), Log: log})
	if errors.Is(err, redis.ErrURL) || errors.Is(err, redis.ErrSecurity) {
		return nil, nil, &usageError{fmt.Errorf("--store: %w", err)}
	}
	if err != nil {
		return nil, nil, err
	}
	others, err = fanout.New(fanout.Config{Transport: fanoutredis.New(shared.Client(), shared.Prefix(), log), Log: log, Metrics: metrics})
	if err != nil {
		return nil, nil, errors.Join(err, shared.Close())
	}
	return shared, others, nil
}

// replicasOf keeps a nil from becoming a twin.Replicas that isn't.
func replicasOf(others *fanout.Fanout) twin.Replicas {
	if others == nil {
		return nil
	}
	return others
}

// local is what happens at this replica of what others do.
type local struct {
	shadows *twin.Service
	found   *index.Index
	taken   *readings.Service
}

// Deliver implements fanout.Local.
func (l local) Deliver(notice []byte) error { return l.shadows.Deliver(notice) }

// MissedNotices implements fanout.Local. The index reads the store first: watchers
// that were told at once would list what is not in it yet.
func (l local) MissedNotices() { l.found.Missed() }

// readiness says what a cloud still lacks, each in a line.
func readiness(p parts) func() error {
	return func() error {
		var deaf error
		if p.others != nil {
			deaf = p.others.Ready()
		}
		return errors.Join(p.db.Err(), p.taken.err(), deaf, p.find.Ready(), p.mqtt.ready())
	}
}

// search runs the index. It reads the store once the other replicas are heard:
// what they committed in between it would know nothing of.
func (p *parts) search(ctx context.Context) error {
	if p.others != nil && p.others.Wait(ctx) != nil {
		return nil //nolint:nilerr // the end, which is what stopped it
	}
	return p.find.Run(ctx)
}

// newTraces returns what remembers recent changes, as the messaging sees them
// delivered and the other replicas tell of theirs.
func newTraces(mqtt *messaging, others *fanout.Fanout, log *slog.Logger) *trace.Log {
	cfg := trace.Config{Listeners: mqtt.listeners, Log: log}
	if others != nil {
		cfg.Tell = others.Tell
	}
	return trace.New(cfg)
}

// tell runs the fan-out until the function it returns is called, which is when
// there is nothing more to tell.
func tell(ctx context.Context, others *fanout.Fanout) (stop func() error) {
	if others == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- others.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}
