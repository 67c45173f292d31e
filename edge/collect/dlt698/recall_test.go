package dlt698

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

var recordNoon = time.Date(2026, 6, 29, 12, 0, 0, 0, time.UTC)

// recorder is a meter that has frozen every quarter of an hour since a time: values
// that read as the time, hour and minute.
type recorder struct {
	since    time.Time
	interval int                  // how it takes requests for intervals
	refuses  wire.ObjectAttribute // a column, or the record
	asked    []int                // times in each request
	silentAt int                  // request from which on it says nothing; 0 = never
	hole     func(at time.Time) bool
	most     int // rows in an answer; 0 = any number
}

const (
	halfOpen = iota
	closed
	openStart // (from, to]
	open      // (from, to)
	unknown   // refused as such
	empty     // understood as something else
	intervals
)

// within are the quarters of an hour that the meter takes a request for an interval to
// mean.
func (m *recorder) within(apdu []byte) (times []time.Time) {
	moment := func(p []byte) time.Time {
		return time.Date(int(binary.BigEndian.Uint16(p[1:])), time.Month(p[3]), int(p[4]), int(p[5]), int(p[6]), int(p[7]), 0, time.UTC)
	}
	from, to := moment(apdu[12:]), moment(apdu[20:]) // behind service, record, method and column
	if m.interval == empty {
		return nil
	}
	for at := from; !at.After(to); at = at.Add(15 * time.Minute) {
		if at.Equal(from) && (m.interval == openStart || m.interval == open) || at.Equal(to) && (m.interval == halfOpen || m.interval == open) {
			continue
		}
		times = append(times, at)
	}
	return times
}

func (m *recorder) keeps(at time.Time) bool {
	return !at.Before(m.since) && !at.After(recordNoon) && (m.hole == nil || !m.hole(at))
}

func (m *recorder) exchange(_ context.Context, r *reader) (more bool, err error) {
	s := r.span
	m.asked = append(m.asked, len(s.times))
	if m.silentAt > 0 && len(m.asked) >= m.silentAt {
		return false, collect.ErrTimeout
	}
	times := slices.Clone(s.times)
	if len(times) > 1 {
		if m.interval == unknown {
			return false, &ServiceError{2}
		}
		times = m.within(r.request(nil, 7))
	}
	apdu := []byte{wire.GetResponse, wire.GetRecord, 7}
	apdu = binary.BigEndian.AppendUint32(apdu, uint32(r.batch.record))
	apdu = append(apdu, byte(len(r.batch.oads)))
	for _, oad := range r.batch.oads {
		apdu = binary.BigEndian.AppendUint32(append(apdu, 0), uint32(oad))
	}
	if m.refuses == r.batch.record || slices.Contains(r.batch.oads, m.refuses) {
		apdu = append(apdu, 0, byte(darUndefined))
	} else {
		var rows []byte
		n := 0
		for _, at := range times {
			if !m.keeps(at) || m.most > 0 && n == m.most {
				continue
			}
			n++
			rows = binary.BigEndian.AppendUint16(append(rows, byte(wire.DateTimeS)), uint16(at.Year()))
			rows = append(rows, byte(at.Month()), byte(at.Day()), byte(at.Hour()), byte(at.Minute()), 0)
			for range r.batch.oads[1:] {
				rows = binary.BigEndian.AppendUint16(append(rows, byte(wire.LongUnsigned)), uint16(at.Hour()*100+at.Minute()))
			}
		}
		apdu = append(append(apdu, 1, byte(n)), rows...)
	}
	var message wire.Message
	if err := message.Decode(append(apdu, 0, 0)); err != nil {
		return false, fmt.Errorf("%w: % X", err, apdu)
	}
	r.at = time.Now()
	return r.take(&message)
}

func (m *recorder) recall(t *testing.T, known *meter, times []time.Time) ([]map[string]collect.Value, error) {
	t.Helper()
	rows := make([]map[string]collect.Value, len(times))
	r := collect.Recall{Times: times, Now: recordNoon, Step: 15 * time.Minute}
	r.Items = []schema.Item{{Name: "V", OAD: "20000201", Scale: 1}, {Name: "E", OAD: "00100201", Scale: 1}, {Name: "E2", OAD: "00200201", Scale: 1}}
	q := &reading{known, 512, m.exchange}
	err := q.recall(t.Context(), r, rows)
	for i, at := range times {
		for _, it := range r.Items {
			v, said := rows[i][it.Name]
			if !said || v.Value == nil && v.Err == nil {
				t.Fatalf("nothing is said of %s at %v", it.Name, at)
			}
			if v.Value != nil && v.Value.Text() != fmt.Sprint(at.Hour()*100+at.Minute()) {
				t.Fatalf("%s at %v is %s", it.Name, at, v.Value.Text())
			}
		}
	}
	return rows, err
}

func quarters(from time.Time, n int) (all []time.Time) {
	for i := range n {
		all = append(all, from.Add(time.Duration(i)*15*time.Minute))
	}
	return all
}

