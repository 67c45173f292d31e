package dlt645

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
)

// ask is a request for an identifier, with what it needs besides.
type ask struct {
	di         wire.DI
	parameters []byte
}

// asker asks a meter, over whatever way: it returns an answer for each request,
// those that didn't come as unanswered. The error is why the meter isn't asked any
// more.
type asker interface {
	together() int // requests that may go at once
	askAll(ctx context.Context, asks []ask) ([]answer, error)
}

// onLine asks a meter on a line. The port must be taken.
type onLine struct {
	*port
	address wire.Address
}

func (l onLine) together() int { return 1 }

func (l onLine) askAll(ctx context.Context, asks []ask) ([]answer, error) {
	out := make([]answer, len(asks))
	for i, a := range asks {
		data, err := l.read(ctx, l.address, a.di, a.parameters...)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			out[i] = answer{kind: refused, word: refusal.Word}
		case err != nil:
			return nil, err
		default:
			out[i] = answer{kind: answered, di: a.di, data: append([]byte(nil), data...)}
		}
	}
	return out, nil
}

// history is one recall at work.
type history struct {
	asker
	collect.Recall
	meter *meter
	rows  []map[string]collect.Value
	times []time.Time // by the meter's clock
}

// recall reads what the meter keeps of some times into rows, one for each.
func (m *meter) recall(ctx context.Context, by asker, r collect.Recall, rows []map[string]collect.Value) error {
	h := &history{asker: by, Recall: r, meter: m, rows: rows}
	for i, at := range r.Times {
		h.times = append(h.times, at.UTC().Add(r.Zone))
		rows[i] = make(map[string]collect.Value, len(r.Items))
	}
	err := m.Err(time.Now())
	if err == nil {
		err = h.read(ctx)
		m.Note(err, time.Now())
	}
	for i := range rows {
		for _, it := range r.Items {
			if _, said := rows[i][it.Name]; !said {
				rows[i][it.Name] = collect.Value{At: time.Now(), Err: cmp.Or(err, errNoFreeze)}
			}
		}
	}
	return err
}

var errNoFreeze = fmt.Errorf("%w: meters of DL/T 645 don't freeze it", collect.ErrNoData)

// read asks for what is in load records, and for what is in daily freezes.
func (h *history) read(ctx context.Context) error {
	var records, daily []placed
	for _, it := range h.Items {
		f, err := wire.ParseFormat(it.Format, it.Signed)
		if err != nil {
			continue // refused by schema before it got here
		}
		if di, at, ok := it.DailyFreeze(); ok && h.Daily {
			daily = append(daily, placed{it, wire.DI(di), at, f})
		} else if class, at, ok := it.LoadRecord(); ok {
			records = append(records, placed{it, wire.DI(class), at, f})
		}
	}
	if len(records) > 0 {
		if err := h.records(ctx, records); err != nil {
			return err
		}
	}
	if len(daily) > 0 {
		return h.freezes(ctx, daily)
	}
	return nil
}

