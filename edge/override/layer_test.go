package override

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

func parse(t *testing.T, text string) *shadow.Value {
	t.Helper()
	v, err := shadow.Parse([]byte(text), limits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// below is the cloud's shadows and the disk, in memory.
type below struct {
	mu        sync.Mutex
	desired   map[string]state.Desired
	complete  bool
	changed   chan struct{}
	reported  map[string]*shadow.Value
	gone      []string
	kept      []string
	withdrawn []string
	records   map[string][]byte
	full      bool // the disk is
	boot      string
}

func newBelow() *below {
	return &below{desired: map[string]state.Desired{}, complete: true, changed: make(chan struct{}, 1), reported: map[string]*shadow.Value{}, records: map[string][]byte{}, boot: "a"}
}

func (b *below) Desired() (all []state.Desired, complete bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(b.desired)) {
		all = append(all, b.desired[name])
	}
	return all, b.complete
}
func (b *below) Changed() <-chan struct{} { return b.changed }
func (b *below) Report(name string, v *shadow.Value) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reported[name] = v
}
func (b *below) Gone(name string) error { b.gone = append(b.gone, name); return nil }
func (b *below) Keep(names ...string)   { b.kept = append(b.kept, names...) }
func (b *below) Withdraw(name string) error {
	b.withdrawn = append(b.withdrawn, name)
	return nil
}
func (b *below) Put(rs ...state.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errors.New("no space left")
	}
	for _, r := range rs {
		b.records[r.Name] = r.Data
	}
	return nil
}
func (b *below) Delete(_ state.Kind, names ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errors.New("read-only file system")
	}
	for _, n := range names {
		delete(b.records, n)
	}
	return nil
}
func (b *below) All(state.Kind) (map[string][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.records), nil
}

// fill makes the disk take nothing any more, or again.
func (b *below) fill(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = full
}

// node is a layer that runs in synctest's time.
type node struct {
	*Layer
	t     *testing.T
	below *below
	stop  func()
}

func boot(t *testing.T, b *below) *node {
	t.Helper()
	l, err := New(Config{Below: b, Holder: b, Memory: b, Limit: DefaultLimit, Clock: func() Moment {
		return Moment{Wall: time.Now(), Boot: b.boot, Up: time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	synctest.Wait()
	return &node{l, t, b, func() { cancel(); <-ended }}
}

// cloud makes the cloud desire something; "" deletes it.
func (n *node) cloud(app string, version uint64, desired string) {
	n.t.Helper()
	d := state.Desired{Name: "app:" + app, Version: version, DesiredVersion: version, Deleted: desired == ""}
	if desired != "" {
		d.Value = parse(n.t, desired)
	}
	n.below.mu.Lock()
	n.below.desired[d.Name] = d
	n.below.mu.Unlock()
	signal(n.below.changed)
	synctest.Wait()
}

// wants checks what the node shall do about an application.
func (n *node) wants(app, want string) {
	n.t.Helper()
	all, _ := n.Desired()
	d, there := find(all, "app:"+app)
	got := "nothing"
	switch {
	case there && d.Deleted:
		got = "gone"
	case there:
		got = string(d.Value.AppendJSON(nil))
	}
	if got != want {
		n.t.Errorf("%s: wanted is %s, not %s", app, got, want)
	}
}

// says reports on an application and returns what the cloud is told beside it.
func (n *node) says(app string) schema.Override {
	n.Report("app:"+app, parse(n.t, `{"phase":"running","blockers":["b"]}`))
	o, _ := schema.OverrideOf(n.below.reported["app:"+app])
	return o
}

func (n *node) change(app, patch string, d time.Duration) {
	n.t.Helper()
	if _, err := n.Make(Change{Do: Patch, App: app, Value: parse(n.t, patch), Reason: "why", By: "root", For: d}); err != nil {
		n.t.Fatal(err)
	}
}

const web = `{"component":"w@1","run":{"env":{"A":"1"}},"state":"running"}`

func TestLayer_ChangeYieldsWhenItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		n.change("web", `{"state":"stopped","run":{"env":{"B":"2"}}}`, time.Hour)
		n.wants("web", `{"component":"w@1","run":{"env":{"A":"1","B":"2"}},"state":"stopped"}`)
		o := n.says("web")
		if o.Kind != schema.OverrideChanged || o.Base != 4 || o.By != "root" || o.Reason != "why" || strings.Join(o.Paths, " ") != "run.env.B state" ||
			o.Until.Sub(o.At) != time.Hour || len(o.Conflicts) > 0 {
			t.Errorf("told %+v", o)
		}
		if got := string(n.below.reported["app:web"].Get("blockers").AppendJSON(nil)); !strings.HasPrefix(got, `[{"code":"other","message":"b"},{"code":"overridden","message":"overridden on the node by root until `) {
			t.Errorf("blockers %s", got)
		}
		n.Report("", parse(t, `{"node":{"os":"x"}}`))
		if n.below.reported[""].At("node", "overrides", "web").Text() == "" {
			t.Error("the node doesn't tell")
		}
		time.Sleep(time.Hour - time.Second)
		n.wants("web", `{"component":"w@1","run":{"env":{"A":"1","B":"2"}},"state":"stopped"}`)
		<-n.Changed()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		n.wants("web", web)
		select {
		case <-n.Changed():
		default:
			t.Error("nobody is told that the lease is over")
		}
		if n.says("web").Kind != "" || len(n.All()) != 0 || len(n.below.records) != 0 {
			t.Error("something is left of it")
		}
	})
}

// A disk that takes nothing any more prolongs no lease, nor does another start.
func TestLayer_EndsWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		n := boot(t, b)
		n.cloud("web", 4, web)
		n.change("web", `{"state":"stopped"}`, time.Hour)
		b.fill(true)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		n.wants("web", web)
		n.stop()
		n = boot(t, b)
		defer n.stop()
		n.wants("web", web)
	})
}

