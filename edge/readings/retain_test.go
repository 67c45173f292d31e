package readings

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/collect"
	"gnomon/edge/filesys/crashfs"
)

// times are when rows are kept of, in order.
func (r *rig) times() (all []time.Time) {
	r.t.Helper()
	found, more, err := r.Find(context.Background(), Query{Meter: "202600000001"})
	if err != nil || more {
		r.t.Fatalf("find: %v, more %v", err, more)
	}
	for _, f := range found {
		all = append(all, f.At)
	}
	return all
}

// On a full disk and without a cloud the oldest goes: what is kept is what came last.
func TestStore_FullDisk(t *testing.T) {
	disk := crashfs.New(1)
	r := newRig(t, Config{FS: disk.Mount()})
	slots := r.fill(25)
	began := r.Status().Bytes
	disk.Limit(0)
	for range 2 {
		slots = append(slots, r.fill(25)...)
		s, kept := r.Status(), r.times()
		if s.Held > maxHeld+segmentBytes || s.Bytes < began-2*segmentBytes || s.Dropped != int64(len(slots)*perFill-s.Points) {
			t.Fatalf("of %d points: %+v, %+v", len(slots)*perFill, s, s.Fault)
		}
		// The oldest segment may begin within a slot.
		if n := s.Points/perFill - 1; len(kept) < n || !slices.EqualFunc(kept[len(kept)-n:], slots[len(slots)-n:], time.Time.Equal) {
			t.Fatalf("%d slots are kept, from %v on, and not the last %d of those until %v", len(kept), kept[0], n, r.clock)
		}
	}
	before := r.Status()
	disk.Limit(-1)
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	disk.Restart()
	r.cfg.FS = disk.Mount()
	r.open()
	if s := r.Status(); s.Points != before.Points || s.SetAside > 0 {
		t.Errorf("after a restart %+v, before it %+v", s, before)
	}
}

// Where dropping makes no room, because others take it, little is dropped in vain,
// be it what the cloud has or what it lacks.
func TestStore_FullForever(t *testing.T) {
	t.Run("the cloud has it", func(t *testing.T) { fullForever(t, 1<<20) })
	t.Run("the cloud lacks it", func(t *testing.T) { fullForever(t, 0) })
}

func fullForever(t *testing.T, told int) {
	disk := crashfs.New(1)
	r := newRig(t, Config{FS: disk.Mount()})
	r.fill(30)
	r.clock = r.clock.Add(time.Minute)
	r.tell(told)
	began := len(r.segments)
	disk.Refuse(unix.ENOSPC)
	r.fill(35) // more than is held, again and again
	left := slices.IndexFunc(r.segments, func(seg *segment) bool { return seg.synced == 0 })
	if s := r.Status(); left < began-2 || s.Dropped == 0 || s.Held > maxHeld+segmentBytes {
		t.Errorf("of %d segments %d are left: %+v", began, left, s)
	}
	oldest := r.segments[0].number
	r.clock = r.clock.Add(vainPause)
	disk.Refuse(nil)
	disk.Limit(0)
	r.fill(25)
	if s := r.Status(); r.segments[0].number == oldest || s.Held > maxHeld+segmentBytes {
		t.Errorf("an hour later dropping would make room: %+v", s)
	}
}

// What the cloud has is no gap when it is dropped, and ends no back-fill of what was
// before it.
func TestStore_DroppedBetween(t *testing.T) {
	disk := crashfs.New(1)
	r := newRig(t, Config{FS: disk.Mount()})
	slots := r.fill(20)
	missed := slots[0].Add(10 * time.Millisecond)
	gaps := func(at ...time.Time) int {
		t.Helper()
		all, err := r.Gaps(collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7}, Slots: at, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	second := r.segments[1]
	for number, i := range r.infos(second) {
		second.settle(number, i.points)
	}
	disk.Limit(0)
	r.fill(1)
	if s := r.Status(); r.find(second.number) != nil || s.Dropped > 0 {
		t.Fatalf("what the cloud has made no room: %+v", s)
	}
	if n := gaps(append(slots, missed)...); n != 1 {
		t.Errorf("%d gaps, there is one, before what was dropped", n)
	}
	first := r.segments[0]
	for number, i := range r.infos(first) {
		first.settle(number, i.points)
	}
	for r.find(first.number) != nil {
		r.fill(1)
	}
	disk.Limit(-1)
	r.fill(20) // what was dropped goes with the next segment
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	if n := gaps(append(slots, missed)...); n != 0 {
		t.Errorf("%d gaps, of times that were dropped for want of room", n)
	}
}

// What the cloud has and was dropped between kept segments is no gap after a restart,
// either, whatever becomes of the segment that says so; what was never read is one.
func TestStore_DroppedBetweenRestart(t *testing.T) {
	disk := crashfs.New(1)
	r := newRig(t, Config{FS: disk.Mount()})
	slots := r.fill(20)
	r.clock = r.clock.Add(3 * 24 * time.Hour) // of the segment that is dropped, too
	off := r.clock.Add(-24 * time.Hour)
	slots = append(slots, r.fill(20)...)
	missed := []time.Time{slots[0].Add(time.Minute), off}
	gaps := func(when string) {
		t.Helper()
		want := collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7, "202600000300": items7}, Limit: 1000}
		want.Slots = append(append(want.Slots, missed...), slots...)
		all, err := r.Gaps(want)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 4 || !all[0].At.Equal(missed[0]) || !all[3].At.Equal(missed[1]) {
			t.Errorf("%s: %d gaps, there are those of two slots: %+v", when, len(all), all)
		}
	}
	restart := func() {
		t.Helper()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r.open()
	}
	told := func(seg *segment) { // the cloud has all of it
		for number, i := range r.infos(seg) {
			if seg.settle(number, i.points) {
				r.marks = append(r.marks, run{seg.number, number, 1})
			}
		}
	}
	// Two go; then all but the oldest, those that remember among them.
	first := r.segments[0].number
	for _, goes := range []int{2, len(r.segments) + 2} {
		for range goes {
			number := r.segments[1].number
			told(r.segments[1])
			r.bytes = r.size() - 1
			if err := r.Save(); err != nil {
				t.Fatal(err)
			}
			r.bytes = DefaultBytes
			if r.find(number) != nil || r.segments[0].number != first || r.Status().Dropped > 0 {
				t.Fatalf("what the cloud has made no room: %+v", r.Status())
			}
			gaps("before a restart")
			slots = append(slots, r.fill(4)...)
		}
		restart()
		gaps("after it")
	}
	// The bound of all segments, and no power right after it.
	told(r.segments[1])
	r.bytes = r.size() - 1
	number := r.segments[1].number
	if err := r.Save(); err != nil || r.find(number) != nil {
		t.Fatalf("it is over the bound, and %v", err)
	}
	disk.Restart()
	r.cfg.FS = disk.Mount()
	r.open()
	gaps("after a power cut")
}
