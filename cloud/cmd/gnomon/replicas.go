package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/broker"
	"gnomon/cloud/fanout"
	fanoutredis "gnomon/cloud/fanout/redis"
	"gnomon/cloud/store"
	"gnomon/cloud/store/pebble"
	"gnomon/cloud/store/redis"
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
	if cfg.Store == "" {
		db, err := pebble.Open(pebble.Config{Dir: cfg.Data, Log: log})
		return db, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	shared, err := redis.Open(ctx, redis.Config{URL: cfg.Store, Log: log})
	if errors.Is(err, redis.ErrURL) {
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

// join makes a broker and its shadow service one of several.
func join(others *fanout.Fanout, mqtt *broker.Broker, shadows *twin.Service) error {
	if others == nil {
		return nil
	}
	others.SetLocal(shadows, mqtt.TakeOver)
	return mqtt.Announce(others.Connected)
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
