package collect

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/schema"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// poll is a call of the fake driver.
type poll struct {
	Request
	at    time.Time // by the clock, which may be wrong
	began time.Duration
	ended time.Duration // since the start of the test; 0 while under way
	err   error         // of its context, when it ended
}

// fake is a driver whose polls take and bring what a test says.
type fake struct {
	now    func() time.Time
	origin time.Time

	mu       sync.Mutex
	takes    time.Duration // how long a poll takes
	stubborn time.Duration // how long a poll goes on after its context has ended
	answer   func(r Request) (Result, error)
	polls    []*poll
	active   map[string]int // polls under way, by meter
	most     int            // of active
	released []schema.Source
}

func (f *fake) Poll(ctx context.Context, r Request) (Result, error) {
	f.mu.Lock()
	p := &poll{Request: r, at: f.now(), began: time.Since(f.origin)}
	f.polls = append(f.polls, p)
	f.active[r.Meter.ID]++
	f.most = max(f.most, f.active[r.Meter.ID])
	takes, stubborn := f.takes, f.stubborn
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		<-time.After(stubborn)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active[r.Meter.ID]--
	p.ended, p.err = time.Since(f.origin), ctx.Err()
	return f.answer(r)
}

func (f *fake) Release(s schema.Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, s)
}

// closed returns what was released.
func (f *fake) closed() []schema.Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.released)
}

// of returns the polls of a meter, or of all meters.
func (f *fake) of(meter string) []poll {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []poll
	for _, p := range f.polls {
		if meter == "" || p.Meter.ID == meter {
			out = append(out, *p)
		}
	}
	return out
}

// set changes how the driver behaves from the next poll on.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// all answers every item with a value.
func all(v *shadow.Value) func(Request) (Result, error) {
	return func(r Request) (Result, error) {
		out := Result{Values: make(map[string]Value), Frames: 1}
		for _, it := range r.Items {
			out.Values[it.Name] = Value{Value: v, At: time.Now()}
		}
		return out, nil
	}
}

// none fails every item of a meter.
func none(err error) func(Request) (Result, error) {
	return func(r Request) (Result, error) {
		out := Result{Values: make(map[string]Value), Frames: 2}
		for _, it := range r.Items {
			out.Values[it.Name] = Value{At: time.Now(), Err: err}
		}
		return out, err
	}
}

// bench is an engine on a fake driver, in virtual time that begins at midnight.
type bench struct {
	*testing.T
	engine *Engine
	driver *fake
	offset atomic.Int64 // how wrong the clock is
	cancel context.CancelFunc
	ended  chan error
}

// midnight is when the time of a bubble begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// prepare makes a bench whose engine is not running yet.
func prepare(t *testing.T) *bench {
	b := &bench{T: t, ended: make(chan error, 1), cancel: func() {}}
	b.driver = &fake{now: b.now, origin: time.Now(), active: make(map[string]int), answer: all(shadow.Int(1))}
	b.engine = New(Config{Drivers: map[schema.SourceKind]Driver{schema.SourceModbusTCP: b.driver}, Now: b.now})
	return b
}

// now is what the clock shows.
func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.offset.Load())) }

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	go func() { b.ended <- b.engine.Run(ctx) }()
	synctest.Wait()
}

// stop ends Run and waits until it has returned.
func (b *bench) stop() {
	b.Helper()
	b.cancel()
	if err := <-b.ended; err != nil {
		b.Error(err)
	}
}

// withEngine runs f on a running engine, and stops it afterwards.
func withEngine(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t)
		b.start()
		f(b)
		b.stop()
		if b.driver.most > 1 {
			t.Errorf("%d polls of one meter at once", b.driver.most)
		}
	})
}

func (b *bench) apply(name string, version uint64, p *schema.Policy) {
	b.Helper()
	if err := b.engine.Apply(name, version, p); err != nil {
		b.Fatal(err)
	}
}

// pass lets time go by, until all that is due then is done.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// jump sets the clock.
func (b *bench) jump(d time.Duration) { b.offset.Add(int64(d)) }

// signalled takes a signal, if there is one.
func (b *bench) signalled() bool {
	select {
	case <-b.engine.Changed():
		return true
	default:
		return false
	}
}

func (b *bench) report(name string) Report {
	b.Helper()
	r, ok := b.engine.Report(name)
	if !ok {
		b.Fatalf("no report of %s", name)
	}
	return r
}

// policy reads one item of some meters every period.
func policy(period time.Duration, meters ...string) *schema.Policy {
	hole := 16
	p := &schema.Policy{
		Source: schema.Source{Kind: schema.SourceModbusTCP, Address: "meter:502", Timeout: schema.Duration(time.Second), Tries: 2, MaxHole: &hole},
		Period: schema.Duration(period),
		Items:  []schema.Item{item("a", 0)},
	}
	for i, id := range meters {
		p.Meters = append(p.Meters, schema.Meter{ID: id, Unit: i + 1})
	}
	return p
}

func item(name string, address int) schema.Item {
	return schema.Item{Name: name, Function: 3, Address: address, Type: "uint16", Order: "ABCD", Scale: 1}
}
