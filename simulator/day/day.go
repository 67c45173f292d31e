package day

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/filesys/crashfs"
	"gnomon/simulator/station"
)

// Day is one that has passed.
type Day struct {
	cfg     Config
	random  *rand.Rand
	areas   map[string]*area
	cloud   *Cloud
	node    *node
	cycles  map[string][]collect.Cycle
	said    map[string]Pace // of cycles
	cut     outage
	killed  int
	changed time.Time // when a policy was
	refused []Refusal
}

// The areas: one that is looked at, one whose policy is changed, and one beside them.
const (
	looked  = "a"
	altered = "b"
	beside  = "c"
)

// Run has a day pass.
func Run(ctx context.Context, cfg Config, cloud *Cloud) (*Day, error) {
	cfg = cfg.withDefaults()
	until(dawn.Add(-lead))
	d, err := newDay(cfg, cloud)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.node.start(ctx); err != nil {
		return nil, err
	}
	for _, e := range d.events() {
		until(e.at)
		if err = e.happens(ctx); err != nil {
			return nil, err
		}
	}
	until(at(cfg.Slots).Add(tail))
	d.node.stop()
	return d, nil
}

func newDay(cfg Config, cloud *Cloud) (*Day, error) {
	d := &Day{
		cfg: cfg, cloud: cloud, random: rand.New(rand.NewPCG(cfg.Seed, 1)),
		areas: make(map[string]*area), cycles: make(map[string][]collect.Cycle), said: make(map[string]Pace),
	}
	for i, a := range []struct {
		name             string
		meters, parallel int
		share698         float64
		dead             []station.Outage
	}{
		{looked, cfg.Meters, 5, 0.5, d.outages()},
		{altered, cfg.Changed, 5, 0.5, nil},
		// Its meters are read one by one and speak DL/T 645, whose frames don't begin
		// with a random number: what is said can be compared from run to run.
		{beside, cfg.Beside, 1, 0, nil},
	} {
		fresh, err := newArea(a.name, a.parallel, station.Config{
			Meters: a.meters, First: uint64(202600000001 + 10000*i), Share698: a.share698, ThreePhase: 0.1, Seed: cfg.Seed + uint64(i),
			Loss: cfg.Loss, Drift: 2 * time.Second, Resend: resend, HopDelay: hopDelay, MeterDelay: meterDelay, Dead: a.dead, Baud: cfg.Baud,
		})
		if err != nil {
			d.close()
			return nil, err
		}
		d.areas[a.name] = fresh
		calm, lossy := fresh.predicted(cfg.Loss)
		d.said[a.name] = Pace{Predicted: calm, Lossy: lossy}
	}
	var err error
	if d.refused, err = refusals(); err != nil {
		d.close()
		return nil, err
	}
	from := at(0).Add(time.Duration(d.random.Int64N(int64(max(d.length()-cfg.Cut, 1)))))
	d.cut = outage{from, from.Add(cfg.Cut)}
	d.node = newNode(d.areas, crashfs.New(cfg.Seed), newUplink(cloud, cfg.Seed, []outage{d.cut}))
	d.node.heard = func(policy string, c collect.Cycle) { d.cycles[policy] = append(d.cycles[policy], c) }
	return d, nil
}

func (d *Day) close() {
	for _, a := range d.areas {
		a.station.Close()
	}
}

func (d *Day) length() time.Duration { return time.Duration(d.cfg.Slots) * period }

// outages lets some meters be dead at some time of the day.
func (d *Day) outages() (all []station.Outage) {
	n := int(float64(d.cfg.Meters)*d.cfg.Dead + 0.5)
	for _, i := range d.random.Perm(d.cfg.Meters)[:n] {
		from := lead + time.Duration(d.random.Int64N(int64(max(d.length()-d.cfg.DeadFor, 1))))
		all = append(all, station.Outage{First: i + 1, Last: i + 1, From: from, To: from + d.cfg.DeadFor})
	}
	slices.SortFunc(all, func(a, b station.Outage) int { return a.First - b.First })
	return all
}

// event is something that happens to the node.
type event struct {
	at      time.Time
	happens func(context.Context) error
}

// events are those of the day, in order.
func (d *Day) events() (all []event) {
	noon := at(d.cfg.Slots / 2).Add(midCycle)
	for range d.cfg.Kills {
		t := at(0).Add(time.Duration(d.random.Int64N(int64(d.length()))))
		if away := t.Sub(noon); away > -2*time.Minute && away < 2*time.Minute {
			t = t.Add(4 * time.Minute) // whoever changes a policy finds the node alive
		}
		all = append(all, event{t, d.kill})
	}
	if !d.cfg.Calm {
		all = append(all, event{noon, d.alter})
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all
}

// kill ends the agent, and starts it a while later.
func (d *Day) kill(ctx context.Context) error {
	d.killed++
	d.node.kill()
	time.Sleep(time.Second + time.Duration(d.random.Int64N(int64(time.Minute))))
	return d.node.start(ctx)
}

// alter changes the policy of one area while a cycle of it is under way.
func (d *Day) alter(context.Context) error {
	a := d.areas[altered]
	p, err := a.parse(shorter, a.source)
	if err != nil {
		return err
	}
	d.changed = time.Now()
	return d.node.change(a, p)
}

// until sleeps.
func until(t time.Time) { time.Sleep(time.Until(t)) }
