package reconcile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"

	"pgregory.net/rapid"
)

var names = []string{"a", "b", "c", "d", "e"}

// world is a node whose runner, cloud and misfortunes are made up.
type world struct {
	t        *rapid.T
	now      time.Time
	boot     int
	count    int // of instances and versions
	complete bool
	desired  map[string]state.Desired
	memory   map[string]Memory
	fetched  map[string]bool
	busy     map[string]Step
	inst     map[string]workload.Status
	specs    map[string]*schema.Application // by hash
	health   map[string]Health              // by instance
	log      []string
	first    bool             // whatever can be is started before what it replaces is stopped
	steps    map[StepKind]int // that were planned

	in     Input // of the last pass
	plan   Plan
	ledger ledger
}

// ledger is what is known of instances besides what the planner remembers.
type ledger struct {
	asked   map[string]bool // to end
	boots   map[string]int  // in which a pass saw it alive
	counted map[string]bool // its end was accounted for

	well     map[string]time.Time // since when passes found it well
	rejected map[string]rejection // by application
}

// rejection is what must not be tried again while the same is desired.
type rejection struct {
	version uint64
	hash    string
}

func newLedger() ledger {
	return ledger{map[string]bool{}, map[string]int{}, map[string]bool{}, map[string]time.Time{}, map[string]rejection{}}
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, now: noon, complete: true, desired: map[string]state.Desired{}, memory: map[string]Memory{}, fetched: map[string]bool{},
		busy: map[string]Step{}, inst: map[string]workload.Status{}, specs: map[string]*schema.Application{},
		health: map[string]Health{}, ledger: newLedger(), steps: map[StepKind]int{},
	}
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nso far:\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) chance(percent int, label string) bool {
	return rapid.IntRange(0, 99).Draw(w.t, label) >= 100-percent // shrinks to no
}

func pick[T any](w *world, label string, all ...T) T {
	return rapid.SampledFrom(all).Draw(w.t, label)
}

// observed lists what the runner would.
func (w *world) observed() (all []workload.Status) {
	for _, n := range slices.Sorted(maps.Keys(w.inst)) {
		st := w.inst[n]
		if spec := w.specs[st.Hash]; st.State.Live() && spec != nil {
			st.Claims = claimsOf(&App{Name: n, Want: spec})
			if n != names[0] { // which has data
				st.Claims = slices.DeleteFunc(st.Claims, func(c string) bool { return c == workload.ClaimData })
			}
		}
		all = append(all, st)
	}
	return all
}

// pass is one turn of the loop.
func (w *world) pass() {
	var desired []state.Desired
	for _, n := range slices.Sorted(maps.Keys(w.desired)) {
		desired = append(desired, w.desired[n])
	}
	for rounds := 0; ; rounds++ {
		w.round(desired)
		if !w.plan.again {
			break
		}
		for i := range w.in.Apps {
			w.checkAccount(&w.in.Apps[i])
			w.checkRejected(&w.in.Apps[i])
		}
		if w.memory = w.plan.Memory; rounds > len(names) {
			w.fail("rejects without end")
		}
	}
	w.note("%s pass: %v cancel %v gone %v", w.now.Format(time.TimeOnly), stepNames(w.plan), w.plan.Cancel, w.plan.Gone)
	w.check()
	w.memory = w.plan.Memory
	for _, n := range w.plan.Cancel {
		delete(w.busy, n)
	}
	for _, s := range w.plan.Steps {
		w.busy[s.App] = s
		if w.steps[s.Kind]++; s.Former != "" {
			w.steps["beside"]++
		}
		if st := w.inst[s.App]; s.Kind == Stop && !w.ill(w.wanted(s.App), st) {
			w.ledger.asked[st.Instance] = true
		}
		if s.Kind == Withdraw || s.Kind == Retire {
			w.ledger.asked[s.Instance] = true
		}
	}
	for _, n := range w.plan.Gone {
		delete(w.desired, n)
	}
}

