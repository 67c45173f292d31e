package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/artifact"
	"gnomon/edge/collect"
	"gnomon/edge/health/probe"
	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t *testing.T, text string) *shadow.Value {
	t.Helper()
	v, err := shadow.Parse([]byte(text), limits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// world is everything around a loop, in memory. Its clock is synctest's.
type world struct {
	t        *testing.T
	disk     *disk
	cloud    *cloud
	runner   *runner
	probes   *probe.Prober
	ports    *ports
	policies *collect.Engine
	meter    *meter
	told     watcher
	stop     context.CancelFunc
	ended    chan error
	loop     *Loop
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, disk: &disk{records: map[string][]byte{}},
		cloud:  &cloud{desired: map[string]state.Desired{}, reported: map[string]*shadow.Value{}, changed: make(chan struct{}, 1), complete: true},
		runner: &runner{live: map[string]workload.Status{}, refuse: map[string]error{}, changes: make(chan struct{}, 1)},
		meter:  &meter{value: 1},
		ports:  &ports{open: map[string]bool{}},
		told:   watcher{wake: make(chan struct{}, 1)},
	}
}

// boot starts an agent; shutdown ends it.
func (w *world) boot() {
	w.policies = collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceModbusTCP: w.meter}})
	w.probes = probe.New(probe.Config{Dial: w.ports.dial})
	w.loop = New(Config{
		Node: Node{Agent: "1.0", Boot: "b1", BootEpoch: 7}, Shadows: w.cloud, Workloads: w.runner, Components: w.runner,
		Probes: w.probes, Policies: w.policies, Memory: w.disk, Disk: w.disk.Health, Health: &w.told,
	})
	ctx, stop := context.WithCancel(w.t.Context())
	w.stop, w.ended = stop, make(chan error, 3)
	go func() { w.ended <- w.loop.Run(ctx) }()
	go func() { w.ended <- w.probes.Run(ctx) }()
	go func() { w.ended <- w.policies.Run(ctx) }()
	synctest.Wait()
}

func (w *world) shutdown() {
	w.t.Helper()
	w.stop()
	for range 3 {
		if err := <-w.ended; err != nil {
			w.t.Error(err)
		}
	}
}

// want changes what is desired of a shadow and waits for what follows at once.
func (w *world) want(name string, version uint64, desired string) {
	w.t.Helper()
	w.cloud.set(state.Desired{Name: name, Version: version, DesiredVersion: version, Value: parse(w.t, desired)})
	synctest.Wait()
}

// says checks members of what a shadow reports, by dotted path; "" = absent.
func (w *world) says(name string, want map[string]string) {
	w.t.Helper()
	synctest.Wait()
	got := w.cloud.get(name)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		text := ""
		if v := got.At(strings.Split(path, ".")...); v != nil {
			text = string(v.AppendJSON(nil))
		}
		if text != want[path] {
			w.t.Errorf("%q says %s = %s, want %s", name, path, text, want[path])
		}
	}
}

// disk keeps what the loop remembers.
type disk struct {
	mu      sync.Mutex
	records map[string][]byte
	writes  int
	health  state.Health
}

func (d *disk) Health() state.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.health
}

func (d *disk) set(h state.Health) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.health = h
}

func (d *disk) Put(records ...state.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range records {
		d.records[r.Name] = r.Data
		d.writes++
	}
	return nil
}

func (d *disk) Delete(_ state.Kind, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range names {
		delete(d.records, n)
	}
	return nil
}

func (d *disk) All(state.Kind) (map[string][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.records), nil
}

// watcher hears what passes know, and has against it what a test says.
type watcher struct {
	mu    sync.Mutex
	last  Wanted
	holds reconcile.Holds
	wake  chan struct{}
}

func (w *watcher) Wanted(last Wanted) reconcile.Holds {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = last
	return w.holds
}

func (w *watcher) Changed() <-chan struct{} { return w.wake }

func (w *watcher) components() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.Components
}

// ports are what probes find on the node.
type ports struct {
	mu   sync.Mutex
	open map[string]bool // by address
}

func (p *ports) set(address string, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[address] = open
}

func (p *ports) dial(_ context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open[address] {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	return here, there.Close()
}

// cloud is the shadows of the node.
type cloud struct {
	mu       sync.Mutex
	desired  map[string]state.Desired
	reported map[string]*shadow.Value
	reports  map[string]int
	forgot   []string
	complete bool
	changed  chan struct{}
}

func (c *cloud) set(d state.Desired) {
	c.mu.Lock()
	c.desired[d.Name] = d
	c.mu.Unlock()
	c.changed <- struct{}{}
}

func (c *cloud) get(name string) *shadow.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reported[name]
}

func (c *cloud) Desired() (all []state.Desired, complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.desired)) {
		all = append(all, c.desired[name])
	}
	return all, c.complete
}

func (c *cloud) Changed() <-chan struct{} { return c.changed }

func (c *cloud) Report(name string, v *shadow.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reports == nil {
		c.reports = map[string]int{}
	}
	if !shadow.Equal(c.reported[name], v) {
		c.reports[name]++
	}
	c.reported[name] = v
}

func (c *cloud) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reports[name]
}

func (c *cloud) Gone(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.desired, name)
	c.forgot = append(c.forgot, name)
	return nil
}

