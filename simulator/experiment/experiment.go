package experiment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gnomon/schema"
	"gnomon/simulator/cloudapi"
	"gnomon/simulator/figures"
)

// run is one experiment on its way.
type run struct {
	cfg     Config
	api     *cloudapi.Client
	fleet   *fleet
	board   *board
	targets []target

	mu        sync.Mutex
	report    *Report
	writes    []time.Duration
	converged []time.Duration
	failures  map[target]error // of writers
}

// Run registers the nodes, writes the changes, waits for them to be reported
// back and verifies what the cloud holds. The error says that it could not be
// carried out; stragglers are in the report, which is never nil.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	r := &Report{Experiment: "convergence"}
	if err := cfg.Validate(); err != nil {
		return r, err
	}
	cfg = cfg.withDefaults()
	api, err := cloudapi.New(cloudapi.Options{Base: cfg.HTTP, Connections: cfg.Writers + 2})
	if err != nil {
		return r, err
	}
	defer api.Close()
	x := &run{cfg: cfg, api: api, fleet: newFleet(cfg), report: r, failures: map[target]error{}}
	for _, n := range x.fleet.nodes {
		for a := range cfg.Apps {
			x.targets = append(x.targets, target{n.Name(), appName(a)})
		}
	}
	x.board = newBoard(x.targets)
	before, began := figures.ReadCPUTime(), time.Now()
	err = x.stages(ctx)
	x.describe(before, began)
	return r, err
}

// appName is sim, sim-2, sim-3, …
func appName(i int) string {
	if i == 0 {
		return "sim"
	}
	return "sim-" + strconv.Itoa(i+1)
}