// round prepares and plans once.
func (w *world) round(desired []state.Desired) {
	apps, gone := Prepare(desired, w.memory)
	again, _ := Prepare(desired, w.memory)
	if !reflect.DeepEqual(apps, again) {
		w.fail("prepared differently:\n%+v\n%+v", apps, again)
	}
	for _, a := range apps {
		w.specs[a.Hash] = a.Want
	}
	w.in = Input{
		Now: w.now, Boot: fmt.Sprint("boot-", w.boot), Complete: w.complete, Apps: apps, Gone: gone,
		Observed: w.observed(), Memory: w.memory, Fetched: maps.Clone(w.fetched), Busy: maps.Clone(w.busy), Health: maps.Clone(w.health),
	}
	before := deepCopy(w.in)
	w.plan = Make(w.in)
	if p := Make(w.in); !reflect.DeepEqual(p, w.plan) {
		w.fail("planned differently:\n%+v\n%+v", w.plan, p)
	}
	if !reflect.DeepEqual(before, w.in) {
		w.fail("the input was changed:\n%+v\n%+v", before, w.in)
	}
}

// edit makes up what is wanted of an application. What its program does is told
// by the variable DOES: run, job (ends well after a second), crash (badly), sick
// (its probe fails after a second) or unstartable.
func (w *world) edit() {
	name := pick(w, "name", names...)
	w.count++
	d := state.Desired{Name: schema.AppPrefix + name, Version: uint64(w.count), DesiredVersion: uint64(w.count)}
	text := ""
	switch rapid.IntRange(0, 19).Draw(w.t, "edit") {
	case 17:
	case 18:
		text = `{"mode":"nonsense"}`
	case 19:
		if _, there := w.desired[name]; there {
			d.Deleted = true
		}
	default:
		text = w.document()
	}
	if text != "" {
		v, err := shadow.Parse([]byte(text), shadow.Limits{})
		if err != nil {
			w.fail("%s: %s", text, err)
		}
		d.Value = v
	}
	w.desired[name] = d
	w.note("%s := %s deleted %v", name, text, d.Deleted)
}

func (w *world) document() string {
	var needs []string
	for _, n := range names {
		if w.chance(8, "needs") {
			needs = append(needs, `"`+n+`"`)
		}
	}
	does := pick(w, "does", "run", "run", "run", "run", "run", "run", "run", "job", "crash", "sick", "unstartable")
	run := `"env":{"DOES":"` + does + `","X":"` + pick(w, "env", "1", "2") + `"},"restart":{"policy":"` +
		pick(w, "policy", "always", "always", "on-failure", "never") + `","maxRetries":` + pick(w, "retries", "0", "0", "2") +
		`,"backoff":"` + pick(w, "backoff", "1s", "20s") + `"}`
	if w.chance(40, "probed") {
		run += `,"health":{"tcp":{"port":1}}`
	}
	rest := `,"state":"` + pick(w, "state", "running", "running", "running", "running", "running", "stopped") + `","dependsOn":[` + strings.Join(needs, ",") + `]` +
		pick(w, "update", "", `,"update":{"healthy":"1m"}`, `,"update":{"rollback":true}`, `,"update":{"rollback":true}`,
			`,"update":{"strategy":"auto"}`, `,"update":{"strategy":"auto","shared":true,"healthy":"1m"}`, `,"update":{"strategy":"start-first","rollback":true}`,
			`,"update":{"strategy":"start-first","shared":true}`)
	if w.first {
		rest = `,"update":{"strategy":"` + pick(w, "strategy", "start-first", "auto") + `","shared":true,"rollback":` + pick(w, "rollback", "true", "false") + `}`
		return `{"component":"` + pick(w, "component", "c@1", "c@2") + `"` + rest + `,"run":{"network":"bridge",` + run + `}}`
	}
	component := pick(w, "component", "c@1", "c@1", "c@2", "c@2", "missing@1")
	run += `,"reload":"` + pick(w, "reload", "", "", "SIGHUP") + `","files":[{"path":"/f","content":"` + pick(w, "content", "", "1", "2") + `"}]`
	if w.chance(15, "one serial port") {
		run += `,"serial":["/dev/ttyS1"]`
	}
	host := `"hostname":"` + pick(w, "hostname", "", "", "", "h1", "h2") + `",`
	switch pick(w, "mode", schema.ModeContainer, schema.ModeAttach, schema.ModeHost) {
	case schema.ModeContainer:
		return `{"component":"` + component + `"` + rest + `,"run":{` + pick(w, "network", `"network":"bridge",`, "") + host + run + `}}`
	case schema.ModeAttach:
		if w.chance(15, "spoils its container") {
			host = `"hostname":"bad",`
		}
		return `{"mode":"attach","attachTo":"` + w.target() + `"` + rest + `,"run":{"command":["/x"],` + host + run + `}}`
	default:
		return `{"mode":"host"` + rest + `,"run":{"command":["/x"],` + strings.Replace(run, `,"serial":["/dev/ttyS1"]`, "", 1) + `}}`
	}
}

