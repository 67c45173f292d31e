package readings

import (
	"math/rand/v2"
	"testing"
	"time"
)

// fill puts rows until there are so many segments, all within a minute. Their values
// are such as take much room.
func (r *rig) fill(segments int) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	for len(r.segments) < segments {
		r.clock = r.clock.Add(100 * time.Millisecond)
		rows := r.slot(1000, items7...)
		for i := range rows.Rows {
			for j := range rows.Rows[i].Values {
				rows.Rows[i].Values[j] = good(random.Int64N(1e17))
			}
		}
		r.put(rows)
	}
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
			r.fill(freshSegments + 3)
			since(r)
			r.clock = r.clock.Add(DefaultTerms.MaxDelay)
			all := r.Status().Unsent
			if told := r.tell(1 << 20); told != all || r.Status().Unsent != 0 {
				t.Errorf("%d points are told of %d, and the status is %+v", told, all, r.Status())
			}
		})
	}
}