// Intervals are asked for, and what the first empty one means is found out once;
// scattered times are asked for one by one.
func TestRecall_Requests(t *testing.T) {
	day := recordNoon.AddDate(0, 0, -1)
	outage := func(from, to int) func(time.Time) bool { // of quarters
		return func(at time.Time) bool {
			n := int(at.Sub(day) / (15 * time.Minute))
			return n >= from && n < to
		}
	}
	before := day.Add(-time.Hour)
	scattered := []time.Time{day, day.Add(time.Hour), day.Add(2 * time.Hour), day.Add(2*time.Hour + 15*time.Minute)}
	for _, c := range []struct {
		name   string
		meter  recorder
		times  []time.Time
		asked  []int // times of each request
		again  []int // and when it is asked once more
		good   int
		noData int
	}{
		{"interval", recorder{since: day}, quarters(day, 14), []int{14}, []int{14}, 14, 0},
		{"as many rows as go into a frame", recorder{since: day}, quarters(day, 30), []int{19, 11}, []int{19, 11}, 30, 0},
		{"closed interval", recorder{since: day, interval: closed}, quarters(day, 14), []int{14}, []int{14}, 14, 0},
		{"scattered", recorder{since: day}, scattered, []int{1, 1, 2}, []int{1, 1, 2}, 4, 0},
		{"no intervals", recorder{since: day, interval: unknown}, quarters(day, 3), []int{3, 1, 1, 1, 1}, []int{1, 1, 1}, 3, 0},
		{"intervals of nothing", recorder{since: day, interval: empty}, quarters(day, 3), []int{3, 1, 3, 1, 1, 1}, []int{1, 1, 1}, 3, 0},
		{"without the first", recorder{since: before, interval: openStart}, quarters(day, 14), []int{14, 1, 14}, []int{14}, 14, 0},
		{"without the first, of many", recorder{since: before, interval: openStart}, quarters(day, 30), []int{19, 1, 19, 11}, []int{19, 11}, 30, 0},
		{"the first alone, without the first", recorder{since: before, interval: openStart, hole: outage(1, 90)}, quarters(day, 2), []int{2, 1, 2, 1}, []int{2, 1}, 1, 0},
		{"without first and last", recorder{since: before, interval: open}, quarters(day, 14), []int{14, 1, 14}, []int{14}, 14, 0},
		{"cut off after six", recorder{since: before, most: 6}, quarters(day, 14), []int{14, 8, 2}, []int{14, 8, 2}, 14, 0},
		{"an outage between", recorder{since: before, hole: outage(3, 9)}, quarters(day, 14), []int{14}, []int{14}, 8, 6},
		{"an outage at the end", recorder{since: before, hole: outage(9, 30)}, quarters(day, 14), []int{14, 5}, []int{14, 5}, 9, 0},
		{"an outage at the beginning", recorder{since: before, hole: outage(-9, 5)}, quarters(day, 14), []int{14, 1}, []int{14, 1}, 9, 5},
		{"a long outage", recorder{since: before, hole: outage(-9, 90)}, quarters(day, 30), []int{19, 1, 1, 11, 1, 1}, []int{19, 1, 1, 11, 1, 1}, 0, 0},
		{"older than it keeps", recorder{since: day}, quarters(day.Add(-10*time.Hour), 14), []int{14, 1, 1}, []int{14, 1, 1}, 0, 0},
		{"to come", recorder{since: day}, quarters(recordNoon.Add(15*time.Minute), 14), []int{14, 1, 1}, []int{14, 1, 1}, 0, 0},
		{"half older", recorder{since: day}, quarters(day.Add(-time.Hour), 14), []int{14, 1}, []int{14, 1}, 10, 4},
		{"no such record", recorder{since: day, refuses: 0x50020200}, quarters(day, 3), []int{3, 1, 1}, []int{3, 1, 1}, 0, 3},
		{"a column that it hasn't", recorder{since: day, refuses: 0x20000201}, quarters(day, 1), []int{1, 1, 1, 1, 1, 1}, nil, 1, 1},
	} {
		known := newMeter()
		for round, want := range [][]int{c.asked, c.again} {
			if want == nil {
				continue
			}
			c.meter.asked = nil
			rows, err := c.meter.recall(t, known, c.times)
			good, noData := 0, 0
			for _, row := range rows {
				switch {
				case row["E"].Value != nil:
					good++
				case errors.Is(row["E"].Err, collect.ErrNoData):
					noData++
				}
				if errors.Is(row["V"].Err, collect.ErrNoData) && row["E"].Value != nil {
					noData++
				}
			}
			if err != nil || good != c.good || noData != c.noData || c.name != "a column that it hasn't" && !slices.Equal(c.meter.asked, want) {
				t.Errorf("%s, round %d: asked for %v, want %v; %d good, %d not kept, want %d and %d: %v", c.name, round, c.meter.asked, want, good, noData, c.good, c.noData, err)
			}
		}
	}
}