// target is a name to attach to, preferably of a container.
func (w *world) target() string {
	all := slices.Clone(names[:1])
	for _, a := range w.in.Apps {
		if a.Want != nil && a.Want.Mode == schema.ModeContainer {
			all = append(all, a.Name)
		}
	}
	return pick(w, "target", all...)
}

// forget makes the node forget what the cloud said of an application, until the
// cloud has said it all again.
func (w *world) forget() {
	name := pick(w, "name", names...)
	w.complete = w.chance(30, "complete")
	delete(w.desired, name)
	w.note("%s forgotten, complete %v", name, w.complete)
}

// finish brings a step to its end. Only where trouble is possible does it fail
// without a reason.
func (w *world) finish(s Step, trouble bool) {
	delete(w.busy, s.App)
	if trouble && w.chance(25, "step fails") {
		w.note("%s %s fails", s.Kind, s.App)
		instance := ""
		if s.Kind == Start && s.Former == "" && !w.inst[s.App].State.Live() && w.chance(50, "as an instance") {
			instance = w.create(s, workload.Failed).Instance
		}
		w.failed(s, Fault{Code: string(s.Kind) + "-failed", Retryable: true}, instance)
		return
	}
	w.note("%s %s done", s.Kind, s.App)
	switch s.Kind {
	case Fetch:
		if s.Component == "missing@1" {
			w.failed(s, Fault{Code: "component-not-found", Retryable: true}, "")
			return
		}
		w.fetched[s.Component] = true
	case Start:
		w.start(s)
	case Reload:
		w.reload(s)
	case Stop:
		w.stop(s.App, pick(w, "exit code", 0, 143))
	case Retire, Withdraw:
		if !w.dismiss(s) { // it was not asked after all
			delete(w.ledger.asked, s.Instance)
			w.failed(s, Fault{Code: codeBeside, Retryable: true}, "")
		}
	case Remove:
		w.stop(s.App, 0)
		delete(w.inst, s.App)
	}
}

func (w *world) failed(s Step, f Fault, instance string) {
	w.memory[s.App] = w.memory[s.App].FailedStep(s, f, instance, w.now)
}

// start is the runner's: it checks what its contract promises to.
func (w *world) start(s Step) {
	spec, st := w.specs[s.Hash], w.inst[s.App]
	switch {
	case st.State.Live() && (s.Former != st.Instance || st.Next != nil && st.Next.State.Live()):
		w.failed(s, Fault{Code: "already-running", Retryable: true}, st.Instance)
	case !w.joinable(s, spec):
		w.failed(s, Fault{Code: "target-not-running", Retryable: true}, "")
	case spec.Run.Env["DOES"] == "unstartable", spec.Run.Hostname == "bad":
		w.failed(s, Fault{Code: "invalid"}, w.create(s, workload.Failed).Instance)
		if st.State.Live() { // nothing is left of it
			w.inst[s.App] = st
		}
	default:
		st := w.create(s, workload.Running)
		w.memory[s.App] = w.memory[s.App].Started(st, s.Hash, w.in.Boot)
	}
}

