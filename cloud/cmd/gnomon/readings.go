package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/files"
	"gnomon/cloud/readings/push"
	pebblereadings "gnomon/cloud/store/pebble/readings"
	"gnomon/cloud/twin"
)

// readingsConfig says what becomes of collected readings.
type readingsConfig struct {
	Days int
	Dir  string // of a replica
	Push string // URL of a time-series database; "" = none
}

// pushTokenVariable holds the token. There is no flag for it: whoever lists
// processes would see it.
const pushTokenVariable = "GNOMON_READINGS_PUSH_TOKEN" //nolint:gosec // a name

func defaultReadings() readingsConfig { return readingsConfig{Days: readings.DefaultDays} }

func (r *readingsConfig) register(f *pflag.FlagSet) {
	f.IntVar(&r.Days, "readings-days", r.Days, "days that collected readings are kept")
	f.StringVar(&r.Dir, "readings-dir", "", "with --store: directory of this replica alone that readings are written to as files of JSON lines, for somebody to take away")
	f.StringVar(&r.Push, "readings-push", "", "URL of a time-series database that readings are pushed to as they are stored, over Prometheus remote write, such as http://127.0.0.1:9090/api/v1/write; a bearer token is "+pushTokenVariable+" in the environment")
}

// validate finds what makes no sense. shared tells whether replicas share a store.
func (r *readingsConfig) validate(shared bool) error {
	if r.Days < 1 || r.Days > readings.MaxDays {
		return fmt.Errorf("--readings-days %d: must be from 1 to %d", r.Days, readings.MaxDays)
	}
	if r.Dir != "" && !shared {
		return errors.New("--readings-dir is for replicas (--store); without, readings are in the directory of --data, where they can be looked up")
	}
	return nil
}

// takenReadings is the service with what it stands on.
type takenReadings struct {
	*readings.Service
	run   func(context.Context) error // of the store or sink
	err   func() error                // why it takes nothing; nil when it does
	close func() error
	push  func(context.Context) error
}

// openReadings opens the store of readings, or a replica's sink.
func (cfg *cloudConfig) openReadings(mqtt *messaging, shadows *twin.Service, log *slog.Logger, metrics prometheus.Registerer) (*takenReadings, error) {
	out := &takenReadings{
		push:  func(context.Context) error { return nil },
		run:   func(ctx context.Context) error { <-ctx.Done(); return nil },
		err:   func() error { return nil },
		close: func() error { return nil },
	}
	c := readings.Config{Publisher: mqtt.publisher, Past: shadows, Days: cfg.Readings.Days, Log: log, Metrics: metrics}
	if mqtt.listeners != nil {
		c.Listening = func(topic string) bool {
			all, _ := mqtt.listeners(topic)
			return all > 0
		}
	}
	if cfg.Readings.Push != "" {
		p, err := push.New(push.Config{URL: cfg.Readings.Push, Token: os.Getenv(pushTokenVariable), Log: log, Metrics: metrics})
		if err != nil {
			return nil, &usageError{fmt.Errorf("--readings-push: %w", err)}
		}
		c.Followers, out.push = append(c.Followers, p), p.Run
	}
	switch {
	case cfg.Shared.URL == "":
		s, err := pebblereadings.Open(pebblereadings.Config{Dir: filepath.Join(cfg.Data, "readings"), Log: log})
		if err != nil { // shadows need it not, and nodes keep what they have
			u := readings.Unusable{Why: err}
			log.Error("readings are neither taken nor found; shadows are served", "error", u.Err())
			c.Sink, c.Store, out.err = u, u, u.Err
			break
		}
		c.Sink, c.Store, out.run, out.err, out.close = s, s, s.Run, s.Err, s.Close
	case cfg.Readings.Dir != "":
		s, err := files.Open(files.Config{Dir: cfg.Readings.Dir, Log: log})
		if err != nil {
			return nil, err
		}
		c.Sink, out.run, out.close = s, s.Run, s.Close
	default:
		c.Sink = readings.Nowhere{}
	}
	var err error
	if out.Service, err = readings.New(c); err != nil {
		return nil, errors.Join(err, out.close())
	}
	return out, nil
}