// runner runs nothing and says that it does.
type runner struct {
	mu      sync.Mutex
	live    map[string]workload.Status
	refuse  map[string]error // by application or component
	specs   []workload.Spec
	calls   []string
	n       int
	changes chan struct{}
	blocked chan struct{} // when set, Resolve waits for it
	hang    map[string]hang
	loaded  map[string]int64 // of a hundred bytes, by component
}

// hang is a call that doesn't return.
type hang struct {
	until chan struct{}
	deaf  bool // not even when it shall
}

func (r *runner) hangs(call string, deaf bool) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hang == nil {
		r.hang = map[string]hang{}
	}
	h := hang{make(chan struct{}), deaf}
	r.hang[call] = h
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.hang, call)
		close(h.until)
	}
}

// wait hangs where it shall.
func (r *runner) wait(ctx context.Context, call string) error {
	r.mu.Lock()
	h, hangs := r.hang[call]
	r.mu.Unlock()
	if !hangs {
		return nil
	}
	if h.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-h.until:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runner) load(ref string, done int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded == nil {
		r.loaded = map[string]int64{}
	}
	r.loaded[ref] = done
}

// Progress implements Progress.
func (r *runner) Progress(ref string) (done, total int64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, known = r.loaded[ref]
	return done, 100, known
}

func (r *runner) note(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

// took returns the calls since the last time.
func (r *runner) took() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.calls, " ")
	r.calls = nil
	return s
}

func (r *runner) Resolve(ctx context.Context, ref string) (artifact.Component, error) {
	r.mu.Lock()
	blocked, err := r.blocked, r.refuse[ref]
	r.note("resolve:%s", ref)
	r.mu.Unlock()
	if err := r.wait(ctx, "resolve:"+ref); err != nil {
		return artifact.Component{}, err
	}
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return artifact.Component{}, ctx.Err()
		}
	}
	return artifact.Component{Reference: ref, Root: "/" + ref, Image: artifact.Image{
		Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, Env: []string{"A=image", "B=image"}, WorkingDir: "/work", User: "7",
	}}, err
}

func (r *runner) Start(ctx context.Context, s workload.Spec) (workload.Status, error) {
	if err := r.wait(ctx, "start:"+s.Name); err != nil {
		return workload.Status{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("start:%s", s.Name)
	r.specs = append(r.specs, s)
	if err := r.refuse[s.Name]; err != nil {
		return workload.Status{}, err
	}
	r.n++
	st := workload.Status{Name: s.Name, Instance: fmt.Sprint("i", r.n), Hash: s.Hash, Mode: s.Mode, State: workload.Running,
		PID: 100 + r.n, StartedAt: time.Now(), Target: s.Target, TargetInstance: s.TargetInstance}
	if former := r.live[s.Name]; s.Former != "" {
		former.Next = &st
		r.live[s.Name] = former
		return st, nil
	}
	r.live[s.Name] = st
	return st, nil
}

// Dismiss implements workload.HandOver.
func (r *runner) Dismiss(_ context.Context, name, instance string, _ time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("dismiss:%s:%s", name, instance)
	if err := r.refuse["dismiss:"+name]; err != nil {
		return err
	}
	st := r.live[name]
	if st.Instance == instance && st.Next != nil {
		st = *st.Next
	}
	st.Next = nil
	r.live[name] = st
	return nil
}

func (r *runner) Stop(ctx context.Context, name string, _ time.Duration) (workload.Status, error) {
	if err := r.wait(ctx, "stop:"+name); err != nil {
		return workload.Status{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("stop:%s", name)
	st := r.live[name]
	st.State, st.ExitedAt, st.ExitCode, st.Signal, st.PID = workload.Exited, time.Now(), 143, "SIGTERM", 0
	r.live[name] = st
	return st, nil
}

func (r *runner) Remove(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("remove:%s", name)
	if err := r.refuse[name]; err != nil {
		return err
	}
	delete(r.live, name)
	return nil
}

func (r *runner) List(context.Context) ([]workload.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.live), func(a, b workload.Status) int { return strings.Compare(a.Name, b.Name) }), nil
}

func (r *runner) Changes() <-chan struct{} { return r.changes }

// exits ends a workload by itself.
func (r *runner) exits(name string, code int) {
	r.mu.Lock()
	st := r.live[name]
	st.State, st.ExitedAt, st.ExitCode, st.PID = workload.Exited, time.Now(), code, 0
	r.live[name] = st
	r.mu.Unlock()
	r.changes <- struct{}{}
	synctest.Wait()
}

// meter answers every poll with one value.
type meter struct {
	mu    sync.Mutex
	value int64
	err   error
}

func (m *meter) set(value int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value, m.err = value, err
}

func (m *meter) Poll(_ context.Context, q collect.Request) (collect.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := collect.Result{Values: map[string]collect.Value{}, Frames: 1}
	for _, it := range q.Items {
		v := collect.Value{Value: shadow.Int(m.value), At: time.Now(), Err: m.err}
		if m.err != nil {
			v.Value = nil
		}
		r.Values[it.Name] = v
	}
	return r, m.err
}

func (m *meter) Release(schema.Source) {}

// remembered decodes a record on disk.
func (d *disk) remembered(t *testing.T, name string) map[string]any {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.records[name] == nil {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(d.records[name], &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// forgotten tells whether a deleted shadow was let go of.
func (c *cloud) forgotten(name string) bool {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.forgot, name)
}

func (d *disk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// refuses makes steps about an application or a component fail; nil: no more.
func (r *runner) refuses(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse[name] = err
}

// block makes fetches wait for what it returns; nil: no more.
func (r *runner) block(gate chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = gate
}