func (x *run) stages(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer x.fleet.wait()
	defer stop()
	watching := make(chan struct{})
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer stop()
	watcher.Go(func() { x.watch(serving, watching) })
	select {
	case <-watching:
	case <-time.After(10 * time.Second):
		return errors.New("watch events: no stream within 10 s")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	began := time.Now()
	err := x.fleet.start(serving)
	x.report.ConnectSeconds = time.Since(began).Round(time.Millisecond).Seconds()
	if err != nil {
		x.report.Stragglers, x.report.Straggling = x.fleet.unregistered(MaxStragglers)
		return err
	}
	for round := 1; round <= x.cfg.Rounds && err == nil; round++ {
		err = x.round(ctx, round)
	}
	return errors.Join(err, x.verify(ctx))
}

// watch follows the cloud's events for as long as ctx lasts; where some were
// missed, what is open is read.
func (x *run) watch(ctx context.Context, watching chan struct{}) {
	var once sync.Once
	last := ""
	for ctx.Err() == nil {
		var err error
		last, err = x.api.Events(ctx, last, func() { once.Do(func() { close(watching) }) }, func(e cloudapi.Event) {
			x.board.event(e, func(shadow string) (string, bool) {
				kind, name := schema.KindOf(shadow)
				return name, kind == schema.KindApplication
			})
		})
		if ctx.Err() != nil {
			return
		}
		x.cfg.Log.Warn("event stream broke", "error", err)
		if errors.Is(err, cloudapi.ErrEventsGone) {
			x.poll(ctx)
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

// round writes one change to every target and waits until all converged.
func (x *run) round(ctx context.Context, round int) error {
	limited, cancel := context.WithTimeout(ctx, x.cfg.Timeout)
	defer cancel()
	x.board.begin()
	stage := "round " + strconv.Itoa(round)
	var writers sync.WaitGroup
	writers.Go(func() { x.write(limited, round) })
	defer writers.Wait()
	// Reading goes on from time to time, so that an event that was lost delays
	// the end and never prevents it.
	const quiet = 2 * time.Second
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		left, lost := x.board.left()
		x.cfg.Progress(Progress{stage, len(x.targets) - left, len(x.targets)})
		if left == lost {
			break
		}
		select {
		case <-x.board.changed:
			timer.Reset(quiet)
		case <-timer.C:
			x.poll(limited)
			timer.Reset(quiet)
		case <-limited.Done():
			writers.Wait()
			x.harvest()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil // the stragglers say it
		}
	}
	x.harvest()
	return nil
}

func (x *run) harvest() {
	times, polled := x.board.results(nil)
	x.converged = append(x.converged, times...)
	x.report.Polled += polled
}

// write writes the round's change to every target, a bounded number at once.
func (x *run) write(ctx context.Context, round int) {
	var group errgroup.Group
	group.SetLimit(x.cfg.Writers)
	for _, t := range x.targets {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			began := time.Now()
			a, err := x.api.PutApplication(ctx, t.node, t.app, x.desired(round))
			at := time.Now()
			x.mu.Lock()
			defer x.mu.Unlock()
			if err != nil {
				x.report.Errors++
				x.failures[t] = err
				x.board.gaveUp()
				return nil
			}
			delete(x.failures, t)
			x.writes = append(x.writes, at.Sub(began))
			x.board.wrote(t, a.DesiredVersion, at)
			return nil
		})
	}
	_ = group.Wait()
}

// desired is what round asks for. No other round or run asks for the same.
func (x *run) desired(round int) []byte {
	return fmt.Appendf(nil, `{"component":"sim@1","mode":"container","state":"running","run":{"env":{"CHANGE":%q}}}`, x.value(round))
}

func (x *run) value(round int) string { return fmt.Sprintf("%d-%d", x.cfg.Seed, round) }

// poll reads what has not converged yet.
func (x *run) poll(ctx context.Context) {
	x.each(x.board.unsettled(), func(t target) {
		a, err := x.api.GetApplication(ctx, t.node, t.app)
		if err == nil && a.Status.Converged {
			x.board.saw(t, a.DesiredVersion, time.Now(), true)
		}
	})
}

// each calls do for every target, a bounded number at once.
func (x *run) each(targets []target, do func(target)) {
	var group errgroup.Group
	group.SetLimit(x.cfg.Writers)
	for _, t := range targets {
		group.Go(func() error { do(t); return nil })
	}
	_ = group.Wait()
}

// verify reads every shadow: only what the cloud holds counts.
func (x *run) verify(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	checked := 0
	var left []Straggler
	x.each(x.targets, func(t target) {
		problem := x.check(ctx, t)
		x.mu.Lock()
		defer x.mu.Unlock()
		checked++
		x.cfg.Progress(Progress{"verify", checked, len(x.targets)})
		if problem == "" {
			x.report.Verified++
			return
		}
		left = append(left, Straggler{Node: t.node, App: t.app, Why: problem})
	})
	slices.SortFunc(left, func(a, b Straggler) int {
		return slices.Compare([]string{a.Node, a.App}, []string{b.Node, b.App})
	})
	x.report.Straggling += len(left)
	x.report.Stragglers = append(x.report.Stragglers, left[:min(len(left), MaxStragglers-len(x.report.Stragglers))]...)
	return nil
}

func (x *run) describe(before figures.CPUTime, began time.Time) {
	r, c := x.report, x.cfg
	r.Seed, r.Nodes, r.Apps, r.Rounds, r.Writers = c.Seed, c.Nodes, c.Apps, c.Rounds, c.Writers
	r.Transport = "MQTT 5 over TCP to " + c.MQTT
	r.DelayMeanMs, r.Delay, r.FaultRate = float64(c.Delay)/float64(time.Millisecond), DelayDistribution, c.FaultRate
	r.Changes, r.Converged = len(x.targets)*c.Rounds, len(x.converged)
	r.Write, r.Convergence = figures.Summarise(x.writes), figures.Summarise(x.converged)
	x.fleet.account(r)
	if u, err := figures.ReadUsage(os.Getpid()); err == nil {
		r.Simulator = &u
	}
	r.Seconds = time.Since(began).Round(10 * time.Millisecond).Seconds()
	r.Machine = figures.Describe(before)
	r.Version = c.Agent
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// check returns what is wrong with a target, "" when nothing is.
func (x *run) check(ctx context.Context, t target) string {
	a, err := x.api.GetApplication(ctx, t.node, t.app)
	var status *cloudapi.StatusError
	switch {
	case errors.As(err, &status) && status.Status == http.StatusNotFound:
		err = x.failure(t)
		return fmt.Sprintf("never written: %v", err)
	case err != nil:
		return err.Error()
	}
	if err := x.failure(t); err != nil {
		return "not written: " + err.Error()
	}
	if !a.Status.Converged {
		return fmt.Sprintf("phase %s, observed %d of %d, pending %v, fault %v; node: %s",
			a.Status.Phase, a.Status.ObservedVersion, a.DesiredVersion, a.Status.Pending, a.Status.Fault, why(x.fleet.byID[t.node]))
	}
	return x.checkValue(a)
}

func (x *run) failure(t target) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failures[t]
}

// checkValue looks for the last change in what was reported.
func (x *run) checkValue(a cloudapi.Application) string {
	want := x.value(x.cfg.Rounds)
	got, err := reportedChange(a.Reported)
	switch {
	case err != nil:
		return err.Error()
	case got != want:
		return fmt.Sprintf("reported CHANGE is %q, want %q", got, want)
	}
	return ""
}
