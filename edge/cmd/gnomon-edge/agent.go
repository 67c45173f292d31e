package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"gnomon/edge/artifact"
	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/edge/collect/dlt645"
	"gnomon/edge/collect/dlt698"
	"gnomon/edge/collect/modbus"
	"gnomon/edge/collect/mqtt"
	"gnomon/edge/collect/q376"
	"gnomon/edge/collect/snmp"
	"gnomon/edge/health"
	"gnomon/edge/health/probe"
	"gnomon/edge/link"
	"gnomon/edge/local"
	"gnomon/edge/override"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/state"
	"gnomon/edge/upgrade"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/executor"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// agent is the parts of the node put together.
type agent struct {
	cfg        config
	log        *slog.Logger
	now        func() time.Time
	garbage    *garbage
	node       loop.Node
	state      *state.Store
	link       *link.Link
	overrides  *override.Layer
	components *artifact.Store
	workloads  *executor.Executor
	probes     *probe.Prober
	policies   *collect.Engine
	readings   *nodeReadings
	health     *health.Monitor
	upgrade    *upgrade.Upgrade
	bus        *nodeBus // nil: it has none
	loop       *loop.Loop
}

// newAgent assembles an agent. Nothing runs yet; the state is locked.
func newAgent(cfg config, log *slog.Logger) (*agent, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("containers and cgroups need root: run it as root")
	}
	garbage := newGarbage()
	if cfg.unit != "" {
		if err := cgroup.MakeRoom(cfg.unit); err != nil {
			return nil, fmt.Errorf("--cgroup: %w", err)
		}
	}
	reserveThreads()
	now, err := clock()
	if err != nil {
		return nil, err
	}
	store, err := state.Open(state.Config{Dir: filepath.Join(cfg.Data, "state"), Now: now, Log: log})
	if err != nil {
		return nil, err
	}
	a := &agent{cfg: cfg, log: log, now: now, garbage: garbage, state: store, node: loop.Node{
		Agent: version, Arch: runtime.GOARCH, OS: kernel(), Boot: instance.BootID(),
		BootEpoch: store.BootEpoch(), StartedAt: now(),
	}}
	if err := a.assemble(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return a, nil
}

func (a *agent) assemble() error {
	cfg := a.cfg
	var err error
	a.components, err = artifact.New(artifact.Config{Components: cfg.Components, Data: cfg.Data, Care: keeper{a}, Now: a.now, Log: a.log})
	if err != nil {
		return err
	}
	if a.workloads, err = executor.New(executor.Config{Data: cfg.Data, Shim: cfg.Shim, Cgroup: cfg.Cgroup, Bridge: cfg.Bridge, SubIDs: cfg.SubIDs, Log: a.log}); err != nil {
		return err
	}
	a.readings = a.collect()
	if a.link, err = link.New(link.Config{Node: cfg.Node, Store: a.state, Dial: a.dial, Traffic: a.readings.sender, Now: a.now, Log: a.log}); err != nil {
		return err
	}
	if a.overrides, err = override.New(override.Config{
		Below: a.link, Holder: a.link, Memory: a.state, Clock: a.moment, Limit: cfg.OverrideLimit, Log: a.log,
	}); err != nil {
		return err
	}
	a.probes = probe.New(probe.Config{Exec: a.workloads.Exec, Log: a.log})
	if a.health, err = a.watch(); err != nil {
		return err
	}
	a.upgrade = upgrade.New(upgrade.Config{
		Version: version, Shim: cfg.Shim, Launch: cfg.Launch, Components: a.components,
		Instances: a.instances, Cloud: a.inTouch, Now: a.now, Log: a.log,
	})
	served, err := a.serveDevices()
	if err != nil {
		return err
	}
	a.loop = loop.New(loop.Config{
		Devices: served,
		Node:    a.node, Shadows: a.overrides, Workloads: a.workloads, Components: a.components,
		Probes: a.probes, Policies: a.policies, Memory: a.state, Upgrade: a.upgrade, Disk: a.state.Health, Health: reporting{a.health, a.readings}, Room: a.room, Now: a.now, Log: a.log,
	})
	return nil
}

// drivers returns a driver for every kind of source, one for each protocol.
func drivers(cfg config, log *slog.Logger) map[schema.SourceKind]collect.Driver {
	all := make(map[schema.SourceKind]collect.Driver)
	for _, p := range []struct {
		driver collect.Driver
		kinds  []schema.SourceKind
	}{
		{modbus.New(), modbus.Kinds},
		{dlt645.New(), dlt645.Kinds},
		{dlt698.New(), dlt698.Kinds},
		{q376.New(), q376.Kinds},
		{snmp.New(credentials.Dir(cfg.Credentials)), snmp.Kinds},
		{mqtt.New(mqtt.Config{Client: cfg.Node, Credentials: credentials.Dir(cfg.Credentials), Log: log}), mqtt.Kinds},
	} {
		for _, kind := range p.kinds {
			all[kind] = p.driver
		}
	}
	return all
}

func (a *agent) dial(ctx context.Context) (net.Conn, error) {
	address, err := a.cfg.broker()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// run runs all parts until ctx ends or one of them fails.
func (a *agent) run(ctx context.Context) error {
	defer a.state.Close()
	if err := a.upgrade.Begin(ctx); err != nil {
		return err
	}
	a.log.Info("gnomon-edge", "version", version, "node", a.cfg.Node, "cloud", a.cfg.Cloud, "data", a.cfg.Data, "bootEpoch", a.node.BootEpoch)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.answer(gctx) })
	g.Go(func() error { return a.workloads.Run(gctx) })
	g.Go(func() error { return a.probes.Run(gctx) })
	g.Go(func() error { return a.policies.Run(gctx) })
	g.Go(func() error { return a.readings.Run(gctx) })
	g.Go(func() error { return a.link.Run(gctx) })
	g.Go(func() error { return a.overrides.Run(gctx) })
	g.Go(func() error { return a.components.Run(gctx) })
	g.Go(func() error { return a.health.Run(gctx) })
	g.Go(func() error { return a.loop.Run(gctx) })
	g.Go(func() error { return a.upgrade.Run(gctx) })
	if a.bus != nil {
		g.Go(func() error { return a.bus.Run(gctx) })
	}
	err := errors.Join(g.Wait(), a.readings.store.Close())
	if ctx.Err() != nil && errors.Is(err, context.Canceled) || errors.Is(err, upgrade.ErrHandOver) {
		err = nil
	}
	a.log.Info("gnomon-edge ended; what it ran goes on", "after", a.now().Sub(a.node.StartedAt).Round(time.Second).String())
	return err
}

// local is the door on the node itself.
func (a *agent) local() *local.Server {
	return local.New(local.Config{
		Status: a.status, Overrides: a.overrides, Wanted: a.overrides, Loop: a.loop, Usage: a.health, Meters: a.policies,
		Readings: a.readings, Reader: a.readings.reader, LogPath: a.workloads.LogPath, Shim: a.cfg.Shim, Log: a.log,
		Instance: func(app string) (instance.Dir, error) {
			dir, _, err := local.Find(a.cfg.Data, app)
			return dir, err
		},
	})
}

// instances names the instance of every workload that runs.
func (a *agent) instances(ctx context.Context) (map[string]string, error) {
	all, err := a.workloads.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(all))
	for _, s := range all {
		if s.State.Live() {
			out[s.Name] = s.Instance
		}
	}
	return out, nil
}

// inTouch tells whether the cloud is connected and has been compared with.
func (a *agent) inTouch() bool {
	s := a.link.Status()
	return s.Connected && s.LastSync.After(s.Since)
}
