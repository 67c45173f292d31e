package usage

import (
	"math"
	"slices"
	"time"

	"gnomon/shadow"
)

// Floors: changes of less are noise, whatever they are relative to.
const (
	floorCPU   = 0.02    // cores
	floorBytes = 1 << 20 // of memory and disk
	floorPids  = 2
	floorRate  = 4 << 10 // bytes per second
)

// figure is one measure of a report. Its dead band is relative, but no less than
// its floor.
type figure struct {
	name  string
	value float64
	floor float64
	fine  bool // three digits after the point; else whole numbers
}

func (f figure) number() *shadow.Value {
	if f.fine {
		return shadow.Float(math.Round(f.value*1000) / 1000)
	}
	return shadow.Int(int64(math.Round(f.value)))
}

func (r Rates) figures() []figure {
	return []figure{
		{"read", r.Read, floorRate, false}, {"written", r.Written, floorRate, false},
	}
}

func (r Rates) ofNetwork() []figure {
	return []figure{{"in", r.In, floorRate, false}, {"out", r.Out, floorRate, false}}
}

func (a Application) figures() (all []figure) {
	if a.Running {
		all = append(all, figure{"memory", float64(a.Memory), floorBytes, false}, figure{"pids", float64(a.Pids), floorPids, false})
	}
	if a.Running && a.Settled {
		all = append(append(all, figure{"cpu", a.CPU, floorCPU, true}), a.Rates.figures()...)
		if a.Network {
			all = append(all, a.Rates.ofNetwork()...)
		}
	}
	if d := a.Disk; d != nil {
		all = append(all, figure{"disk", float64(d.Total()), floorBytes, false}, figure{"data", float64(d.Data), floorBytes, false},
			figure{"layers", float64(d.Layers), floorBytes, false}, figure{"logs", float64(d.Logs), floorBytes, false})
	}
	return all
}

func (n Node) figures() []figure {
	all := []figure{
		{"memory", float64(n.Memory), floorBytes, false}, {"memoryTotal", float64(n.MemoryTotal), floorBytes, false},
		{"pids", float64(n.Pids), floorPids, false}, {"cores", float64(n.Cores), 1, false},
	}
	if n.Settled {
		all = append(append(all, figure{"cpu", n.CPU, floorCPU, true}), append(n.Rates.figures(), n.Rates.ofNetwork()...)...)
	}
	return all
}

func (f FileSystem) figures() []figure {
	return []figure{
		{"size", float64(f.Size), floorBytes, false}, {"used", float64(f.Used), floorBytes, false},
		{"free", float64(f.Free), floorBytes, false},
		{"inodes", float64(f.Inodes), 100, false}, {"inodesUsed", float64(f.InodesUsed), 100, false},
	}
}

// differ tells whether a figure is there or gone, or has left the dead band.
func differ(before, after []figure, band float64) bool {
	if len(before) != len(after) {
		return true
	}
	for i, b := range before {
		a := after[i]
		if a.name != b.name {
			return true
		}
		width := max(b.floor, band*math.Max(math.Abs(a.value), math.Abs(b.value)))
		if d := math.Abs(a.value - b.value); d > 0 && d >= width {
			return true
		}
	}
	return false
}

func members(all []figure) []shadow.Member {
	out := make([]shadow.Member, len(all))
	for i, f := range all {
		out[i] = shadow.Member{Key: f.name, Value: f.number()}
	}
	return out
}

// Report is what was last reported of use. It holds on to it while nothing
// changes by more than the dead band, and for some time after it changed, so that
// measurements don't drown what a weak link has to carry. The zero Report has
// reported nothing.
type Report struct {
	at    time.Time
	parts [][]figure
	value *shadow.Value
}

// Value returns it as a member usage; nil for nothing.
func (r *Report) Value() *shadow.Value { return r.value }

// Known tells whether anything was taken.
func (r *Report) Known() bool { return !r.at.IsZero() }

// Settings of reports.
type Settings struct {
	Every time.Duration // at least between two
	Band  float64       // from 0 to 1
}

// Application takes what was measured of an application and tells whether what is
// reported changed.
func (r *Report) Application(now time.Time, a Application, s Settings) bool {
	figures := a.figures()
	if a.Running && !a.Settled {
		return false // the next sample knows all of it
	}
	return r.take(now, s, [][]figure{figures}, func() *shadow.Value {
		m := members(figures)
		if len(m) == 0 {
			return nil
		}
		if a.Disk != nil && a.Disk.Partial {
			m = append(m, shadow.Member{Key: "diskPartial", Value: shadow.Flag(true)})
		}
		return shadow.NewObject(m...)
	})
}

// Node takes what was measured of the node and tells whether what is reported
// changed.
func (r *Report) Node(now time.Time, n Node, s Settings) bool {
	if !n.Settled {
		return false
	}
	parts := [][]figure{n.figures()}
	for _, f := range n.FileSystems {
		parts = append(parts, f.figures())
	}
	return r.take(now, s, parts, func() *shadow.Value {
		systems := make([]shadow.Member, len(n.FileSystems))
		for i, f := range n.FileSystems {
			m := members(f.figures())
			if f.ReadOnly {
				m = append(m, shadow.Member{Key: "readOnly", Value: shadow.Flag(true)})
			}
			systems[i] = shadow.Member{Key: f.Path, Value: shadow.NewObject(m...)}
		}
		return shadow.NewObject(append(members(parts[0]), shadow.Member{Key: "fileSystems", Value: shadow.NewObject(systems...)})...)
	})
}

func (r *Report) take(now time.Time, s Settings, parts [][]figure, value func() *shadow.Value) bool {
	if !r.at.IsZero() {
		since := now.Sub(r.at)
		if early := since >= 0 && since < s.Every; early && r.shaped(parts) || r.same(parts, s.Band) {
			return false
		}
	}
	r.at, r.parts, r.value = now, parts, value()
	return true
}

// shaped tells whether the same figures are there, whatever their values: what
// begins to run, or ends, is told at once.
func (r *Report) shaped(parts [][]figure) bool {
	return slices.EqualFunc(parts, r.parts, func(a, b []figure) bool {
		return slices.EqualFunc(a, b, func(x, y figure) bool { return x.name == y.name })
	})
}

func (r *Report) same(parts [][]figure, band float64) bool {
	if len(parts) != len(r.parts) {
		return false
	}
	for i := range parts {
		if differ(r.parts[i], parts[i], band) {
			return false
		}
	}
	return true
}