// reload is the runner's: nothing but the content of files may be another.
func (w *world) reload(s Step) {
	st := w.inst[s.App]
	if st.State != workload.Running || w.specs[s.Hash].Run.Env["DOES"] == "unstartable" {
		w.failed(s, Fault{Code: codeReload, Retryable: true}, "")
		return
	}
	runs, wanted := *w.specs[st.Hash], *w.specs[s.Hash]
	for _, spec := range []*schema.Application{&runs, &wanted} {
		spec.Run.Files, spec.Run.Reload, spec.Run.Restart, spec.DependsOn, spec.State = nil, "", schema.Restart{}, nil, ""
		spec.Run.Health, spec.Update = nil, schema.Update{}
	}
	if !reflect.DeepEqual(runs, wanted) {
		w.fail("%s is reloaded, though more is another than its files:\n%+v\n%+v", s.App, runs, wanted)
	}
	st.Hash = s.Hash
	w.inst[s.App] = st
}

func (w *world) joinable(s Step, spec *schema.Application) bool {
	if spec.Mode != schema.ModeAttach {
		return true
	}
	t := w.inst[spec.AttachTo]
	return t.State == workload.Running && t.Instance == s.TargetInstance && t.Mode == schema.ModeContainer
}

func (w *world) create(s Step, st workload.State) workload.Status {
	w.count++
	spec := w.specs[s.Hash]
	i := workload.Status{Name: s.App, Instance: fmt.Sprint(s.App, w.count), Hash: s.Hash, Mode: spec.Mode, State: st}
	if st == workload.Running {
		i.StartedAt = w.now
	}
	if spec.Mode == schema.ModeAttach {
		i.Target, i.TargetInstance = spec.AttachTo, s.TargetInstance
	}
	if was := w.inst[s.App]; was.State.Live() {
		if s.Former != was.Instance {
			w.fail("%+v beside %+v", s, was)
		}
		was.Next = &i
		w.inst[s.App] = was
		return i
	}
	w.inst[s.App] = i
	return i
}

// end ends an instance, and what is in the container with it.
func (w *world) end(name string, as workload.State, code int) {
	st := w.inst[name]
	if !st.State.Live() {
		return
	}
	instance := st.Instance
	if st.Next != nil && st.Next.State.Live() {
		st = *st.Next // is all there is
	} else {
		st.State, st.ExitCode, st.ExitedAt = as, code, w.now
	}
	w.inst[name] = st
	for n, other := range w.inst {
		if other.Target == name && other.TargetInstance == instance {
			w.endNext(n, workload.Exited, 137) // which is in there, too
			w.end(n, workload.Exited, 137)
		}
	}
}

func (w *world) live() (all []string) {
	for _, st := range w.observed() {
		if st.State.Live() {
			all = append(all, st.Name)
		}
	}
	return all
}

// exit ends something by itself.
func (w *world) exit() {
	if all := w.live(); len(all) > 0 {
		n, code := pick(w, "who", all...), pick(w, "code", 0, 1, 137)
		if w.inst[n].Next != nil && w.chance(60, "the one beside it") {
			w.note("%s beside %s exits %d", w.inst[n].Next.Instance, n, code)
			w.endNext(n, workload.Exited, code)
			return
		}
		w.note("%s exits %d", n, code)
		w.end(n, workload.Exited, code)
	}
}

// restart is that of the agent: steps under way end somehow, with nobody to note it.
func (w *world) restart() {
	w.note("agent restarts")
	for _, n := range slices.Sorted(maps.Keys(w.busy)) {
		s := w.busy[n]
		if !w.chance(50, "step goes on") {
			continue
		}
		switch {
		case s.Kind == Stop:
			w.stop(n, 143)
		case s.Kind == Retire:
			w.dismiss(s)
		case s.Kind == Withdraw && w.inst[n].Next != nil && w.inst[n].Next.Instance == s.Instance:
			if w.endNext(n, workload.Exited, 143); w.chance(50, "it is deleted") {
				w.dismiss(s)
			}
		case s.Kind == Start && (!w.inst[n].State.Live() || s.Former == w.inst[n].Instance) && w.joinable(s, w.specs[s.Hash]):
			w.create(s, pick(w, "start went on", workload.Starting, workload.Running, workload.Failed))
		}
	}
	w.busy, w.fetched, w.health = map[string]Step{}, map[string]bool{}, map[string]Health{}
	if w.chance(20, "memory lost") {
		w.note("memory lost")
		w.memory, w.ledger = map[string]Memory{}, newLedger()
	}
}

