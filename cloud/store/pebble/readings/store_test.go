package readings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	"gnomon/schema/reading"
)

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// In memory, because the model test opens some thousand stores.
func TestStore(t *testing.T) {
	var mu sync.Mutex
	disks := map[string]vfs.FS{}
	readingstest.Run(t, func(t testing.TB, dir string) readingstest.Store {
		mu.Lock()
		defer mu.Unlock()
		if disks[dir] == nil {
			disks[dir] = vfs.NewMem()
		}
		return open(t, Config{Dir: dir, FS: disks[dir], MemTable: 256 << 10})
	})
}

func TestStore_OnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	stop := readingstest.Start(t, s)
	told := batch("n", 40, 96, 0)
	readingstest.Put(t, s, told)
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("a directory in use is opened again")
	}
	stop()
	s = open(t, Config{Dir: dir})
	readingstest.Start(t, s)
	if n := count(t, s); n != 40*96 {
		t.Errorf("%d rows, want %d", n, 40*96)
	}
}

// batch is of some meters and slots, five items each.
func batch(node string, meters, slots, from int) readings.Told {
	b := &reading.Batch{ID: 1, Policy: "curve", Version: 1, Items: []string{"E", "I", "P", "PF", "V"}}
	for s := range slots {
		at := readingstest.Day.Add(time.Duration(from+s) * 15 * time.Minute)
		for m := range meters {
			r := reading.Row{Meter: fmt.Sprintf("m%06d", m), At: at, Arrived: at.Add(40 * time.Second), Source: reading.Cycle}
			for i := range b.Items {
				r.Values = append(r.Values, reading.Value{State: reading.Good, Number: reading.Number{Mantissa: int64(220000 + (m*7+s*13+i*101)%5000), Exponent: -2}})
			}
			b.Rows = append(b.Rows, r)
		}
	}
	return readings.Told{Node: node, Batch: b, Stored: readingstest.Day.Add(time.Hour)}
}

