package readings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/filesys/crashfs"
	"gnomon/schema/reading"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// cell is one value.
type cell struct {
	policy, meter, item string
	slot                int
}

func (c cell) at() time.Time { return noon.Add(time.Duration(c.slot) * 15 * time.Minute) }

// machine is a store beside what may be found in it.
type machine struct {
	t     *rapid.T
	disk  *crashfs.Disk
	store *Store
	clock time.Time

	may   map[cell][]reading.Value // what a value may be; absent too unless it was acknowledged
	must  map[cell]bool            // it was
	cloud map[cell]reading.Value   // what the cloud was told
	held  map[cell]bool            // what it was told while that was in memory alone
	n     int64
}

func good(n int64) reading.Value {
	number, _ := reading.ParseNumber(fmt.Sprint(n))
	return reading.Value{State: reading.Good, Number: number}
}

func (m *machine) put(t *rapid.T) {
	m.clock = m.clock.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "minutes")) * time.Minute)
	rows := collect.Rows{Policy: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "policy"), Version: rapid.Uint64Range(1, 2).Draw(t, "version")}
	rows.Items = rapid.SampledFrom([][]string{{"V"}, {"V", "I", "E"}, {"E", "V"}}).Draw(t, "items")
	values := make(map[cell][]reading.Value)
	for range rapid.IntRange(1, 8).Draw(t, "rows") {
		c := cell{policy: rows.Policy, meter: fmt.Sprint("m", rapid.IntRange(1, 4).Draw(t, "meter")), slot: rapid.IntRange(0, 6).Draw(t, "slot")}
		r := reading.Row{Meter: c.meter, At: c.at(), Arrived: m.clock, Source: reading.Cycle}
		for _, c.item = range rows.Items {
			m.n++
			v := rapid.SampledFrom([]reading.Value{good(m.n), good(m.n), {State: reading.Missing, Reason: "timeout"}, {State: reading.Missing, Reason: noData}, {}}).Draw(t, "value")
			r.Values = append(r.Values, v)
			if v.State != reading.Absent {
				values[c] = append(values[c], v)
			}
		}
		rows.Rows = append(rows.Rows, r)
	}
	err := m.store.Put(rows)
	if err != nil && !errors.Is(err, ErrHeld) {
		t.Fatalf("put: %v", err)
	}
	for c, all := range values {
		had := m.may[c]
		if m.must[c] && len(had) == 1 && had[0].State == reading.Good {
			continue // it is told once
		}
		m.may[c] = append(had, all...)
		if err == nil {
			m.must[c] = true
		}
	}
	if err == nil {
		m.settled()
	}
}

// settled: what was acknowledged and is good is that value for ever.
func (m *machine) settled() {
	found := m.found()
	for c := range m.must {
		if v := found[c]; v.State == reading.Good {
			m.may[c] = []reading.Value{v}
		}
	}
}

func (m *machine) found() map[cell]reading.Value {
	all, more, err := m.store.Find(context.Background(), Query{})
	if err != nil || more {
		m.t.Fatalf("find: %v, more %v", err, more)
	}
	out := make(map[cell]reading.Value)
	for _, f := range all {
		for _, v := range f.Values {
			out[cell{f.Policy, f.Meter, v.Item, int(f.At.Sub(noon) / (15 * time.Minute))}] = v.Value
		}
	}
	return out
}

// send takes what is due and tells the cloud, which may or may not answer.
func (m *machine) send(t *rapid.T) {
	m.clock = m.clock.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "minutes")) * time.Minute)
	p, _ := m.store.Take(rapid.IntRange(1, 2000).Draw(t, "bytes"))
	if p == nil {
		return
	}
	m.tell(p)
	if rapid.Bool().Draw(t, "answered") {
		m.store.Done(p, nil)
	} else {
		m.store.Return(p)
	}
}

// tell is the cloud, whose store is idempotent.
func (m *machine) tell(p *Parcel) {
	text, err := p.Batch.Append(nil)
	if err != nil {
		m.t.Fatalf("what is to be told is no batch: %v", err)
	}
	b, err := reading.Decode(text)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range b.Rows {
		for i, v := range r.Values {
			c := cell{b.Policy, r.Meter, b.Items[i], int(r.At.Sub(noon) / (15 * time.Minute))}
			if v.State != reading.Absent && (!m.must[c] || m.store.Status().Fault != nil) {
				m.held[c] = true // after a power cut it may come again, and be another
			}
			if had := m.cloud[c]; v.State != reading.Absent && had.State != reading.Good {
				m.cloud[c] = v
			} else if v.State == reading.Good && had != v && !m.held[c] {
				m.t.Fatalf("%v was told as %v, and then as %v", c, had, v)
			}
		}
	}
}

func (m *machine) save(*rapid.T) { _ = m.store.Save() }