func (w *world) reboot() {
	w.restart()
	orderly := w.chance(50, "orderly")
	w.note("reboot, orderly %v", orderly)
	for _, n := range w.live() {
		as, code := workload.Failed, 0
		if orderly {
			as, code = workload.Exited, 143
		}
		w.endNext(n, as, code)
		w.end(n, as, code)
	}
	w.boot++
}

// begun brings to an end what an agent that is gone has begun.
func (w *world) begun() {
	for _, st := range w.observed() {
		if st.State == workload.Starting {
			st.State, st.StartedAt = workload.Running, w.now
			w.inst[st.Name] = st
		}
		if st.Next != nil && st.Next.State == workload.Starting {
			next := *st.Next
			next.State, next.StartedAt = workload.Running, w.now
			st.Next = &next
			w.inst[st.Name] = st
		}
	}
}

// probe finds something, be it right or wrong.
func (w *world) probe() {
	if all := w.live(); len(all) > 0 {
		n := pick(w, "who", all...)
		state := pick(w, "found", schema.HealthHealthy, schema.HealthUnhealthy, schema.HealthStarting)
		instance := w.inst[n].Instance
		if next := w.inst[n].Next; next != nil && w.chance(60, "the one beside it") {
			instance = next.Instance
		}
		w.note("%s is found %s", instance, state)
		w.found(instance, state)
	}
}

func (w *world) found(instance string, state schema.HealthState) {
	if w.health[instance].State != state {
		w.health[instance] = Health{State: state, Since: w.now}
	}
}

// probes find what is so; with news there was something to find, or will be.
func (w *world) probes() (news bool) {
	before := maps.Clone(w.health)
	for _, st := range w.each() {
		if st.State != workload.Running {
			continue
		}
		if w.now.Sub(st.StartedAt).Abs() < time.Second {
			news = true
			continue
		}
		if w.specs[st.Hash].Run.Env["DOES"] == "sick" {
			w.found(st.Instance, schema.HealthUnhealthy)
		} else {
			w.found(st.Instance, schema.HealthHealthy)
		}
	}
	return news || !maps.Equal(before, w.health)
}

// programs do what they do.
func (w *world) programs() (ended bool) {
	for _, st := range w.each() {
		spec := w.specs[st.Hash]
		if st.State != workload.Running || w.now.Sub(st.StartedAt).Abs() < time.Second {
			continue
		}
		end := w.end
		if next := w.inst[st.Name].Next; next != nil && next.Instance == st.Instance {
			end = w.endNext
		}
		switch spec.Run.Env["DOES"] {
		case "job":
			end(st.Name, workload.Exited, 0)
		case "crash":
			end(st.Name, workload.Exited, 1)
		default:
			continue
		}
		ended = true
	}
	return ended
}

func (w *world) pause() {
	d := pick(w, "pause", 0, time.Second, 7*time.Second, time.Minute, time.Hour, -time.Minute, -50*time.Hour)
	if w.chance(50, "until woken") && !w.plan.Wake.IsZero() {
		d = w.plan.Wake.Sub(w.now)
	}
	w.note("clock %s", d)
	w.now = w.now.Add(d)
}

func (w *world) misfortune() {
	switch rapid.IntRange(0, 31).Draw(w.t, "event") {
	case 0, 1, 2, 3, 4, 5:
		w.edit()
	case 6, 7:
		w.pause()
	case 8, 9:
		w.exit()
	case 10:
		w.restart()
	case 11:
		w.reboot()
	case 12:
		w.forget()
	case 13:
		w.programs()
		w.probes()
	case 17, 18:
		w.probe()
	case 14:
		w.begun()
	case 15, 16: // edits of what has come to rest are a case of their own
		for range 6 {
			w.turn()
		}
		w.edit()
	default:
		if len(w.busy) > 0 {
			w.finish(w.busy[pick(w, "step", slices.Sorted(maps.Keys(w.busy))...)], true)
		}
	}
}

func TestWorld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		for range rapid.IntRange(1, 6).Draw(rt, "apps") {
			w.edit()
		}
		for range rapid.IntRange(0, 60).Draw(rt, "events") {
			w.pass()
			w.misfortune()
		}
		w.settle()
	})
}