func count(t testing.TB, s *Store) (n int) {
	t.Helper()
	q := readings.Scan{Policy: readings.Policy{Node: "n", Name: "curve"}, From: readingstest.Day.AddDate(-1, 0, 0), To: readingstest.Day.AddDate(1, 0, 0)}
	if err := s.Scan(context.Background(), q, func(*readings.Row) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// What was reported done is there after the power was cut, whatever else is.
func TestStore_PowerCut(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, Config{Dir: "d", FS: disk})
	stop := readingstest.Start(t, s)
	for i := range 20 {
		readingstest.Put(t, s, batch("n", 3, 1, i))
	}
	after := disk.CrashClone(vfs.CrashCloneCfg{})
	stop()
	again := open(t, Config{Dir: "d", FS: after})
	readingstest.Start(t, again)
	if n := count(t, again); n != 60 {
		t.Errorf("%d rows after a power cut, want 60", n)
	}
}

// A disk that fails breaks the store, which says so from then on.
func TestStore_BrokenDisk(t *testing.T) {
	disk := &failing{}
	s := open(t, Config{Dir: "d", FS: errorfs.Wrap(vfs.NewMem(), disk)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	readingstest.Put(t, s, batch("n", 1, 1, 0))
	disk.on.Store(true)
	done := make(chan error, 1)
	if err := s.Submit(ctx, batch("n", 1, 1, 1), func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, readings.ErrBroken) {
		t.Fatalf("done: %v, want ErrBroken", err)
	}
	if err := s.Submit(ctx, batch("n", 1, 1, 1), func(error) {}); !errors.Is(err, readings.ErrBroken) {
		t.Errorf("Submit: %v, want ErrBroken", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, readings.ErrBroken) {
		t.Errorf("Run: %v, want ErrBroken", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Pieces come out the same however pebble puts them together, as long as the order
// in which they were told is kept.
func TestMerger_Associative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var told [][]byte
		for i := range rapid.IntRange(2, 6).Draw(rt, "pieces") {
			b := &reading.Batch{Policy: "p", Version: uint64(i), Items: []string{"b", "a"}[:rapid.IntRange(1, 2).Draw(rt, "items")]}
			for s := range 3 {
				r := reading.Row{Meter: "m", At: readingstest.Day.Add(time.Duration(s) * time.Minute), Arrived: readingstest.Day, Source: reading.Cycle}
				for range b.Items {
					v := reading.Value{State: reading.State(rapid.IntRange(0, 2).Draw(rt, "state"))}
					switch v.State {
					case reading.Good:
						v.Number.Mantissa = rapid.Int64().Draw(rt, "mantissa")
					case reading.Missing:
						v.Reason = rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "reason")
					}
					r.Values = append(r.Values, v)
				}
				b.Rows = append(b.Rows, r)
			}
			told = append(told, layOut(readings.Told{Batch: b, Stored: readingstest.Day}).pieces[0].value)
		}
		at := rapid.IntRange(0, len(told)-1).Draw(rt, "begin with")
		m, err := merger().Merge(nil, told[at])
		must(rt, err)
		for l, r := at-1, at+1; l >= 0 || r < len(told); {
			if l >= 0 && (r >= len(told) || rapid.Bool().Draw(rt, "older")) {
				must(rt, m.MergeOlder(told[l]))
				l--
			} else {
				must(rt, m.MergeNewer(told[r]))
				r++
			}
		}
		one := finish(rt, m)
		cut := rapid.IntRange(1, len(told)-1).Draw(rt, "cut")
		two := finish(rt, fold(rt, fold2(rt, told[:cut]), fold2(rt, told[cut:])))
		if a, b := rows(rt, one), rows(rt, two); a != b {
			rt.Errorf("one after the other %s, in two %s", a, b)
		}
	})
}

func fold2(t *rapid.T, told [][]byte) []byte {
	m, err := merger().Merge(nil, told[0])
	must(t, err)
	for _, v := range told[1:] {
		must(t, m.MergeNewer(v))
	}
	return finish(t, m)
}

func fold(t *rapid.T, a, b []byte) pebble.ValueMerger {
	m, err := merger().Merge(nil, a)
	must(t, err)
	must(t, m.MergeNewer(b))
	return m
}

func finish(t *rapid.T, m pebble.ValueMerger) []byte {
	v, _, err := m.Finish(true)
	must(t, err)
	return v
}

func rows(t *rapid.T, value []byte) string {
	b, err := parse(value)
	must(t, err)
	var out readings.Row
	var text bytes.Buffer
	for i := range b.rows {
		b.rows[i].fill(b, &out)
		fmt.Fprintf(&text, "%+v %v\n", out.Values, b.items)
	}
	return text.String()
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// No bytes whatever make it panic, or take more than a multiple of their size.
func FuzzParse(f *testing.F) {
	f.Add(layOut(batch("n", 1, 4, 0)).pieces[0].value)
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parse(data)
		if err != nil {
			return
		}
		again, err := parse(b.append(nil))
		if err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
		if len(again.rows) != len(b.rows) {
			t.Fatal("it has changed")
		}
	})
}

// BenchmarkSubmit is 300 meters of five items in batches of a slot each, from eight
// nodes at once, on disk.
func BenchmarkSubmit(b *testing.B) {
	s := open(b, Config{Dir: b.TempDir()})
	readingstest.Start(b, s)
	all := make([]readings.Told, 8)
	for i := range all {
		all[i] = batch(fmt.Sprintf("n%d", i), 300, 1, 0)
	}
	b.ResetTimer()
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			for n := i; n < b.N; n += len(all) {
				told := all[i]
				rows := make([]reading.Row, len(told.Batch.Rows))
				for k, r := range told.Batch.Rows {
					r.At = r.At.Add(time.Duration(n) * 15 * time.Minute)
					rows[k] = r
				}
				told.Batch = &reading.Batch{Policy: "curve", Version: 1, Items: told.Batch.Items, Rows: rows}
				readingstest.Put(b, s, told)
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*300)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(s.Bytes())/float64(b.N*300*5), "B/value")
}

// BenchmarkScan is a day of 300 meters, as completeness reads it.
func BenchmarkScan(b *testing.B) {
	s := open(b, Config{Dir: b.TempDir()})
	readingstest.Start(b, s)
	for i := range 96 {
		readingstest.Put(b, s, batch("n", 300, 1, i))
	}
	b.ResetTimer()
	for range b.N {
		if n := count(b, s); n != 300*96 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.N*300*96)/b.Elapsed().Seconds(), "rows/s")
}
