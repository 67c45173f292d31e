package health

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/health/usage"
	"gnomon/edge/reconcile"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/schema"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is a cgroup whose numbers the test sets.
type counter struct{ cgroup.Usage }

type groupOf struct{ c *counter }

func (g groupOf) Usage() cgroup.Usage       { return g.c.Usage }
func (g groupOf) IO() (read, written int64) { return 0, 0 }

// rig is a node with a clock of its own, of which one monitor is looked at.
type rig struct {
	t       *testing.T
	dir     string
	now     time.Time
	memory  *memory
	counts  map[string]*counter
	desired map[string]string
	version map[string]uint64
	running map[string]string // instance by application
	node    string
	m       *Monitor
}

type memory struct {
	mu      sync.Mutex
	records map[string][]byte
	err     error
	puts    int
}

func (m *memory) Put(records ...state.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for _, r := range records {
		m.records[r.Name] = r.Data
		m.puts++
	}
	return nil
}

func (m *memory) All(state.Kind) (map[string][]byte, error) { return m.records, nil }

func newRig(t *testing.T) *rig {
	r := &rig{
		t: t, dir: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), memory: &memory{records: map[string][]byte{}},
		counts: map[string]*counter{}, desired: map[string]string{}, version: map[string]uint64{}, running: map[string]string{}, node: "{}",
	}
	r.boot()
	return r
}

