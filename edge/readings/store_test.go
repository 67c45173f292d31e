package readings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gnomon/edge/collect"
	"gnomon/edge/filesys/crashfs"
	"gnomon/edge/state"
	"gnomon/schema/reading"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a store on a disk, and a clock that is set by hand.
type rig struct {
	t     *testing.T
	cfg   Config
	clock time.Time
	*Store
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, cfg: cfg, clock: noon}
	if r.cfg.Dir == "" && r.cfg.FS == nil {
		r.cfg.Dir = t.TempDir()
	}
	r.cfg.Now = func() time.Time { return r.clock }
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	r.Store = Open(r.cfg)
}

// slot are the rows of so many meters at the clock's time.
func (r *rig) slot(meters int, items ...string) collect.Rows {
	rows := collect.Rows{Policy: "p", Version: 1, Items: items}
	for m := range meters {
		row := reading.Row{Meter: fmt.Sprintf("%012d", 202600000001+m), At: r.clock, Arrived: r.clock, Source: reading.Cycle}
		for i := range items {
			row.Values = append(row.Values, good(int64(m*7919+i*104729+r.clock.Minute())%100_000))
		}
		rows.Rows = append(rows.Rows, row)
	}
	return rows
}

func (r *rig) put(rows collect.Rows) {
	r.t.Helper()
	if err := r.Put(rows); err != nil {
		r.t.Fatal(err)
	}
}

// tell has the cloud take what waits, at most so many batches.
func (r *rig) tell(batches int) (points int) {
	for range batches {
		p, _ := r.Take(8 << 10)
		if p == nil {
			break
		}
		points += p.Points
		r.Done(p, nil)
	}
	return points
}

var items7 = []string{"V", "I", "P", "PF", "Q", "E", "F"}

// Over the bound the oldest that the cloud has go first, then the oldest; what it
// never had is counted, and its slots are no gaps, so that nobody reads them again.
func TestStore_Bound(t *testing.T) {
	r := newRig(t, Config{Bytes: 2 << 20})
	var slots []time.Time
	fill := func(until func() bool) {
		for !until() {
			r.put(r.slot(300, items7...))
			slots = append(slots, r.clock)
			r.clock = r.clock.Add(15 * time.Minute)
		}
	}
	fill(func() bool { return len(r.segments) >= 3 })
	r.clock = r.clock.Add(2 * time.Hour)
	told := r.tell(1 << 20)
	s := r.Status()
	if told != s.Points || s.Unsent != 0 {
		t.Fatalf("%d points are told, and the status is %+v", told, s)
	}
	fill(func() bool { return r.Status().Points < len(slots)*300*7 })
	if s = r.Status(); s.Dropped != 0 || s.Bytes > 2<<20 || s.Unsent == 0 {
		t.Fatalf("what the cloud has is to go first: %+v", s)
	}
	fill(func() bool { return r.Status().Dropped > 0 })
	if s = r.Status(); s.Points != s.Unsent || s.Bytes > 2<<20 {
		t.Fatalf("something that the cloud had is left: %+v", s)
	}
	if r.keptOfFirst() == 0 {
		t.Fatal("nothing is left")
	}
	for range 2 {
		gaps, err := r.Gaps(collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7}, Slots: slots, Limit: 10})
		if err != nil || len(gaps) > 0 {
			t.Fatalf("gaps %+v, %v", gaps, err)
		}
		r.put(r.slot(300, items7...)) // the horizon goes with the next segment
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		slots = slots[len(slots)-5:]
		r.open()
	}
}

func (r *rig) keptOfFirst() int {
	all, _, err := r.Find(context.Background(), Query{Policy: "p", Meter: "202600000001"})
	if err != nil {
		r.t.Fatal(err)
	}
	return len(all)
}

// Age drops what the cloud has, and nothing else, however the clock jumps.
func TestStore_Age(t *testing.T) {
	keep := 48 * time.Hour
	r := newRig(t, Config{Terms: func(string) Terms { return Terms{Batch: 200, MaxDelay: time.Minute, Keep: keep} }})
	for len(r.segments) < 3 {
		r.put(r.slot(300, items7...))
		r.clock = r.clock.Add(15 * time.Minute)
	}
	r.clock = r.clock.AddDate(70, 0, 0)
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Points != s.Unsent || s.Dropped > 0 || len(r.segments) != 3 {
		t.Fatalf("a jump of the clock drops what the cloud lacks: %+v", s)
	}
	r.clock = r.clock.AddDate(-70, 0, 0).Add(2 * time.Hour)
	r.tell(1 << 20)
	if err := r.Save(); err != nil || len(r.segments) != 3 {
		t.Fatalf("%d segments are left before their days are over, %v", len(r.segments), err)
	}
	r.clock = r.clock.Add(keep + time.Hour)
	if err := r.Save(); err != nil || len(r.segments) != 1 { // the one that is written to
		t.Fatalf("%d segments are left when their days are over, %v", len(r.segments), err)
	}
}

