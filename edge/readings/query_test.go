package readings

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"gnomon/schema/reading"
)

// wide puts slots of rows with many items; half of the items are read at a time, and
// the slots in no order.
func (r *rig) wide(slots, meters, items int) (values int) {
	r.t.Helper()
	names := make([]string, items)
	for i := range names {
		names[i] = fmt.Sprintf("item%03d", (i+items/2)%items)
	}
	for n := range slots {
		r.clock = noon.Add(time.Duration(n*7%slots) * 15 * time.Minute)
		rows := r.slot(meters, names...)
		for half := range 2 {
			of := rows
			of.Items = names[half*items/2 : (half+1)*items/2]
			of.Rows = make([]reading.Row, len(rows.Rows))
			for i, row := range rows.Rows {
				row.Values = row.Values[half*items/2 : (half+1)*items/2]
				of.Rows[i] = row
			}
			r.put(of)
		}
		values += meters * items
	}
	return values
}

// What is found, and held to find it, is bounded in values, too.
func TestStore_FindBounded(t *testing.T) {
	r := newRig(t, Config{})
	values := r.wide(30, 100, 100)
	f := finder{Query: Query{Limit: MaxFound}, most: MaxFoundValues, rows: make(map[foundKey]*Found)}
	for _, seg := range r.segments {
		text, err := r.content(seg)
		if err != nil {
			t.Fatal(err)
		}
		frames, _, _ := framesOf(text)
		for _, fr := range frames {
			if f.look(fr); f.values > MaxFoundValues*3/2 || len(f.rows)*50 > MaxFoundValues*3/2+frameValues {
				t.Fatalf("%d values in %d rows are held", f.values, len(f.rows))
			}
		}
	}
	f = finder{}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	all, more, err := r.Find(context.Background(), Query{})
	if err != nil || !more || len(all) != MaxFoundValues/100 {
		t.Fatalf("%d rows of %d values, and more: %v, %v", len(all), values, more, err)
	}
	if used := heap() - before; used > 16<<20 {
		t.Errorf("an answer takes %d bytes", used)
	}
	for i, row := range all {
		if len(row.Values) != 100 || i > 0 && all[i-1].compare(&row) >= 0 || row.At.After(noon.Add(10*15*time.Minute)) {
			t.Fatalf("row %d: %s %v, %d values", i, row.Meter, row.At, len(row.Values))
		}
	}
	runtime.KeepAlive(all)
}

// Page after page has all rows, each once, also where one time has more than fit.
func TestStore_FindPages(t *testing.T) {
	r := newRig(t, Config{})
	const meters, items = 300, 100
	r.wide(6, meters, items)
	for name, limit := range map[string]int{"by values": MaxFound, "by rows": 90} {
		t.Run(name, func(t *testing.T) {
			values := 4 * meters * items // but for the first and the last slot
			q := Query{Limit: limit, From: noon.Add(time.Minute), To: noon.Add(5 * 15 * time.Minute)}
			var last *Found
			for more := true; more; {
				all, others, err := r.Find(context.Background(), q)
				if err != nil || len(all) == 0 {
					t.Fatal(len(all), err)
				}
				for i := range all {
					if last != nil && last.compare(&all[i]) >= 0 {
						t.Fatalf("%+v after %+v", all[i].Place(), last.Place())
					}
					last = &all[i]
					values -= len(last.Values)
				}
				at := last.Place()
				q.After, more = &at, others
			}
			if values != 0 {
				t.Errorf("%d values were found too few", values)
			}
		})
	}
}

// A row that alone has more values than an answer may have is found.
func TestStore_FindWidest(t *testing.T) {
	r := newRig(t, Config{})
	r.wide(2, 2, 10)
	text, err := r.content(r.segments[0])
	if err != nil {
		t.Fatal(err)
	}
	f := finder{Query: Query{Limit: 3}, most: 5, rows: make(map[foundKey]*Found)}
	frames, _, _ := framesOf(text)
	for _, fr := range frames {
		f.look(fr)
	}
	f.cut()
	if len(f.rows) != 1 || f.values != 10 || !f.more || !f.last.At.Equal(noon) || f.last.Meter != "202600000001" {
		t.Errorf("%d rows, %d values, last %+v", len(f.rows), f.values, f.last)
	}
}