func (r *rig) boot() {
	r.t.Helper()
	m, err := New(Config{Workloads: r, Memory: r.memory, Paths: []string{r.dir}, Now: func() time.Time { return r.now }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.m = m
}

func (r *rig) Group(name string) (usage.Group, error) {
	if r.counts[name] == nil {
		return nil, errors.New("no such group")
	}
	return groupOf{r.counts[name]}, nil
}

func (r *rig) Footprint(name string) (data, layers, logs []string) {
	return []string{filepath.Join(r.dir, name, "data")}, []string{filepath.Join(r.dir, name, "layers")}, []string{filepath.Join(r.dir, name+".log")}
}

// want desires an application and lets an instance of it run; "" none.
func (r *rig) want(name, text, instance string) {
	if r.desired[name] != text {
		r.version[name]++
	}
	r.desired[name], r.running[name] = text, instance
	if r.counts[name] == nil {
		r.counts[name] = new(counter)
	}
}

// pass is what the loop does: it tells what is wanted, and hears what is against it.
func (r *rig) pass() reconcile.Holds {
	r.t.Helper()
	n, err := schema.ParseNode([]byte(r.node))
	if err != nil {
		r.t.Fatal(err)
	}
	w := loop.Wanted{Node: n}
	for name, text := range r.desired {
		a, err := schema.ParseApplication([]byte(text))
		if err != nil {
			r.t.Fatal(err)
		}
		w.Apps = append(w.Apps, reconcile.App{Name: name, Want: a, Version: r.version[name]})
		if i := r.running[name]; i != "" {
			w.Observed = append(w.Observed, workload.Status{Name: name, Instance: i, State: workload.Running, PID: os.Getpid()})
		}
	}
	return r.m.Wanted(w)
}

// look lets time go by, passes, measures and passes again.
func (r *rig) look(after time.Duration) reconcile.Holds {
	r.t.Helper()
	r.now = r.now.Add(after)
	r.pass()
	r.m.Look()
	return r.pass()
}

func (r *rig) raised(want ...string) {
	r.t.Helper()
	var got []string
	for _, a := range r.m.Alarms() {
		got = append(got, a.Name)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		r.t.Fatalf("raised are %v, want %v", got, want)
	}
}

// says returns a member that the node reports, as JSON.
func (r *rig) says(path ...string) string {
	v := shadow.NewObject(r.m.Node()...).At(path...)
	if v == nil {
		return ""
	}
	return string(v.AppendJSON(nil))
}

const web = `{"component":"web@1","run":{"resources":{"memory":"100Mi"}}}`

func memoryAlarm(action string) string {
	return `{"alarms":[{"name":"hot","of":"application:web","metric":"memory","above":"80%","clear":"60%","for":"30s","severity":"critical","action":"` + action + `"}]}`
}

func TestMonitor_RaisesReportsAndClears(t *testing.T) {
	r := newRig(t)
	r.node = memoryAlarm("none")
	r.want("web", web, "i1")
	r.counts["web"].Memory = 90 << 20
	r.look(0)
	r.look(29 * time.Second)
	r.raised()
	r.look(time.Second)
	r.raised("hot")
	select {
	case <-r.m.Changed():
	default:
		t.Error("nobody is told")
	}
	if got, want := r.says("activeAlarms", "hot"), `{"above":"80%","action":"none","metric":"memory","of":"application:web","raised":"2026-01-02T03:04:35Z","severity":"critical","value":94371840}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	before := r.says()
	r.counts["web"].Memory = 95 << 20
	r.look(15 * time.Second)
	if got := r.says("activeAlarms"); !strings.Contains(before, got) {
		t.Errorf("what is raised and stays so is reported again: %s", got)
	}
	r.counts["web"].Memory = 60 << 20
	r.look(15 * time.Second)
	r.raised()
	if got, want := r.says("alarmHistory", "1"), `"cleared":"2026-01-02T03:05:05Z"`; !strings.Contains(got, want) || !strings.Contains(got, `"peak":99614720`) {
		t.Errorf("%s lacks %s", got, want)
	}
	if r.says("activeAlarms") != "" {
		t.Error("it is still reported")
	}
}

func TestMonitor_StopHoldsAcrossRestartsUntilDesiredChanges(t *testing.T) {
	r := newRig(t)
	r.node = memoryAlarm("stop")
	r.want("web", web, "i1")
	r.counts["web"].Memory = 90 << 20
	r.look(0)
	h := r.look(30 * time.Second)
	if want := "held by alarm hot: memory is above 80%"; h.Stop["web"] != want {
		t.Fatalf("%+v, want %s", h, want)
	}
	r.want("web", web, "") // as the planner does it
	for range 3 {
		if h = r.look(time.Minute); h.Stop["web"] == "" {
			t.Fatal("released by having been stopped")
		}
		r.boot()
		if h = r.pass(); h.Stop["web"] == "" {
			t.Fatal("forgotten by a restart")
		}
	}
	if r.memory.puts != 1 {
		t.Errorf("one alarm was written %d times", r.memory.puts)
	}
	r.want("web", strings.Replace(web, "100Mi", "200Mi", 1), "")
	if h = r.look(time.Minute); len(h.Stop) != 0 {
		t.Errorf("not released by a change of desired: %+v", h)
	}
	if !strings.Contains(r.says("alarmHistory"), "what is desired changed") {
		t.Error(r.says("alarmHistory"))
	}
}

func TestMonitor_RestartsTheInstanceThatWasMeant(t *testing.T) {
	r := newRig(t)
	r.node = memoryAlarm("restart")
	r.want("web", web, "i1")
	r.counts["web"].Memory = 90 << 20
	r.look(0)
	if h := r.look(30 * time.Second); h.Restart["web"] != "i1" {
		t.Fatalf("%+v", h)
	}
	r.want("web", web, "i2")
	for range 3 { // it uses as much as before: the alarm stays, but nothing is restarted again
		if h := r.look(time.Minute); h.Restart["web"] != "i1" {
			t.Fatalf("%+v", h)
		}
	}
}

func TestMonitor_DefersUpdates(t *testing.T) {
	r := newRig(t)
	r.node = `{"alarms":[{"name":"full","metric":"memory","above":1,"action":"defer-updates"}]}`
	if h := r.look(0); h.Updates != "updates are deferred by alarm full: memory is above 1" {
		t.Errorf("%+v", h)
	}
	r.node = `{"alarms":[]}`
	if h := r.look(time.Second); h.Updates != "" {
		t.Errorf("%+v", h)
	}
}

func TestMonitor_Quota(t *testing.T) {
	r := newRig(t)
	r.want("web", `{"component":"web@1","run":{"resources":{"disk":"1Mi"}}}`, "i1")
	data := filepath.Join(r.dir, "web", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(kib int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(data, "f"), make([]byte, kib<<10), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.m.Walk(t.Context(), new(usage.Walker)); err != nil {
			t.Fatal(err)
		}
	}
	r.look(0)
	write(512)
	r.raised()
	write(2048)
	r.raised("disk-quota:web")
	if h := r.pass(); h.Stop["web"] != "held by alarm disk-quota:web: disk is above 1Mi" {
		t.Errorf("%+v", h)
	}
	r.want("web", r.desired["web"], "")
	r.boot() // what is on disk isn't known now
	if h := r.look(time.Second); h.Stop["web"] == "" {
		t.Error("released by a restart")
	}
	write(1000) // between 95 % and 100 %
	r.raised("disk-quota:web")
	write(512)
	if h := r.pass(); len(h.Stop) != 0 {
		t.Errorf("%+v", h)
	}
	if u := r.m.Usage().Applications["web"]; u.Running || u.Disk.Total() < 512<<10 {
		t.Errorf("%+v", u)
	}
}

// A disk that cannot be written costs no alarm, and no word of it.
func TestMonitor_AlarmsThatCannotBeWrittenDown(t *testing.T) {
	r := newRig(t)
	r.memory.err = errors.New("no space left on device")
	r.node = `{"alarms":[{"name":"full","metric":"memory","above":1}]}`
	r.look(0)
	r.raised("full")
	if r.says("activeAlarms", "full") == "" {
		t.Error("it isn't reported")
	}
	r.memory.err = nil
	r.look(time.Second)
	if !json.Valid(r.memory.records[alarmRecord]) {
		t.Error("not written when that was possible again")
	}
	r.boot()
	r.raised("full")
}

func TestMonitor_UnreadableRecord(t *testing.T) {
	r := newRig(t)
	r.memory.records[alarmRecord] = []byte(`{"raised":7}`)
	r.boot()
	r.raised()
}

func TestMonitor_ReportsUseAndKeepsItAcrossARestart(t *testing.T) {
	r := newRig(t)
	r.want("web", web, "i1")
	r.counts["web"].Memory, r.counts["web"].Pids = 10<<20, 4
	r.look(0)
	r.counts["web"].CPU = time.Second
	r.look(4 * time.Second)
	if got, want := string(shadow.NewObject(r.m.Application("web")...).AppendJSON(nil)), `{"usage":{"cpu":0.25,"memory":10485760,"pids":4,"read":0,"written":0}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for end := time.Now().Add(10 * time.Second); r.says("usage", "cores") == "" && time.Now().Before(end); { // until the kernel's clock has ticked
		r.look(time.Minute)
	}
	if r.says("usage", "cores") == "" || r.says("usage", "fileSystems", r.dir, "size") == "" {
		t.Error(r.says())
	}
	told, err := shadow.Parse([]byte(`{"usage":{"cpu":7}}`), shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r.boot()
	r.m.cfg.Reported = func(string) *shadow.Value { return told }
	r.pass()
	if got := string(shadow.NewObject(r.m.Application("web")...).AppendJSON(nil)); got != `{"usage":{"cpu":7}}` {
		t.Errorf("taken back before it was measured again: %s", got)
	}
}

// Run measures by itself, soon after something new is wanted, and ends with its context.
func TestMonitor_Run(t *testing.T) {
	r := newRig(t)
	m, err := New(Config{Workloads: r, Memory: r.memory, Paths: []string{r.dir}})
	if err != nil {
		t.Fatal(err)
	}
	r.m = m
	r.want("web", web, "i1")
	r.pass()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	select {
	case <-m.Changed():
	case <-time.After(20 * time.Second):
		t.Error("nothing was measured")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