// What the cloud changes beside it applies at once; what it changes of the same is
// a conflict, and applies when the override ends.
func TestLayer_Conflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		n.change("web", `{"run":{"env":{"A":"9"}}}`, 0)
		n.cloud("web", 5, `{"component":"w@2","run":{"env":{"A":"1"}},"state":"running"}`)
		n.wants("web", `{"component":"w@2","run":{"env":{"A":"9"}},"state":"running"}`)
		if o := n.says("web"); len(o.Conflicts) != 0 {
			t.Errorf("conflicts %v", o.Conflicts)
		}
		n.cloud("web", 6, `{"component":"w@2","run":{"env":{"A":"5"}},"state":"running"}`)
		n.wants("web", `{"component":"w@2","run":{"env":{"A":"9"}},"state":"running"}`)
		if o := n.says("web"); strings.Join(o.Conflicts, " ") != "run.env.A" {
			t.Errorf("conflicts %v", o.Conflicts)
		}
		if err := n.Clear("web"); err != nil {
			t.Fatal(err)
		}
		n.wants("web", `{"component":"w@2","run":{"env":{"A":"5"}},"state":"running"}`)
	})
}

func TestLayer_EndsWhenTheCloudAsksForTheSameOrDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		n.change("web", `{"run":{"env":{"A":"9"}}}`, 0)
		n.cloud("web", 5, `{"component":"w@1","run":{"env":{"A":"9"}},"state":"running"}`)
		if len(n.All()) != 0 {
			t.Error("in force, though the cloud asks for the same")
		}
		n.change("web", `{"state":"stopped"}`, 0)
		n.cloud("web", 6, "")
		n.wants("web", "gone")
		if len(n.All()) != 0 {
			t.Error("in force, though the cloud has deleted it")
		}
		if err := n.Gone("app:web"); err != nil || len(n.below.gone) != 1 {
			t.Error("the cloud's is not forgotten")
		}
	})
}

// A further change goes into the override there is and keeps its lease; one that
// undoes the first ends it.
func TestLayer_FurtherChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		n.change("web", `{"state":"stopped"}`, time.Hour)
		until := n.says("web").Until
		time.Sleep(30 * time.Minute)
		n.change("web", `{"run":{"env":{"A":null}}}`, 0)
		n.wants("web", `{"component":"w@1","run":{"env":{}},"state":"stopped"}`)
		if o := n.says("web"); !o.Until.Equal(until) || strings.Join(o.Paths, " ") != "run.env.A state" {
			t.Errorf("%+v", o)
		}
		n.change("web", `{"run":{"env":{"A":"1"}}}`, 3*time.Hour)
		if o := n.says("web"); o.Until.Sub(o.At) != 3*time.Hour || strings.Join(o.Paths, " ") != "state" {
			t.Errorf("%+v", o)
		}
		n.change("web", `{"state":"running"}`, 0)
		n.wants("web", web)
		if len(n.All()) != 0 {
			t.Error("an override that changes nothing is in force")
		}
	})
}

