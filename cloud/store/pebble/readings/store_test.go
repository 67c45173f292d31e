package readings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	"gnomon/cloud/store/pebble/logger"
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

var quiet = slog.New(slog.DiscardHandler)

// Pieces come out the same however pebble puts them together, as long as the order
// in which they were told is kept, and though there may be more than a block has room
// for.
func TestMerger_Associative(t *testing.T) {
	few := bounds{cells: 20, items: 2, reasons: 2}
	for name, w := range map[string]pieceTest{
		"most": {within: most, apart: time.Minute}, "few": {within: few, apart: time.Minute},
		"few beside those of format 1": {within: few, apart: grid / 2},
	} {
		t.Run(name, w.associative)
	}
}

// pieceTest puts pieces of one block together, of which the rows may be so far apart.
type pieceTest struct {
	within bounds
	apart  time.Duration
}

var key1 = blockKey(nil, readings.Policy{Node: "n", Name: "p"}, place{piece: pieceOf(readingstest.Day.UnixMilli()), meter: "m"})

func (w pieceTest) associative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var told [][]byte
		for i := range rapid.IntRange(2, 6).Draw(rt, "pieces") {
			b := &reading.Batch{Policy: "p", Version: uint64(i), Items: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID[string]).Draw(rt, "items")}
			for _, s := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 1, 4, rapid.ID[int]).Draw(rt, "rows") {
				r := reading.Row{Meter: "m", At: readingstest.Day.Add(time.Duration(s) * w.apart), Arrived: readingstest.Day, Source: reading.Cycle}
				for range b.Items {
					v := reading.Value{State: reading.State(rapid.IntRange(0, 2).Draw(rt, "state"))}
					switch v.State {
					case reading.Good:
						v.Number.Mantissa = rapid.Int64().Draw(rt, "mantissa")
					case reading.Missing:
						v.Reason = rapid.SampledFrom([]string{"a", "n", "other", "x", "y"}).Draw(rt, "reason")
					}
					r.Values = append(r.Values, v)
				}
				b.Rows = append(b.Rows, r)
			}
			told = append(told, format1(rt, readings.Told{Batch: b, Stored: readingstest.Day}).append(nil))
		}
		at := rapid.IntRange(0, len(told)-1).Draw(rt, "begin with")
		m, err := w.begin(told[at])
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
		two := finish(rt, w.fold(rt, w.fold2(rt, told[:cut]), w.fold2(rt, told[cut:])))
		if a, b := rows(rt, one), rows(rt, two); a != b {
			rt.Errorf("one after the other %s, in two %s", a, b)
		}
	})
}

func (w pieceTest) begin(told []byte) (pebble.ValueMerger, error) {
	return merger(w.within, quiet).Merge(key1, told)
}

func (w pieceTest) fold2(t *rapid.T, told [][]byte) []byte {
	m, err := w.begin(told[0])
	must(t, err)
	for _, v := range told[1:] {
		must(t, m.MergeNewer(v))
	}
	return finish(t, m)
}

func (w pieceTest) fold(t *rapid.T, a, b []byte) pebble.ValueMerger {
	m, err := w.begin(a)
	must(t, err)
	must(t, m.MergeNewer(b))
	return m
}