// That there is no record is final only where there is a later one: else it may be
// to come, whatever the node's clock says.
func TestRecall_NotThereYet(t *testing.T) {
	m, known := &recorder{since: recordNoon.AddDate(0, 0, -1)}, newMeter()
	for _, c := range []struct {
		name  string
		times []time.Time
		want  error // of the first
	}{
		{"older than it keeps, and nothing is known of it", quarters(recordNoon.AddDate(0, 0, -2), 5), collect.ErrNoValue},
		{"to come, by a node eight hours ahead", quarters(recordNoon.Add(15*time.Minute), 30), collect.ErrNoValue},
		{"the latest", quarters(recordNoon, 1), nil},
		{"to come, now that it has the latest", quarters(recordNoon.Add(15*time.Minute), 30), collect.ErrNoValue},
		{"older than it keeps, without a word of intervals", quarters(recordNoon.AddDate(0, 0, -2), 5), collect.ErrNoValue},
		{"an interval", quarters(recordNoon.Add(-15*time.Minute), 2), nil},
		{"older than it keeps", quarters(recordNoon.AddDate(0, 0, -2), 5), collect.ErrNoData},
	} {
		rows, err := m.recall(t, known, c.times)
		for _, row := range rows {
			if got := row["E"].Err; !errors.Is(got, c.want) || err != nil {
				t.Errorf("%s: %v, want %v: %v", c.name, got, c.want, err)
				break
			}
		}
	}
}

// However a meter takes intervals, whatever it has and in whatever order it is asked:
// all that it has comes out, nothing of it is given up for good, and no hole costs a
// request for each of its times.
func TestRecall_Any(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &recorder{since: recordNoon.AddDate(0, 0, -2), interval: rapid.IntRange(0, intervals-1).Draw(rt, "interval")}
		if rapid.Bool().Draw(rt, "cut") {
			m.most = rapid.IntRange(2, 20).Draw(rt, "most")
		}
		gone := make(map[time.Time]bool)
		for range rapid.IntRange(0, 3).Draw(rt, "outages") {
			from := rapid.IntRange(0, 190).Draw(rt, "from")
			for i := range rapid.IntRange(1, 60).Draw(rt, "long") {
				gone[m.since.Add(time.Duration(from+i)*15*time.Minute)] = true
			}
		}
		m.hole = func(at time.Time) bool { return gone[at] }
		known := newMeter()
		for range 3 {
			m.asked = nil
			times := quarters(m.since.Add(time.Duration(rapid.IntRange(-20, 180).Draw(rt, "first"))*15*time.Minute), rapid.IntRange(1, 40).Draw(rt, "times"))
			rows, err := m.recall(t, known, times)
			if err != nil {
				rt.Fatal(err)
			}
			good := 0
			for i, at := range times {
				v := rows[i]["E"]
				if m.interval == empty && v.Value == nil && !errors.Is(v.Err, collect.ErrNoData) {
					continue // it may come: what the meter makes of intervals isn't known yet
				}
				if m.keeps(at) != (v.Value != nil) || at.After(recordNoon) && errors.Is(v.Err, collect.ErrNoData) {
					rt.Fatalf("%v: %v %v", at, v.Value.Text(), v.Err)
				}
				if v.Value != nil {
					good++
				}
			}
			whole := m.interval < unknown && m.most == 0
			if most := 2*len(times) + 8; len(m.asked) > most || whole && len(m.asked) > 12 {
				rt.Fatalf("%d requests for %d times, of which there are %d: %v", len(m.asked), len(times), good, m.asked)
			}
		}
	})
}

// A meter that falls silent half way leaves what is known, and what isn't is not
// said to be lost.
func TestRecall_FallsSilent(t *testing.T) {
	m := &recorder{since: recordNoon.AddDate(0, 0, -2), silentAt: 2}
	rows, err := m.recall(t, newMeter(), quarters(recordNoon.AddDate(0, 0, -1), 40))
	if !errors.Is(err, collect.ErrTimeout) || rows[18]["E"].Value == nil || !errors.Is(rows[19]["E"].Err, collect.ErrTimeout) {
		t.Errorf("%v: %+v, %+v", err, rows[18], rows[19])
	}
}

// The request for a time is that of a real concentrator.
func TestRecall_Captured(t *testing.T) {
	at := time.Date(2026, 6, 29, 10, 45, 0, 0, time.UTC)
	got := wire.AppendGetRecordAt(nil, 0x27, 0x50020200, at, []wire.ObjectAttribute{wire.RecordTime})
	want := "0503275002020001202102001C07EA061D0A2D0001002021020000"
	if fmt.Sprintf("%X", got) != want {
		t.Errorf("% X, want %s", got, want)
	}
	ranged := wire.AppendGetRecords(nil, 1, 0x50020200, at, at.Add(time.Hour), 15, []wire.ObjectAttribute{wire.RecordTime})
	if want := "0503015002020002202102001C07EA061D0A2D001C07EA061D0B2D005401000F01002021020000"; fmt.Sprintf("%X", ranged) != want {
		t.Errorf("%X, want %s", ranged, want)
	}
	var m wire.Message
	if err := m.Decode(ranged); err != nil {
		t.Errorf("our own codec: %v", err)
	}
}
