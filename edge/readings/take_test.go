package readings

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/filesys/crashfs"
)

// perFill is how many points a slot of fill has, of which a segment takes few.
const perFill = 1000 * 7

// fill puts so many slots, within a minute. Their values are such as take much room.
// It returns the times of those.
func (r *rig) fill(slots int) (times []time.Time) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	for range slots {
		r.clock = r.clock.Add(100 * time.Millisecond)
		rows := r.slot(1000, items7...)
		for i := range rows.Rows {
			for j := range rows.Rows[i].Values {
				rows.Rows[i].Values[j] = good(random.Int64N(1e17))
			}
		}
		if err := r.Put(rows); err != nil && !errors.Is(err, ErrHeld) {
			r.t.Fatal(err)
		}
		times = append(times, r.clock)
	}
	return times
}

// Whatever was put is told once there is time for it, however much it was, how
// lately, and by whatever clock.
func TestStore_TakesAll(t *testing.T) {
	tests := map[string]func(r *rig){
		"more than is looked through for fresh rows": func(*rig) {},
		"by a clock that was ahead":                  func(r *rig) { r.clock = r.clock.Add(-72 * time.Hour) },
		"by a clock that was ahead, and some an hour ago": func(r *rig) {
			r.clock = r.clock.Add(-72 * time.Hour)
			r.put(r.slot(10, items7...))
			r.clock = r.clock.Add(freshFor)
		},
		"with a restart since": func(r *rig) {
			if err := r.Close(); err != nil {
				r.t.Fatal(err)
			}
			r.open()
		},
	}
	for name, since := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.fill(55)
			if len(r.segments) < freshSegments+3 {
				t.Fatalf("%d segments", len(r.segments))
			}
			since(r)
			r.clock = r.clock.Add(DefaultTerms.MaxDelay)
			all := r.Status().Unsent
			if told := r.tell(1 << 20); told != all || r.Status().Unsent != 0 {
				t.Errorf("%d points are told of %d, and the status is %+v", told, all, r.Status())
			}
		})
	}
}

// What can't be read for now keeps nothing else from being told, nor from being
// written, and is told when it can be read again.
func TestStore_Unreadable(t *testing.T) {
	for name, later := range map[string]time.Duration{"fresh": DefaultTerms.MaxDelay, "waited": 2 * freshFor} {
		t.Run(name, func(t *testing.T) {
			disk := crashfs.New(1)
			r := newRig(t, Config{FS: disk.Mount()})
			r.fill(20)
			r.clock = r.clock.Add(later)
			first := r.segments[0]
			all, ill := r.Status().Unsent, first.openPoints
			disk.Spoil(first.name(), unix.EIO)
			if told := r.tell(1 << 20); told != all-ill {
				t.Errorf("%d points are told of %d that can be read, and %d that can't", told, all-ill, ill)
			}
			p, next := r.Take(8 << 10)
			if p != nil || !next.Equal(r.clock.Add(unreadable)) {
				t.Fatalf("the rest is %+v, and is due in %v", p, next.Sub(r.clock))
			}
			disk.Spoil(first.name(), nil)
			if p, _ = r.Take(8 << 10); p != nil {
				t.Error("it is read all the time")
			}
			r.clock = next
			if told := r.tell(1 << 20); told != ill || r.Status().Unsent != 0 {
				t.Errorf("%d points are told of %d that can be read again", told, ill)
			}
		})
	}
	t.Run("written", func(t *testing.T) {
		disk := crashfs.New(1)
		r := newRig(t, Config{FS: disk.Mount()})
		slots := r.fill(1)
		first := r.segments[0]
		disk.Spoil(first.name(), unix.EIO)
		disk.Trouble(0, unix.EIO) // its file can't be appended to any more
		slots = append(slots, r.fill(30)...)
		if s := r.Status(); s.Held > segmentBytes+100<<10 || s.Dropped > 0 || s.Fault == nil {
			t.Errorf("%+v", s)
		}
		disk.Spoil(first.name(), nil)
		r.clock = r.clock.Add(unreadable)
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
		disk.Restart()
		r.cfg.FS = disk.Mount()
		r.open()
		if s := r.Status(); s.Points != len(slots)*perFill || s.SetAside > 0 {
			t.Errorf("of %d slots: %+v", len(slots), s)
		}
	})
}
