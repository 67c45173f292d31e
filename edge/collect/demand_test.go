package collect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// door is the fake driver with ports: a poll or a write opens one, Release closes it.
type door struct {
	*fake
	t    *testing.T
	open map[string]bool // by address
	used map[string]int  // polls and writes under way
	shut int
}

func (d *door) enter(s schema.Source) (leave func()) {
	d.fake.mu.Lock()
	defer d.fake.mu.Unlock()
	d.open[s.Address] = true
	d.used[s.Address]++
	return func() {
		d.fake.mu.Lock()
		defer d.fake.mu.Unlock()
		d.used[s.Address]--
	}
}

func (d *door) Poll(ctx context.Context, r Request) (Result, error) {
	defer d.enter(r.Source)()
	return d.fake.Poll(ctx, r)
}

func (d *door) Write(_ context.Context, w WriteRequest) (Value, error) {
	defer d.enter(w.Source)()
	time.Sleep(d.fake.takes)
	return Value{Value: w.Value}, nil
}

func (d *door) Release(s schema.Source) {
	d.fake.mu.Lock()
	defer d.fake.mu.Unlock()
	if d.used[s.Address] > 0 {
		d.t.Errorf("%s is closed at %v under those who use it", s.Address, time.Since(d.origin))
	}
	if d.open[s.Address] {
		d.shut++
	}
	d.open[s.Address] = false
}

func (d *door) isOpen(address string) bool {
	d.fake.mu.Lock()
	defer d.fake.mu.Unlock()
	return d.open[address]
}

// withDoor runs f on an engine whose polls and writes take two seconds.
func withDoor(t *testing.T, f func(b *bench, d *door)) {
	t.Helper()
	withEngine(t, func(b *bench) {
		d := &door{fake: b.driver, t: t, open: make(map[string]bool), used: make(map[string]int)}
		b.engine.cfg.Drivers[schema.SourceModbusTCP] = d
		b.driver.takes = 2 * time.Second
		f(b, d)
	})
}

// ask has somebody read a meter, or write it.
func (b *bench) ask(meter string, write bool) {
	go func() {
		var err error
		if write {
			_, err = b.engine.Write(b.Context(), "p", meter, "a", shadow.Int(1))
		} else {
			_, err = b.engine.Read(b.Context(), "p", meter)
		}
		if err != nil {
			b.Errorf("write %v: %v", write, err)
		}
	}()
	synctest.Wait()
}

const near = "meter:502"

// Whoever reads a disabled policy's meter leaves the port as it was: somebody else may
// have it.
func TestRead_OfADisabledPolicy(t *testing.T) {
	withDoor(t, func(b *bench, d *door) {
		p, off := policy(time.Hour, "m", "n"), false
		p.Enabled = &off
		b.apply("p", 1, p)
		b.ask("m", false)
		b.pass(time.Second)
		b.ask("n", false)
		b.pass(1500 * time.Millisecond)
		if !d.isOpen(near) {
			t.Error("the port was closed with one still reading")
		}
		b.pass(time.Second)
		if d.isOpen(near) || d.shut != 1 {
			t.Errorf("the port was closed %d times, open: %v", d.shut, d.isOpen(near))
		}
		on := policy(time.Hour, "x")
		b.apply("q", 1, on) // uses the same port
		b.ask("m", false)
		b.pass(3 * time.Second)
		if !d.isOpen(near) {
			t.Error("another policy's port was closed")
		}
	})
}

// Whatever becomes of a policy while somebody waits for its meter, the port is closed
// when nobody uses it any more, and not before.
func TestDemand_PolicyChanges(t *testing.T) {
	elsewhere := func() *schema.Policy {
		p := writablePolicy()
		p.Source.Address = "elsewhere:502"
		return p
	}
	for name, change := range map[string]func(b *bench){
		"removed": func(b *bench) { b.engine.Remove("p") },
		"moved":   func(b *bench) { b.apply("p", 2, elsewhere()) },
		"disabled": func(b *bench) {
			p, off := writablePolicy(), false
			p.Enabled = &off
			b.apply("p", 2, p)
		},
		"moved and removed": func(b *bench) { b.apply("p", 2, elsewhere()); b.engine.Remove("p") },
	} {
		for _, write := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				withDoor(t, func(b *bench, d *door) {
					b.apply("p", 1, writablePolicy())
					b.ask("m", write)
					b.pass(time.Second)
					change(b)
					b.pass(500 * time.Millisecond)
					if !d.isOpen(near) {
						t.Errorf("write %v: the port was closed under it", write)
					}
					b.pass(time.Minute)
					if d.isOpen(near) || d.shut != 1 {
						t.Errorf("write %v: the port was closed %d times, open: %v", write, d.shut, d.isOpen(near))
					}
				})
			})
		}
	}
}

// A slot that is finished on the former port closes that by itself.
func TestDemand_BesideAFormer(t *testing.T) {
	withDoor(t, func(b *bench, d *door) {
		p := policy(10*time.Second, "m", "n", "o")
		b.apply("p", 1, p)
		b.pass(9 * time.Second)
		b.ask("o", false)
		b.pass(1500 * time.Millisecond) // the slot of 10 s has begun
		moved := policy(10*time.Second, "m", "n", "o")
		moved.Source.Address = "elsewhere:502"
		b.apply("p", 2, moved)
		b.pass(time.Second)
		if !d.isOpen(near) {
			t.Error("the port of a slot under way was closed")
		}
		b.pass(6500 * time.Millisecond)
		if d.isOpen(near) || d.shut != 1 || len(b.times("o")) != 2 {
			t.Errorf("the port was closed %d times, open: %v, with %d polls of the last meter", d.shut, d.isOpen(near), len(b.times("o")))
		}
	})
}

func writablePolicy() *schema.Policy {
	least, most := 0.0, 9.0
	p := policy(time.Hour, "m")
	p.Writes = []schema.Write{{Item: "a", Min: &least, Max: &most, Times: 9, Per: schema.Duration(time.Minute)}}
	return p
}