func (m *machine) trouble(t *rapid.T) {
	m.disk.Trouble(rapid.IntRange(0, 12).Draw(t, "operations"),
		rapid.SampledFrom([]error{nil, nil, unix.ENOSPC, unix.EIO}).Draw(t, "failure"))
}

// set has the clock be wrong, or right again.
func (m *machine) set(t *rapid.T) {
	m.clock = noon.Add(time.Duration(rapid.IntRange(0, 2*24).Draw(t, "hours")) * time.Hour)
}

// reboot loses power, whatever is under way.
func (m *machine) reboot(*rapid.T) {
	m.disk.Restart()
	m.open()
}

func (m *machine) open() {
	s := Open(Config{FS: m.disk.Mount(), Now: func() time.Time { return m.clock }})
	m.store = s
	if st := s.Status(); st.SetAside > 0 {
		m.t.Fatalf("a power cut damages nothing, and yet %d are set aside", st.SetAside)
	}
	m.check()
	// What is found is what is there from now on.
	found := m.found()
	for c := range m.may {
		if v, there := found[c]; there {
			m.may[c], m.must[c] = []reading.Value{v}, true
		} else {
			delete(m.may, c)
			delete(m.must, c)
		}
	}
}

// check compares all that is there with what may be, and the gaps with it.
func (m *machine) check() {
	found := m.found()
	points := 0
	for c, v := range found {
		points++
		if !slices.Contains(m.may[c], v) {
			m.t.Fatalf("%v is %v, it may be one of %v", c, v, m.may[c])
		}
	}
	for c := range m.must {
		if _, there := found[c]; !there {
			m.t.Fatalf("%v was acknowledged as one of %v and is gone", c, m.may[c])
		}
	}
	if st := m.store.Status(); st.Points < points || st.Unsent > st.Points || st.Unsent < 0 || (st.Unsent > 0) == st.Oldest.IsZero() {
		m.t.Fatalf("%d values are there, and the status is %+v", points, st)
	}
	m.checkGaps(found)
}

func (m *machine) checkGaps(found map[cell]reading.Value) {
	for _, policy := range []string{"p", "q"} {
		w := collect.Want{Policy: policy, Meters: map[string][]string{}, Limit: 1000}
		for slot := range 7 {
			w.Slots = append(w.Slots, cell{slot: slot}.at())
		}
		for n := range 4 {
			w.Meters[fmt.Sprint("m", n+1)] = []string{"V", "I", "E"}
		}
		gaps, err := m.store.Gaps(w)
		if err != nil {
			m.t.Fatal(err)
		}
		open := make(map[cell]bool)
		for _, g := range gaps {
			for _, item := range g.Items {
				c := cell{policy, g.Meter, item, int(g.At.Sub(noon) / (15 * time.Minute))}
				open[c] = true
				if found[c].State == reading.Missing && g.Tried == 0 {
					m.t.Fatalf("%v was asked for in vain, and never tried", c)
				}
			}
		}
		for slot := range 7 {
			for n := range 4 {
				for _, item := range []string{"V", "I", "E"} {
					c := cell{policy, fmt.Sprint("m", n+1), item, slot}
					v := found[c]
					if want := v.State != reading.Good && v.Reason != noData; open[c] != want {
						m.t.Fatalf("%v is %v, and a gap: %v", c, v, open[c])
					}
				}
			}
		}
	}
}

// drain tells the cloud all that is left: then it has what the node has.
func (m *machine) drain() {
	m.clock = m.clock.Add(time.Hour)
	for range 10_000 {
		p, next := m.store.Take(4000)
		if p == nil && next.IsZero() {
			break
		}
		if p == nil {
			m.clock = next // after the clock was set back there may be some to wait for
			continue
		}
		m.tell(p)
		m.store.Done(p, nil)
	}
	if st := m.store.Status(); st.Unsent != 0 {
		m.t.Fatalf("all is told, and %+v", st)
	}
	for c, v := range m.found() {
		if told := m.cloud[c]; told != v && told.State != v.State && !m.held[c] {
			m.t.Fatalf("%v is %v, and the cloud was told %v", c, v, told)
		}
	}
}

// TestStore_AnySequence does anything in any order, loses power before any
// operation of the disk and lets any fail, and holds what is found then against
// what was acknowledged; in the end the cloud has all of it, each value once.
func TestStore_AnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, disk: crashfs.New(rapid.Uint64().Draw(t, "seed")), clock: noon.Add(2 * time.Hour),
			may: map[cell][]reading.Value{}, must: map[cell]bool{}, cloud: map[cell]reading.Value{}, held: map[cell]bool{}}
		m.open()
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "send": m.send, "save": m.save, "trouble": m.trouble, "reboot": m.reboot, "set the clock": m.set,
			"": func(*rapid.T) {
				if m.disk.Off() {
					m.reboot(nil)
				}
				m.check()
			},
		})
		m.reboot(t)
		m.drain()
	})
}
