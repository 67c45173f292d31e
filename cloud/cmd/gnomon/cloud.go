package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gnomon/cli/settings"
	"gnomon/cloud/fanout"
	"gnomon/cloud/index"
	"gnomon/cloud/rest"
	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/shadow"
)

// cloudConfig is the server's configuration: flags, then environment, then file.
type cloudConfig struct {
	Dev        bool
	Data       string
	Shared     sharedStore
	HTTP       string
	MQTT       string
	LogFormat  string
	LogLevel   string
	StateLimit int // bytes of one shadow's state
	DepthLimit int // levels of one shadow's state
	CacheMiB   int // documents kept parsed
	External   externalConfig
	History    int // versions of desired kept of each shadow
	Readings   readingsConfig
}

func defaultCloudConfig() cloudConfig {
	return cloudConfig{
		Data: "gnomon-data", HTTP: "127.0.0.1:8080", MQTT: "127.0.0.1:1883",
		LogFormat: "text", LogLevel: "info",
		StateLimit: shadow.DefaultLimits.StateBytes, DepthLimit: shadow.DefaultLimits.Depth,
		History: 10, CacheMiB: 128, // room for some ten thousand shadows of a few kilobytes
		Readings: defaultReadings(),
	}
}

func cloudCommand() *cobra.Command {
	cfg := defaultCloudConfig()
	var file string
	c := &cobra.Command{
		Use:   "cloud --dev [flags]",
		Short: "Run the cloud: store, MQTT broker and HTTP API in one process",
		Long: `Run the cloud: store, MQTT broker and HTTP API in one process.

Every flag can also be given in the environment (GNOMON_HTTP for --http) or in
a YAML file (--config); flags win over the environment, that over the file.`,
		Example: "  gnomon cloud --dev --data ./data\n  gnomon cloud --dev --data ./data --broker mqtt://127.0.0.1:1883",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := settings.Fill(c.Flags(), file)
			if err == nil {
				err = cmp.Or(cfg.validate(), cfg.External.validate(c.Flags()), cfg.Readings.validate(cfg.Shared.URL != ""))
			}
			if err != nil {
				return &usageError{err}
			}
			return cfg.run(c.Context(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.BoolVar(&cfg.Dev, "dev", cfg.Dev, "development mode: no login, no encryption, loopback only")
	f.StringVar(&cfg.Data, "data", cfg.Data, "directory of the store")
	cfg.Shared.register(f)
	f.StringVar(&cfg.HTTP, "http", cfg.HTTP, "address of the HTTP API")
	f.StringVar(&cfg.MQTT, "mqtt", cfg.MQTT, "address of the MQTT broker")
	cfg.External.register(f)
	f.StringVar(&cfg.LogFormat, "log-format", cfg.LogFormat, "text or json")
	f.StringVar(&cfg.LogLevel, "log-level", cfg.LogLevel, "debug, info, warn or error")
	f.IntVar(&cfg.StateLimit, "state-limit", cfg.StateLimit, "bytes of one shadow's state")
	f.IntVar(&cfg.DepthLimit, "depth-limit", cfg.DepthLimit, "levels of nesting of one shadow's state")
	f.IntVar(&cfg.CacheMiB, "cache", cfg.CacheMiB, "MiB of documents kept in memory")
	f.IntVar(&cfg.History, "history", cfg.History, "versions of desired kept of each shadow; 0 keeps none")
	cfg.Readings.register(f)
	f.StringVar(&file, "config", "", "YAML file with the same names")
	return c
}

func (cfg *cloudConfig) validate() error {
	if !cfg.Dev {
		return errors.New("this version has no authentication: it runs with --dev, on loopback, and not otherwise")
	}
	for name, address := range map[string]string{"--http": cfg.HTTP, "--mqtt": cfg.MQTT} {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%s %q: must be host:port", name, address)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("%s %q: --dev has no login and listens on loopback only; use 127.0.0.1", name, address)
		}
	}
	if cfg.StateLimit < 1024 || cfg.StateLimit > 1<<20 {
		return fmt.Errorf("--state-limit %d: must be from 1024 to %d", cfg.StateLimit, 1<<20)
	}
	if cfg.DepthLimit < 2 || cfg.DepthLimit > 100 {
		return fmt.Errorf("--depth-limit %d: must be from 2 to 100", cfg.DepthLimit)
	}
	if cfg.CacheMiB < 1 {
		return fmt.Errorf("--cache %d: must be at least 1", cfg.CacheMiB)
	}
	if cfg.History < 0 || cfg.History > 100 {
		return fmt.Errorf("--history %d: must be from 0 to 100", cfg.History)
	}
	return nil
}

// tuneGC lets the heap grow before it is collected: most of it is short-lived,
// and collections are what slows requests most. A limit keeps it in bounds.
func tuneGC(cacheMiB int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1<<30 + 2*int64(cacheMiB)<<20)
	}
}