// format1 has in one block what was told of one meter in four hours, as format 1 had it.
func format1(t rapid.TB, told readings.Told) *block {
	t.Helper()
	var all []*block
	for _, p := range layOut(told).pieces {
		b, err := parse(p.value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return merge(all, bounds{cells: math.MaxInt, items: math.MaxInt, reasons: math.MaxInt})
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
		fmt.Fprintf(&text, "%d %+v %v\n", out.At, out.Values, b.items)
	}
	return text.String()
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// A batch that is told again and again takes little more memory while it is put
// together than once.
func TestMerger_ToldAgain(t *testing.T) {
	p := &pieces{within: most}
	once := layOut(batch("n", 1, 10_000, 0)).pieces // of many pieces of time
	value := once[0].value
	for i := range 30_000 {
		if err := []func([]byte) error{p.MergeNewer, p.MergeOlder}[i%2](value); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, b := range append(p.newer, p.older...) {
			held += b.size()
		}
		if held > slack+1000 {
			t.Fatalf("told %d times it takes %d cells, once %d", i+1, held, p.newer[0].size())
		}
	}
	if got, _, err := p.Finish(true); err != nil || !bytes.Equal(got, value) {
		t.Errorf("it has changed: %d bytes, %d before, %v", len(got), len(value), err)
	}
}

// A node can't make a block that nobody has the memory for: not by rows of every
// millisecond, nor by other items each time, nor by reasons of its own.
func TestMerger_Bounded(t *testing.T) {
	for name, tell := range map[string]func(i int) *reading.Batch{
		"rows": func(i int) *reading.Batch { return dense(4000, 16, 4000*i, 0) },
		"both": func(i int) *reading.Batch { return dense(128, 500, 128*i, 500*i) },
		"reasons": func(i int) *reading.Batch {
			b := dense(500, 16, 0, 16*i)
			for r := range b.Rows {
				for k := range b.Rows[r].Values {
					b.Rows[r].Values[k] = reading.Value{State: reading.Missing, Reason: fmt.Sprintf("r%d-%d-%d", i, r, k)}
				}
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			p := &pieces{within: most, cut: func() { cuts++ }}
			for i := range 40 {
				for _, piece := range layOut(readings.Told{Batch: tell(i), Stored: readingstest.Day}).pieces {
					if _, at, _ := parseKey(piece.key); at.stretch > 1 {
						continue
					}
					if err := p.MergeNewer(piece.value); err != nil {
						t.Fatal(err)
					}
				}
			}
			value, _, err := p.Finish(true)
			if err != nil {
				t.Fatal(err)
			}
			b, err := parse(value)
			if err != nil || b.size() > most.cells || len(b.items) > most.items || len(b.reasons) > most.reasons+1 {
				t.Errorf("%d rows of %d items, for %d reasons, %v", len(b.rows), len(b.items), len(b.reasons), err)
			}
			if cut := name != "reasons"; (cuts > 0) != cut {
				t.Errorf("%d times something was left out", cuts)
			}
		})
	}
}

// Pieces of which little is new take the memory of what is new: a row that is left
// doesn't keep those that it came with.
func TestMerger_LittleNew(t *testing.T) {
	p := &pieces{within: most, cut: func() { t.Error("something was left out") }}
	begin, ends := live(), 0
	const times, bound = 100, 24 << 20 // a piece is 1 MiB of cells
	for i := range times {
		for _, piece := range layOut(readings.Told{Batch: dense(4096, 16, i, 0), Stored: readingstest.Day}).pieces {
			if err := []func([]byte) error{p.MergeNewer, p.MergeOlder}[i%2](piece.value); err != nil {
				t.Fatal(err)
			}
			ends++
		}
	}
	if grown := live() - begin; grown > bound {
		t.Errorf("%d pieces take %d MiB", ends, grown>>20)
	}
	b := p.fold()
	if want := 4096 + times - 1; ends != times || len(b.rows) != want {
		t.Errorf("%d rows of %d pieces, want %d of %d", len(b.rows), ends, want, times)
	}
}

// live is how much memory is in use.
func live() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// dense has a row for each millisecond but whole five seconds.
func dense(rows, items, row, item int) *reading.Batch {
	b := &reading.Batch{ID: 1, Policy: "curve", Version: 1}
	for i := range items {
		b.Items = append(b.Items, fmt.Sprintf("item%06d", item+i))
	}
	for i := range rows {
		at := readingstest.Day.Add(time.Duration(row+i)*time.Millisecond + time.Millisecond)
		r := reading.Row{Meter: "m", At: at, Arrived: at, Source: reading.Cycle, Values: make([]reading.Value, items)}
		for k := range r.Values {
			r.Values[k] = reading.Value{State: reading.Good, Number: reading.Number{Mantissa: 1}}
		}
		b.Rows = append(b.Rows, r)
	}
	return b
}

// What any policy gives a meter has room: 500 items every 100 ms, and others of them
// later.
func TestBounds_Policies(t *testing.T) {
	const shortest = 100 * time.Millisecond
	inStretch, onGrid := int(stretch/shortest), int(readings.Piece/grid)
	if n := most.rows(2 * reading.MaxItems); n < inStretch || n < onGrid {
		t.Errorf("there is room for %d rows of twice %d items; a stretch has %d, a piece %d", n, reading.MaxItems, inStretch, onGrid)
	}
}

// A store of format 1 has rows of every time in one block. They are found where they
// are, and what was told first of them stays.
func TestStore_Format1(t *testing.T) {
	disk := vfs.NewMem()
	db := plain(t, disk)
	of := readings.Policy{Node: "n", Name: "curve"}
	at := func(ms int) time.Time { return readingstest.Day.Add(time.Duration(ms) * time.Millisecond) }
	tell := func(value int64, times ...int) readings.Told {
		b := &reading.Batch{ID: 1, Policy: of.Name, Version: 1, Items: []string{"V"}}
		for _, ms := range times {
			b.Rows = append(b.Rows, reading.Row{Meter: "m", At: at(ms), Arrived: at(ms), Source: reading.Cycle, Values: []reading.Value{{State: reading.Good, Number: reading.Number{Mantissa: value}}}})
		}
		return readings.Told{Node: of.Node, Batch: b, Stored: at(0)}
	}
	old := format1(t, tell(1, 0, 100, 5000, 400_100))
	for key, value := range map[string][]byte{formatKey: []byte("1"), string(blockKey(nil, of, place{piece: pieceOf(at(0).UnixMilli()), meter: "m"})): old.append(nil)} {
		if err := db.Set([]byte(key), value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := open(t, Config{Dir: "d", FS: disk})
		stop := readingstest.Start(t, s)
		readingstest.Put(t, s, tell(2, 100, 200, 5000, 400_000, 400_200))
		var got []string
		q := readings.Scan{Policy: of, From: at(0), To: at(1_000_000)}
		if err := s.Scan(context.Background(), q, func(r *readings.Row) bool {
			got = append(got, fmt.Sprint(r.At-at(0).UnixMilli(), "=", r.Values[0].Number))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if want := "[0=1 100=1 200=2 5000=1 400000=2 400100=1 400200=2]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		stop()
	}
	db = plain(t, disk)
	v, c, err := db.Get([]byte(formatKey))
	if err != nil || string(v) != "2" {
		t.Fatalf("it says it is of format %q, %v", v, err)
	}
	if err := errors.Join(c.Close(), db.Set([]byte(formatKey), []byte("3"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: "d", FS: disk}); err == nil {
		t.Error("a store of a later format is opened")
	}
}

// A block of format 1 has the rows of four hours, however many: all of them stay, and
// what is told of whole five seconds since then has room beside them.
func TestStore_Format1Large(t *testing.T) {
	const period = 100 * time.Millisecond
	rows, toTell := int(readings.Piece/period), int((readings.Piece-grid)/period)
	old := &block{}
	for i := range 20 {
		old.items = append(old.items, fmt.Sprintf("item%02d", i))
	}
	cells := make([]cell, rows*len(old.items))
	for i := range cells {
		cells[i] = cell{state: reading.Good, mantissa: 1}
	}
	begin := readingstest.Day.UnixMilli()
	for i := range rows {
		if i != toTell {
			at := begin + int64(i)*period.Milliseconds()
			old.rows = append(old.rows, row{at: at, tellings: []telling{{source: reading.Cycle, version: 1, arrived: at, stored: at}}, cells: cells[i*20 : (i+1)*20]})
		}
	}
	if old.size() <= most.cells {
		t.Fatalf("%d cells are no more than there is room for", old.size())
	}
	disk := vfs.NewMem()
	db := plain(t, disk)
	of := readings.Policy{Node: "n", Name: "curve"}
	at := place{piece: pieceOf(begin), meter: "m"}
	if err := errors.Join(db.Set(blockKey(nil, of, at), old.append(nil), pebble.Sync), db.Set([]byte(formatKey), []byte("1"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := open(t, Config{Dir: "d", FS: disk, Log: slog.New(slog.NewTextHandler(&log, nil))})
	stop := readingstest.Start(t, s)
	told := dense(1, 20, 0, 0)
	told.Items = old.items
	told.Rows[0].At = time.UnixMilli(begin + int64(toTell)*period.Milliseconds())
	told.Rows[0].Values[0].Number.Mantissa = 2
	readingstest.Put(t, s, readings.Told{Node: of.Node, Batch: told, Stored: told.Rows[0].At})
	for _, when := range []string{"scanned", "compacted"} {
		if when == "compacted" {
			if err := s.db.Compact(context.Background(), []byte{rowPrefix}, []byte{rowPrefix + 1}, false); err != nil {
				t.Fatal(err)
			}
		}
		n, since := 0, 0
		q := readings.Scan{Policy: of, From: readingstest.Day, To: readingstest.Day.Add(readings.Piece)}
		if err := s.Scan(context.Background(), q, func(r *readings.Row) bool {
			n++
			if r.Values[0].Number.Mantissa == 2 {
				since++
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if n != rows || since != 1 {
			t.Errorf("%s: %d rows, %d told since; want %d and 1", when, n, since, rows)
		}
	}
	stop()
	if strings.Contains(log.String(), "left out") {
		t.Errorf("the log says %s", &log)
	}
}

// plain opens what a store is in.
func plain(t *testing.T, disk vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("d", &pebble.Options{FS: disk, Merger: merger(most, quiet), FormatMajorVersion: pebble.FormatNewest, Logger: logger.Logger{Log: quiet}})
	if err != nil {
		t.Fatal(err)
	}
	return db
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
