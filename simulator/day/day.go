package day

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema/reading"
	"gnomon/simulator/station"
)

// world is all there is in a day.
type world struct {
	cfg     Config
	random  *rand.Rand
	areas   map[string]*area
	node    *node
	ledgers map[string]*ledger
	cycles  map[string][]collect.Cycle
	changed time.Time // when a policy was
}

// Run has a day pass, and tells of it.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	until(dawn.Add(-lead))
	w, err := newWorld(cfg)
	if err != nil {
		return nil, err
	}
	defer w.close()
	out := &Report{Config: cfg, Refusals: refusals(w.areas[looked])}
	if err := w.node.start(ctx); err != nil {
		return nil, err
	}
	if !cfg.Calm {
		if err := w.alter(); err != nil {
			w.node.stop()
			return nil, err
		}
	}
	until(at(cfg.Slots).Add(-time.Second))
	w.node.stop()
	w.judge(out)
	return out, nil
}

// The areas: one that is looked at, one whose policy is changed, and one beside them.
const (
	looked  = "a"
	altered = "b"
	beside  = "c"
)

func newWorld(cfg Config) (*world, error) {
	w := &world{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 1)), areas: make(map[string]*area), ledgers: make(map[string]*ledger), cycles: make(map[string][]collect.Cycle)}
	for i, a := range []struct {
		name             string
		meters, parallel int
		share698         float64
		dead             []station.Outage
	}{
		{looked, cfg.Meters, 5, 0.5, w.outages()},
		{altered, cfg.Changed, 5, 0.5, nil},
		// Its meters are read one by one and speak DL/T 645, whose frames don't begin
		// with a random number: what is said can be compared from run to run.
		{beside, cfg.Beside, 1, 0, nil},
	} {
		fresh, err := newArea(a.name, a.parallel, station.Config{
			Meters: a.meters, First: uint64(202600000001 + 10000*i), Share698: a.share698, ThreePhase: 0.1, Seed: cfg.Seed + uint64(i),
			Loss: cfg.Loss, Drift: 2 * time.Second, HopDelay: hopDelay, MeterDelay: meterDelay, Dead: a.dead, Baud: cfg.Baud,
		})
		if err != nil {
			w.close()
			return nil, err
		}
		w.areas[a.name], w.ledgers[a.name] = fresh, newLedger(fresh)
	}
	w.node = newNode(w.heard, w.areas)
	return w, nil
}

func (w *world) close() {
	for _, a := range w.areas {
		a.station.Close()
	}
}

// outages lets some meters be dead at some time of the day.
func (w *world) outages() (all []station.Outage) {
	day := time.Duration(w.cfg.Slots) * period
	n := int(float64(w.cfg.Meters)*w.cfg.Dead + 0.5)
	for _, i := range w.random.Perm(w.cfg.Meters)[:n] {
		from := lead + time.Duration(w.random.Int64N(int64(max(day-w.cfg.DeadFor-4*period, 1))))
		all = append(all, station.Outage{First: i + 1, Last: i + 1, From: from, To: from + w.cfg.DeadFor})
	}
	slices.SortFunc(all, func(a, b station.Outage) int { return a.First - b.First })
	return all
}

// heard takes what a cycle has read.
func (w *world) heard(policy string, r collect.Report) {
	w.cycles[policy] = append(w.cycles[policy], r.Cycle)
	for meter, readings := range r.Readings {
		row := reading.Row{Meter: meter, At: r.Cycle.At, Source: reading.Cycle}
		for _, item := range itemNames {
			got := readings[item]
			v := reading.Value{State: reading.Missing, Reason: got.Reason}
			if got.Quality == collect.Good {
				v = reading.Value{State: reading.Good, Number: numberOf(got.Value)}
				row.Arrived = got.At
			}
			row.Values = append(row.Values, v)
		}
		w.ledgers[policy].take(itemNames, row)
	}
}

// alter changes the policy of one area at half time, while a cycle is under way.
func (w *world) alter() error {
	until(at(w.cfg.Slots / 2).Add(shortly))
	a := w.areas[altered]
	p, err := a.parse(shorter, a.source)
	if err != nil {
		return err
	}
	w.changed = time.Now()
	return w.node.change(a, p)
}

// until sleeps.
func until(t time.Time) { time.Sleep(time.Until(t)) }