// What is installed on the node outlives restarts and syncs, is withdrawn when its
// lease is over and nothing is left of it, and is the cloud's once it asks for the same.
func TestLayer_Installed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		n := boot(t, b)
		c := Change{Do: Install, App: "own", Value: parse(t, web), Reason: "why", By: "root", For: time.Hour}
		if _, err := n.Make(c); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Make(c); !errors.Is(err, ErrExists) {
			t.Errorf("installed twice: %v", err)
		}
		n.wants("own", web)
		if o := n.says("own"); o.Kind != schema.OverrideInstalled || o.Base != 0 || len(o.Paths)+len(o.Conflicts) > 0 {
			t.Errorf("%+v", o)
		}
		n.stop()
		b.boot = "b"
		n = boot(t, b)
		n.wants("own", web)
		if strings.Join(b.kept, " ") != "app:own app:own" {
			t.Errorf("kept: %v", b.kept)
		}
		n.cloud("own", 3, `{"component":"w@2"}`)
		n.wants("own", web)
		if o := n.says("own"); len(o.Conflicts) == 0 {
			t.Errorf("no conflict: %+v", o)
		}
		n.cloud("own", 4, "")
		n.wants("own", web)
		time.Sleep(time.Hour)
		synctest.Wait()
		n.wants("own", "gone")
		n.stop()
		n = boot(t, b)
		n.wants("own", "gone")
		if err := n.Gone("app:own"); err != nil || strings.Join(b.withdrawn, " ") != "app:own" || len(b.records) != 0 || len(b.gone) != 0 {
			t.Errorf("%v, withdrawn %v, records %v, gone %v", err, b.withdrawn, b.records, b.gone)
		}
		n.wants("own", "gone") // by the cloud, which deleted it
		delete(b.desired, "app:own")
		if _, err := n.Make(c); err != nil {
			t.Fatal(err)
		}
		n.cloud("own", 7, web)
		if len(n.All()) != 0 || len(b.withdrawn) != 2 {
			t.Errorf("not adopted: %v, withdrawn %v", n.All(), b.withdrawn)
		}
		n.stop()
	})
}

func TestLayer_Removed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		if _, err := n.Make(Change{Do: Remove, App: "web", For: time.Hour}); err != nil {
			t.Fatal(err)
		}
		n.wants("web", "gone")
		if err := n.Gone("app:web"); err != nil || len(n.below.gone) != 0 {
			t.Error("the shadow is forgotten, and not the node's part of it")
		}
		r := n.below.reported["app:web"]
		if o, _ := schema.OverrideOf(r); o.Kind != schema.OverrideRemoved || r.Get("phase").Text() != "pending" {
			t.Errorf("reported %s", r.AppendJSON(nil))
		}
		if _, err := n.Make(Change{Do: Patch, App: "web", Value: parse(t, `{"state":"stopped"}`)}); !errors.Is(err, ErrRemoved) {
			t.Errorf("changed what isn't there: %v", err)
		}
		n.cloud("web", 5, `{"component":"w@2"}`)
		if o := n.says("web"); len(o.Conflicts) == 0 {
			t.Error("no conflict")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		n.wants("web", `{"component":"w@2"}`)
	})
}

// What is refused changes nothing, and says why.
func TestLayer_Refuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, newBelow())
		defer n.stop()
		n.cloud("web", 4, web)
		for text, c := range map[string]Change{
			"no such application":           {App: "none", Value: parse(t, `{"state":"stopped"}`)},
			"a name is 1 to 48":             {App: "a b", Value: parse(t, `{}`)},
			"so already":                    {App: "web", Value: parse(t, `{"state":"running"}`)},
			"this node grants 1s to 24h":    {App: "web", Value: parse(t, `{"state":"stopped"}`), For: 25 * time.Hour},
			"run.resources.memory":          {App: "web", Value: parse(t, `{"run":{"resources":{"memory":"1Ki"}}}`)},
			"the reason has 257 bytes, 256": {App: "web", Value: parse(t, `{"state":"stopped"}`), Reason: strings.Repeat("x", 257)},
			"bytes, 65536 are the limit":    {App: "web", Value: parse(t, `{"run":{"env":{"A":"`+strings.Repeat("x", 70000)+`"}}}`)},
		} {
			c.Do = Patch
			if _, err := n.Make(c); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
		}
		n.below.fill(true)
		if _, err := n.Make(Change{Do: Patch, App: "web", Value: parse(t, `{"state":"stopped"}`)}); err == nil {
			t.Error("in force without being on disk")
		}
		n.below.fill(false)
		n.wants("web", web)
		if len(n.below.records) != 0 || len(n.All()) != 0 {
			t.Error("something was done")
		}
		for i := range MaxOverrides {
			if _, err := n.Make(Change{Do: Install, App: "x" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Value: parse(t, web)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.Make(Change{Do: Patch, App: "web", Value: parse(t, `{"state":"stopped"}`)}); !errors.Is(err, ErrLimit) {
			t.Errorf("over the limit: %v", err)
		}
		n.cfg.Limit = 0
		if _, err := n.Make(Change{Do: Patch, App: "web", Value: parse(t, `{"state":"stopped"}`)}); !errors.Is(err, ErrDisabled) {
			t.Errorf("disabled: %v", err)
		}
	})
}