// run assembles the cloud and serves until ctx ends.
func (cfg *cloudConfig) run(ctx context.Context, stderr io.Writer) error {
	log, err := settings.Logger(stderr, cfg.LogFormat, cfg.LogLevel)
	if err != nil {
		return &usageError{err}
	}
	tuneGC(cfg.CacheMiB)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	limits := shadow.Limits{StateBytes: cfg.StateLimit, Depth: cfg.DepthLimit, BodyBytes: 2 * cfg.StateLimit}

	db, others, err := cfg.openDatabase(ctx, log, metrics)
	if err != nil {
		return err
	}
	mqtt, err := cfg.openMessaging(log, metrics)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	traces := newTraces(mqtt, others, log)
	var shadows *twin.Service
	search := index.Config{Store: db, Internal: func(r store.Record) { shadows.Internal(r) }, Log: log, Metrics: metrics}
	if others != nil {
		search.Refresh, search.Repaired = refresh, func() { shadows.MissedNotices() }
	}
	found := index.New(search)
	shadows, err = twin.New(twin.Config{Store: db, Shared: others != nil, Replicas: replicasOf(others), Committed: found.Committed, Publisher: mqtt.publisher, ReachesAll: mqtt.reachesAll, Traces: traces, Limits: limits, History: cfg.History, Condition: condition, CacheBytes: cfg.CacheMiB << 20, CacheCount: math.MaxInt32, Log: log, Metrics: metrics})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if others != nil {
		others.SetWords(traces)
	}
	taken, err := cfg.openReadings(mqtt, shadows, log, metrics)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if err := mqtt.join(others, local{shadows, found, taken.Service}, traces); err != nil {
		return errors.Join(err, db.Close(), taken.close())
	}
	found.SetDocuments(shadows)
	p := parts{db: db, mqtt: mqtt, find: found, twin: shadows, others: others, taken: taken}
	p.api = rest.New(rest.Config{Address: cfg.HTTP, Shadows: shadows, Topics: mqtt.topics, Index: found, Readings: taken.Service, Traces: traces, Ready: readiness(p), Limits: limits, Export: exporter(db, log), Local: cfg.Dev, Log: log, Metrics: metrics})
	return cfg.serve(ctx, log, p)
}

// condition reads a selector for a precondition.
func condition(selector string) (twin.Condition, error) {
	holds, err := index.ParseCondition(selector)
	return twin.Condition(holds), err
}

type parts struct {
	db     database
	mqtt   *messaging
	api    *rest.Server
	find   *index.Index
	twin   *twin.Service
	others *fanout.Fanout // nil: there are none
	taken  *takenReadings
}

// serve binds both addresses before anything runs, and closes the store last.
func (cfg *cloudConfig) serve(ctx context.Context, log *slog.Logger, p parts) error {
	httpAddr, err := p.api.Listen()
	if err != nil {
		return errors.Join(err, p.db.Close(), p.taken.close())
	}
	mqttAddr, err := p.mqtt.listen()
	if err != nil {
		return errors.Join(err, p.api.Close(), p.db.Close(), p.taken.close())
	}
	log.Info("gnomon cloud", "version", version, "http", httpAddr.String(), "mqtt", mqttAddr, "data", cfg.Data)
	// The store commits until everything that submits to it has ended.
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStore()
	stored := make(chan error, 2)
	go func() { stored <- p.db.Run(storeCtx) }()
	go func() { stored <- p.taken.run(storeCtx) }()
	told := tell(ctx, p.others)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.api.Run(gctx) })
	g.Go(func() error { return p.mqtt.run(gctx) })
	g.Go(func() error { return p.search(gctx) })
	g.Go(func() error { return p.twin.Run(gctx) })
	g.Go(func() error { return p.taken.Run(gctx) })
	g.Go(func() error { return p.taken.push(gctx) })
	started := time.Now()
	err = g.Wait()
	stopStore()
	err = errors.Join(err, <-stored, <-stored, told(), p.db.Close(), p.taken.close())
	log.Info("gnomon cloud ended", "after", time.Since(started).Round(time.Second).String())
	return err
}