// put says what an item was worth at a time; where a meter has no value for it, it
// has none any more.
func (h *history) put(i int, it placed, data []byte) {
	v, err := it.value(data)
	if len(data) == 0 {
		err = fmt.Errorf("%w: %s isn't recorded", collect.ErrNoData, it.Name)
	} else if errors.Is(err, collect.ErrNoValue) {
		err = fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	h.rows[i][it.Name] = collect.Value{Value: v, At: time.Now(), Err: err}
}

// absent says why there is nothing of a time by the meter's clock. Only a meter that
// has something later never will have it: the node's clock doesn't tell, as it may be
// ahead.
func (h *history) absent(at time.Time, what, layout string) error {
	if at.Before(h.meter.passed) {
		return fmt.Errorf("%w: no %s of %s", collect.ErrNoData, what, at.Format(layout))
	}
	return fmt.Errorf("%w: no %s of %s or later", collect.ErrNoValue, what, at.Format(layout))
}

func (h *history) missing(i int, items []placed, err error) {
	for _, it := range items {
		h.rows[i][it.Name] = collect.Value{At: time.Now(), Err: err}
	}
}

// window is a request for records, and which of the times it is to answer.
type window struct {
	ask
	from, n int // of times
}

const (
	recordsFrom  = 0x06000001 // load records from a given time on; the class is in DI2
	windowTries  = 2          // that leave a request out
	frameRecords = 200 - 4    // bytes of records in one frame
)

// records reads load records: as many in one request as go into one frame, and as
// many requests at once as may go.
func (h *history) records(ctx context.Context, items []placed) error {
	var plain []schema.Item
	for _, it := range items {
		plain = append(plain, it.Item)
	}
	class := schema.RecordClass(plain)
	most := max(frameRecords/schema.RecordBytes(class), 1)
	tried := 0
	for next := 0; next < len(h.times); {
		windows, err := h.windows(next, class, most)
		if err != nil {
			return err
		}
		if tried > 0 {
			windows = windows[:1]
		}
		asks := make([]ask, len(windows))
		for i, w := range windows {
			asks[i] = w.ask
		}
		answers, err := h.askAll(ctx, asks)
		if errors.Is(err, ErrTooMany) && h.together() < len(asks) {
			continue
		}
		if err != nil {
			return err
		}
		done := next
		for i, w := range windows {
			if w.from != done {
				break // the one before left something open
			}
			done += h.answered(w, answers[i], items, tried+1 >= windowTries)
		}
		if tried++; done > next {
			tried = 0
		}
		next = done
	}
	return nil
}

// windows are the requests for the times from one on. Of a meter that records more
// often, records of many times don't go into a frame. It is asked for two once in a
// recall of several times: how often it records may have been changed, or taken from
// records that were out of the ordinary.
func (h *history) windows(from, class, most int) (all []window, err error) {
	often := h.meter.interval > 0 && h.meter.interval < h.Step
	for limit := h.together(); from < len(h.times) && len(all) < limit; {
		n := 1
		for !often && n < most && from+n < len(h.times) && h.times[from+n].Sub(h.times[from+n-1]) == h.Step {
			n++
		}
		records := n
		if often && from == 0 && len(h.times) > 1 {
			records = min(2, most)
		}
		at := h.times[from]
		p, err := wire.RecordsFrom(nil, byte(records), wire.Stamp{Year: at.Year(), Month: uint8(at.Month()), Day: uint8(at.Day()), Hour: uint8(at.Hour()), Minute: uint8(at.Minute())})
		if err != nil {
			return nil, err
		}
		all = append(all, window{ask: ask{recordsFrom | wire.DI(class)<<16, p}, from: from, n: n})
		from += n
	}
	return all, nil
}

// answered takes what came of a request, and returns for how many of its times
// that settles it. Records begin at the time that was asked for or later, and there
// is none between two that follow each other.
func (h *history) answered(w window, a answer, items []placed, last bool) (settled int) {
	var err error
	switch {
	case a.kind == unanswered:
		err = fmt.Errorf("%w: left out of the answer", collect.ErrGarbled)
	case a.kind == refused && a.word&wire.NoSuchData == 0:
		err = &Refusal{w.di, a.word}
	case a.kind == refused, len(a.data) == 0:
		h.missing(w.from, items, h.absent(h.times[w.from], "load record", time.DateTime))
		return 1
	}
	records, bad := h.decode(a.data)
	if err = cmp.Or(err, bad); err != nil && len(records) == 0 {
		if a.kind == unanswered && !last {
			return 0
		}
		h.missing(w.from, items, err)
		return 1
	}
	end := records[len(records)-1].at
	for ; settled < w.n && !h.times[w.from+settled].After(end); settled++ {
		i := w.from + settled
		h.missing(i, items, h.absent(h.times[i], "load record", time.DateTime))
		for _, r := range records {
			if !r.at.Equal(h.times[i]) {
				continue
			}
			for _, it := range items {
				h.put(i, it, r.Classes[it.di-1])
			}
		}
	}
	if settled == 0 { // of times before what was asked for
		h.missing(w.from, items, fmt.Errorf("%w: records of %s", collect.ErrGarbled, end.Format(time.DateTime)))
		return 1
	}
	return settled
}

// recorded is a load record with its time.
type recorded struct {
	wire.Record
	at time.Time
}

// decode reads records until one that is none, and learns how far apart they are: the
// least of it, for where the meter was without power there are none.
func (h *history) decode(data []byte) (all []recorded, err error) {
	var interval time.Duration
	for len(data) > 0 {
		r, n, err := wire.DecodeRecord(data)
		if err != nil {
			return all, fmt.Errorf("%w: %w", collect.ErrGarbled, err)
		}
		at := timeOf(r.At)
		if n := len(all); n > 0 {
			if gap := at.Sub(all[n-1].at); gap > 0 && (interval == 0 || gap < interval) {
				interval = gap
			}
		}
		all = append(all, recorded{r, at})
		h.meter.pass(at)
		data = data[n:]
	}
	h.meter.interval = cmp.Or(interval, h.meter.interval)
	return all, nil
}

func timeOf(s wire.Stamp) time.Time {
	return time.Date(s.Year, time.Month(s.Month), int(s.Day), int(s.Hour), int(s.Minute), 0, 0, time.UTC)
}