// What was read and is kept no longer is no gap; what was missed since is one.
func TestStore_GapsKept(t *testing.T) {
	r := newRig(t, Config{})
	want := collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7}, Limit: 1000}
	for n := range 12 * 24 {
		if n%24 != 7 {
			r.put(r.slot(1, items7...))
			r.tell(1)
		}
		want.Slots = append(want.Slots, r.clock)
		r.clock = r.clock.Add(time.Hour)
	}
	gaps, err := r.Gaps(want)
	if err != nil || len(gaps) != 7 || gaps[0].At.Before(r.clock.Add(-DefaultTerms.Keep)) {
		t.Errorf("%d gaps of 7 that are kept, %+v, %v", len(gaps), gaps, err)
	}
}

// Damage is set aside, the rest of the file is read, and the cloud gets all of it.
func TestStore_Damaged(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Config{Dir: dir})
	for range 20 {
		r.put(r.slot(50, items7...))
		r.clock = r.clock.Add(15 * time.Minute)
	}
	all := r.Status().Points
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, r.segments[0].name())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{len(text) / 3, len(text) / 2} {
		text[at] ^= 0x40
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	s := r.Status()
	if s.SetAside != 1 || s.Points != all-2*50*7 || s.Unsent != s.Points {
		t.Fatalf("two frames of 50 rows are damaged, of %d points: %+v", all, s)
	}
	if bad, err := os.ReadFile(filepath.Join(dir, badPrefix+r.segments[0].name())); err != nil || len(bad) != len(text) {
		t.Errorf("what was damaged isn't kept: %v", err)
	}
	r.clock = r.clock.Add(2 * time.Hour)
	if told := r.tell(1000); told != s.Points {
		t.Errorf("%d points are told of %d", told, s.Points)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	if s := r.Status(); s.SetAside != 0 || s.Unsent != 0 {
		t.Errorf("it was made good, and is %+v", s)
	}
	gaps, err := r.Gaps(collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7}, Slots: []time.Time{noon}, Limit: 9})
	if err != nil || len(gaps) != 0 {
		t.Errorf("gaps %+v, %v", gaps, err)
	}
	// A segment of which nothing can be made out.
	if err := os.WriteFile(filepath.Join(dir, "seg-00000000000000ff"), []byte(strings.Repeat("rubbish", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	r.open()
	if s := r.Status(); s.SetAside != 1 || s.Points == 0 {
		t.Errorf("rubbish is %+v", s)
	}
}

// Where nothing can be written collection goes on in memory, within a bound: it is
// said, told to the cloud from there, and written when the disk lets it.
func TestStore_Held(t *testing.T) {
	disk := crashfs.New(1)
	disk.Refuse(unix.EROFS)
	r := newRig(t, Config{FS: disk.Mount()})
	for range 8 {
		if err := r.Put(r.slot(300, items7...)); !errors.Is(err, ErrHeld) || !errors.Is(err, unix.EROFS) {
			t.Fatalf("on a read-only disk: %v", err)
		}
		r.clock = r.clock.Add(15 * time.Minute)
	}
	s := r.Status()
	if s.Fault == nil || s.Fault.Code != state.CodeReadOnly || s.Held == 0 || s.Points != 8*300*7 || !s.Fault.Since.Equal(noon) {
		t.Fatalf("%+v, %+v", s, s.Fault)
	}
	r.clock = r.clock.Add(2 * time.Hour)
	if told := r.tell(1000); told != s.Points {
		t.Errorf("%d points of %d are told from memory", told, s.Points)
	}
	for r.Status().Dropped == 0 {
		if err := r.Put(r.slot(300, items7...)); !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
		r.clock = r.clock.Add(15 * time.Minute)
		if held := r.Status().Held; held > maxHeld+segmentBytes {
			t.Fatalf("%d bytes are held", held)
		}
	}
	gaps, err := r.Gaps(collect.Want{Policy: "p", Meters: map[string][]string{"202600000001": items7}, Slots: []time.Time{r.clock.Add(-15 * time.Minute)}, Limit: 9})
	if err != nil || len(gaps) != 0 {
		t.Errorf("the latest is a gap: %+v, %v", gaps, err)
	}
	disk.Refuse(nil)
	before := r.Status()
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Fault != nil || s.Held != 0 || s.Points != before.Points {
		t.Errorf("the disk is well again: %+v", s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	if s := r.Status(); s.Points != before.Points || s.Unsent != before.Unsent {
		t.Errorf("after a restart %+v, before it was %+v", s, before)
	}
}

// A directory that can't be made, or is something else, keeps no agent from starting,
// and is made when it can be.
func TestStore_NoDirectory(t *testing.T) {
	above := filepath.Join(t.TempDir(), "above")
	if err := os.WriteFile(above, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Config{Dir: filepath.Join(above, "readings")})
	if err := r.Put(r.slot(3, "V")); !errors.Is(err, ErrHeld) {
		t.Fatalf("put where no directory can be: %v", err)
	}
	if s := r.Status(); s.Points != 3 || s.Fault == nil {
		t.Fatalf("%+v", s)
	}
	if err := os.Remove(above); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Fault != nil {
		t.Fatalf("%+v", s.Fault)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	if s := r.Status(); s.Points != 3 {
		t.Fatalf("%+v", s)
	}
	file := filepath.Join(t.TempDir(), "readings")
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = newRig(t, Config{Dir: file})
	r.put(r.slot(3, "V"))
	if s := r.Status(); s.Points != 3 || s.Fault != nil {
		t.Fatalf("in place of a file: %+v, %+v", s, s.Fault)
	}
}

// A week of 1,000 meters and seven items takes little memory, and little time to
// begin with.
func TestStore_Memory(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads a week of readings")
	}
	const days = 7
	r := newRig(t, Config{Dir: t.TempDir()})
	for range days * 96 {
		r.put(r.slot(1000, items7...))
		r.clock = r.clock.Add(15 * time.Minute)
	}
	s := r.Status()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Store = nil
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, began := heap(), time.Now()
	r.open()
	took := time.Since(began)
	used := heap() - before
	t.Logf("%d points are %d bytes on disk, %.1f MB of heap, the index %d, read in %v", s.Points, s.Bytes, float64(used)/1e6, r.index.bytes, took)
	if used > 4<<20 || r.index.bytes > 4<<20 {
		t.Errorf("they take %d bytes of heap", used)
	}
	if got := r.Status(); got.Points != days*96*1000*7 || got.Points != s.Points || got.Dropped != 0 {
		t.Errorf("%+v", got)
	}
	runtime.KeepAlive(r.Store)
}

// What is asked for is found in order, page by page, with what came later laid over
// what came first; the latest is found item by item.
func TestStore_Find(t *testing.T) {
	r := newRig(t, Config{})
	for range 10 {
		r.put(r.slot(5, "V", "I"))
		r.clock = r.clock.Add(15 * time.Minute)
	}
	last := r.clock.Add(-15 * time.Minute)
	vain := reading.Value{State: reading.Missing, Reason: "timeout"}
	row := reading.Row{Meter: "202600000001", At: last.Add(time.Minute), Arrived: r.clock, Source: reading.Cycle, Values: []reading.Value{vain, vain}}
	r.put(collect.Rows{Policy: "p", Version: 1, Items: []string{"V", "E"}, Rows: []reading.Row{row}})
	row.Values, row.Source, row.Arrived = []reading.Value{good(5), {}}, reading.BackFill, r.clock.Add(time.Minute)
	r.put(collect.Rows{Policy: "p", Version: 1, Items: []string{"V", "E"}, Rows: []reading.Row{row}})
	ctx := context.Background()
	all, more, err := r.Find(ctx, Query{Policy: "p", Meter: "202600000001", From: last})
	if err != nil || more || len(all) != 2 || all[1].Value("V") != good(5) || all[1].Value("E") != vain || all[1].Source != reading.BackFill {
		t.Fatalf("%+v, %v, %v", all, more, err)
	}
	var pages, rows int
	q := Query{Limit: 7}
	for more = true; more; pages++ {
		if all, more, err = r.Find(ctx, q); err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if i > 0 && all[i-1].compare(&all[i]) >= 0 {
				t.Fatal("not in order")
			}
		}
		rows += len(all)
		if more {
			next := all[len(all)-1].Place()
			q.After = &next
		}
	}
	if rows != 51 || pages != 8 {
		t.Errorf("%d rows on %d pages", rows, pages)
	}
	latest, err := r.Latest(ctx, "p", "202600000001", nil)
	if err != nil || len(latest) != 3 || *latest["V"].Value != good(5).Number || !latest["I"].At.Equal(last) || latest["E"].Reason != "timeout" {
		t.Errorf("%+v, %v", latest, err)
	}
	if none, err := r.Latest(ctx, "p", "nobody", nil); err != nil || len(none) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := r.Find(canceled, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more, and %v", err)
	}
}

// FuzzFrames: no segment, however damaged, ends the agent or makes up rows.
func FuzzFrames(f *testing.F) {
	dir := f.TempDir()
	s := Open(Config{Dir: dir, Now: func() time.Time { return noon }})
	r := &rig{clock: noon, Store: s}
	for range 3 {
		if err := r.Put(r.slot(3, "V", "I")); err != nil {
			f.Fatal(err)
		}
		r.clock = r.clock.Add(time.Minute)
	}
	if p, _ := r.Take(1); p != nil {
		r.Done(p, nil)
	}
	if err := r.Close(); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "seg-0000000000000001"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		disk := crashfs.New(1)
		disk.Plant("seg-0000000000000001", text)
		s := Open(Config{FS: disk.Mount(), Now: func() time.Time { return noon.Add(3 * time.Hour) }})
		before := s.Status()
		if _, _, err := s.Find(context.Background(), Query{}); err != nil {
			t.Fatal(err)
		}
		for {
			p, _ := s.Take(100)
			if p == nil {
				break
			}
			s.Done(p, nil)
		}
		if st := s.Status(); st.Unsent != 0 || st.Points > before.Points {
			t.Fatalf("%+v, before %+v", st, before)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
