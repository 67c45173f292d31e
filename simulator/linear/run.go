package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/anishathalye/porcupine"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"gnomon/simulator/cloudproc"
)

// Config of a run. Zero fields have the defaults given.
type Config struct {
	Clouds     []cloudproc.Config // one, or replicas that share a store
	Seed       uint64
	Clients    int // default 6
	Shadows    int // that they share; default 3
	Operations int // of one client after the last fault; default 20
	Kills      int // of a cloud; default 1
	Cuts       int // of connections; default 4
}

func (c Config) withDefaults() Config {
	for field, value := range map[*int]int{&c.Clients: 6, &c.Shadows: 3, &c.Operations: 20, &c.Kills: 1, &c.Cuts: 4} {
		if *field == 0 {
			*field = value
		}
	}
	return c
}

// Result is what a run saw.
type Result struct {
	Operations []porcupine.Operation
	Unknown    int // of them, without an answer
	Verdict    porcupine.CheckResult
}

// experiment is one run.
type experiment struct {
	cfg     Config
	random  *rand.Rand
	clouds  []*cloudproc.Cloud
	proxies []*toxiproxy.Proxy
	clients []*client
}

// Run runs clients against a cloud that is killed and cut off, and judges what
// they saw.
func Run(ctx context.Context, cfg Config) (Result, error) {
	x := &experiment{cfg: cfg.withDefaults(), random: rand.New(rand.NewPCG(cfg.Seed, 1))}
	defer x.close()
	if err := x.start(ctx); err != nil {
		return Result{}, err
	}
	began := time.Now()
	clock := func() int64 { return int64(time.Since(began)) }
	over := make(chan struct{})
	var all errgroup.Group
	all.Go(func() error {
		defer close(over)
		return x.spoil(ctx)
	})
	for _, c := range x.clients {
		all.Go(func() error { return c.run(ctx, x.cfg.Operations, over, clock) })
	}
	if err := all.Wait(); err != nil {
		return Result{}, err
	}
	return x.judge(), nil
}

func (x *experiment) start(ctx context.Context) error {
	for _, cfg := range x.cfg.Clouds {
		cloud, err := cloudproc.Start(cfg)
		if err != nil {
			return err
		}
		x.clouds = append(x.clouds, cloud)
		if err := cloud.Ready(ctx); err != nil {
			return err
		}
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	for i := range x.cfg.Clients {
		address, err := cloudproc.FreeAddress()
		if err != nil {
			return err
		}
		p := toxiproxy.NewProxy(server, fmt.Sprint("client", i), address, x.cfg.Clouds[i%len(x.cfg.Clouds)].HTTP)
		if err := p.Start(); err != nil {
			return err
		}
		x.proxies = append(x.proxies, p)
		x.clients = append(x.clients, &client{
			id: i, base: "http://" + p.Listen, http: &http.Client{Transport: &http.Transport{}},
			random: rand.New(rand.NewPCG(x.cfg.Seed, uint64(100+i))), shadows: x.cfg.Shadows, seen: map[int]uint64{},
		})
	}
	return nil
}

// spoil kills the cloud and cuts connections.
func (x *experiment) spoil(ctx context.Context) error {
	var all []func(context.Context) error
	for range x.cfg.Kills {
		all = append(all, x.kill)
	}
	for range x.cfg.Cuts {
		all = append(all, x.cut)
	}
	x.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, fault := range all {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(x.random.IntN(30)) * time.Millisecond):
		}
		if err := fault(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (x *experiment) kill(ctx context.Context) (err error) {
	i := x.random.IntN(len(x.clouds))
	x.clouds[i].Kill()
	if x.clouds[i], err = cloudproc.Start(x.cfg.Clouds[i]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return x.clouds[i].Ready(ctx)
}

// cut breaks one client's connections, or swallows the answers on their way.
func (x *experiment) cut(context.Context) error {
	p := x.proxies[x.random.IntN(len(x.proxies))]
	if x.random.IntN(2) == 0 {
		p.Stop()
		return p.Start()
	}
	const swallow = `{"name":"swallow","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(swallow)); err != nil {
		return err
	}
	time.Sleep(time.Duration(x.random.IntN(40)) * time.Millisecond) // the length of the fault
	return p.Toxics.RemoveToxic(context.Background(), "swallow")
}

// judge puts the histories together.
func (x *experiment) judge() Result {
	var r Result
	for _, c := range x.clients {
		r.Operations = append(r.Operations, c.history...)
		for _, op := range c.history {
			if op.Output.(Answer).Outcome == Unknown {
				r.Unknown++
			}
		}
	}
	r.Verdict = porcupine.CheckOperationsTimeout(Model, r.Operations, 30*time.Second)
	return r
}

func (x *experiment) close() {
	for _, c := range x.clients {
		c.http.CloseIdleConnections()
	}
	for _, p := range x.proxies {
		p.Stop()
	}
	for _, cloud := range x.clouds {
		cloud.Kill()
	}
}
