package collect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// Writer is a Driver that can write.
type Writer interface {
	Driver

	// Write writes an item of one meter once, and returns what the meter says of it
	// afterwards. If that isn't known the error says why the write may not have
	// reached the meter.
	Write(ctx context.Context, w WriteRequest) (Value, error)
}

// WriteRequest is one value for one item of a meter.
type WriteRequest struct {
	Source   schema.Source
	Meter    schema.Meter
	Item     schema.Item
	Function int           // that it is written with
	Value    *shadow.Value // a Number or Bool, as readings of the item have it
}

// The reasons for which a write is refused; nothing was sent then.
var (
	ErrNotWritable = errors.New("not writable")
	ErrOutOfRange  = errors.New("out of range")
	ErrTooOften    = errors.New("too often")
)

// ErrNotTaken is what is said of a write that a meter has acknowledged, and shows
// another value than was written.
var ErrNotTaken = errors.New("the meter shows another value")

// Write writes an item of a meter, if the policy lets it: it names the item, the
// value is within its limits, and it wasn't written too often. It returns what the
// meter shows afterwards. Nothing is written twice by itself.
func (e *Engine) Write(ctx context.Context, policy, meter, item string, value *shadow.Value) (Value, error) {
	r, w, limits, err := e.writable(policy, meter, item)
	if err != nil {
		return Value{}, err
	}
	w.Value = value
	if err := within(w.Item, limits, value); err != nil {
		return Value{}, fmt.Errorf("%s of %s: %w", item, meter, err)
	}
	driver, ok := e.cfg.Drivers[w.Source.Kind].(Writer)
	if !ok {
		return Value{}, fmt.Errorf("%w: the driver for %s can't write", ErrNotWritable, w.Source.Kind)
	}
	if err := e.written.reserve(policy+"/"+meter+"/"+item, limits, time.Now()); err != nil {
		return Value{}, fmt.Errorf("%s of %s: %w", item, meter, err)
	}
	defer e.borrow(r)()
	var back Value
	err = r.contain(func() (err error) {
		back, err = driver.Write(ctx, w)
		return err
	})
	if errors.Is(err, ErrFault) {
		err = fmt.Errorf("it may have been written: %w", err)
	}
	if err == nil && !same(w.Item, back.Value, value) {
		err = fmt.Errorf("%w: %s was written, it shows %s", ErrNotTaken, value.Text(), back.Value.Text())
	}
	return back, err
}

// writable finds what is to be written, and the limits for it.
func (e *Engine) writable(policy, meter, item string) (r *runner, w WriteRequest, limits *schema.Write, err error) {
	e.mu.Lock()
	r = e.policies[policy]
	e.mu.Unlock()
	if r == nil {
		return nil, w, nil, ErrUnknown
	}
	p := r.policy
	m := slices.IndexFunc(p.Meters, func(m schema.Meter) bool { return m.ID == meter })
	if m < 0 {
		return nil, w, nil, ErrUnknown
	}
	items := p.ItemsOf(p.Meters[m])
	at := slices.IndexFunc(items, func(it schema.Item) bool { return it.Name == item })
	switch limits = p.WritableBy(item); {
	case at < 0:
		return nil, w, nil, fmt.Errorf("%w: %s has no item %s", ErrNotWritable, meter, item)
	case limits == nil:
		return nil, w, nil, fmt.Errorf("%w: policy %s doesn't let %s be written", ErrNotWritable, policy, item)
	case !p.IsEnabled():
		return nil, w, nil, fmt.Errorf("%w: policy %s is disabled", ErrNotWritable, policy)
	}
	return r, WriteRequest{Source: p.Source, Meter: p.Meters[m], Item: items[at], Function: limits.FunctionFor(items[at])}, limits, nil
}

// within tells whether a value is one that may be written.
func within(it schema.Item, limits *schema.Write, value *shadow.Value) error {
	if it.Type == "bool" {
		if value.Kind() != shadow.Bool {
			return fmt.Errorf("%w: true or false is due, not %s", ErrOutOfRange, value.Text())
		}
		return nil
	}
	f, err := strconv.ParseFloat(value.Text(), 64)
	if value.Kind() != shadow.Number || err != nil {
		return fmt.Errorf("%w: a number is due, not %s", ErrOutOfRange, value.Text())
	}
	for _, n := range []float64{f, f + off(it, f)} { // what is asked for, and what would be written
		if slack := 1e-9 * math.Abs(n); n < *limits.Min-slack || n > *limits.Max+slack {
			return fmt.Errorf("%w: %s is not from %v to %v", ErrOutOfRange, value.Text(), *limits.Min, *limits.Max)
		}
	}
	return nil
}

// off is how much a value changes by being written as a whole number of scales.
func off(it schema.Item, f float64) float64 {
	if it.Scale == 1 || it.Type == "float32" || it.Type == "float64" {
		return 0
	}
	return math.Round(f/it.Scale)*it.Scale - f
}

// same tells whether a meter shows what was written, as exactly as the item can be.
func same(it schema.Item, shown, wrote *shadow.Value) bool {
	if shown == nil || shown.Kind() != wrote.Kind() {
		return false
	}
	x, err := strconv.ParseFloat(shown.Text(), 64)
	y, err2 := strconv.ParseFloat(wrote.Text(), 64)
	if err != nil || err2 != nil {
		return shown.Text() == wrote.Text()
	}
	return math.Abs(x-y-off(it, y)) <= 1e-6*math.Abs(y)
}

// written knows when which item was written last. It begins anew with the agent.
type written struct {
	mu   sync.Mutex
	last map[string][]time.Time // the latest last
}

// maxWritten bounds the items that are known; beyond it those are dropped that
// were not written for as long as any limit may look back.
const (
	maxWritten  = 1000
	longestSpan = 24 * time.Hour
)

// reserve takes one of the writes that are allowed in a span, or tells when there is
// one again.
func (w *written) reserve(key string, limits *schema.Write, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = make(map[string][]time.Time)
	}
	span := limits.Per.D()
	recent := slices.DeleteFunc(slices.Clone(w.last[key]), func(t time.Time) bool { return now.Sub(t) >= longestSpan })
	counted := slices.DeleteFunc(slices.Clone(recent), func(t time.Time) bool { return now.Sub(t) >= span })
	if len(counted) >= limits.Times {
		wait := counted[len(counted)-limits.Times].Add(span).Sub(now)
		return fmt.Errorf("%w: %d in %v are allowed; again in %v", ErrTooOften, limits.Times, span, (wait + time.Second - 1).Truncate(time.Second))
	}
	if len(w.last) >= maxWritten {
		for k, times := range w.last {
			if now.Sub(times[len(times)-1]) >= longestSpan {
				delete(w.last, k)
			}
		}
		if _, known := w.last[key]; !known && len(w.last) >= maxWritten {
			return fmt.Errorf("%w: %d items were written in %v", ErrTooOften, maxWritten, longestSpan)
		}
	}
	w.last[key] = append(recent, now)
	return nil
}
