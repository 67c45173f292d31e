package executor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/collect"
	"gnomon/edge/health/probe"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
	"gnomon/shadow"
)

// station is a node with all of an agent on it but the link: documents go in, and
// reports come out.
type station struct {
	*node
	shadows *shadows
	loop    *loop.Loop
	end     func()
}

func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{node: newNode(t), shadows: newShadows()}
	s.reconcile()
	t.Cleanup(func() { s.end() }) // before the node's own
	return s
}

// reconcile starts the part of an agent that decides.
func (s *station) reconcile() {
	s.t.Helper()
	disk, err := state.Open(state.Config{Dir: filepath.Join(s.data, "state")})
	if err != nil {
		s.t.Fatal(err)
	}
	components, err := artifact.New(artifact.Config{Data: s.data})
	if err != nil {
		s.t.Fatal(err)
	}
	probes := probe.New(probe.Config{Exec: s.Executor.Exec})
	s.loop = loop.New(loop.Config{
		Node: loop.Node{Agent: "test", Boot: instance.BootID(), BootEpoch: 1}, Shadows: s.shadows, Workloads: s.Executor,
		Components: components, Probes: probes, Policies: collect.New(collect.Config{}), Memory: disk, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.loop.Run(ctx) }()
	go func() { done <- probes.Run(ctx) }()
	s.end = func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
		if err := disk.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// document is an application that runs a script, with further members of run.
func (s *station) document(mode schema.Mode, script string, run map[string]any) map[string]any {
	members := map[string]any{"command": []string{"sh", "-c", script}, "stopGrace": "1s"}
	d := map[string]any{"mode": mode, "run": members}
	switch mode {
	case schema.ModeContainer:
		d["component"] = "file://" + s.rootfs
	case schema.ModeAttach:
		d["attachTo"] = "target"
	case schema.ModeHost:
		members["env"] = map[string]string{"PATH": filepath.Join(s.rootfs, "bin")}
	}
	if env, ok := run["env"].(map[string]string); ok && mode == schema.ModeHost {
		env["PATH"] = filepath.Join(s.rootfs, "bin")
	}
	maps.Copy(members, run)
	return d
}

// want makes a document desired and returns its version.
func (s *station) want(name string, document map[string]any) uint64 {
	s.t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := shadow.Parse(text, shadow.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.shadows.set(schema.AppPrefix+name, v)
}

// says waits until the report of an application satisfies a condition.
func (s *station) says(name, what string, ok func(report) bool) report {
	s.t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		r, newer := s.shadows.report(schema.AppPrefix + name)
		if ok(r) {
			return r
		}
		select {
		case <-newer:
		case <-late.C:
			s.t.Fatalf("%s never said %s: %s\nlog:\n%s", name, what, r.AppendJSON(nil), s.log(name))
		}
	}
}

// runs waits until an application runs as a version of its document wants it.
func (s *station) runs(name string, version uint64) workload.Status {
	s.t.Helper()
	s.says(name, fmt.Sprintf("that it runs at version %d", version), func(r report) bool {
		return r.phase() == "running" && r.observed() >= version && r.At("error") == nil
	})
	return s.get(name)
}

// report is what an application says of itself.
type report struct{ *shadow.Value }

func (r report) phase() string { return r.text("phase") }

func (r report) text(path ...string) string {
	v := r.At(path...)
	if v.Kind() == shadow.String {
		return v.Text()
	}
	if v == nil {
		return ""
	}
	return string(v.AppendJSON(nil))
}

func (r report) observed() uint64 {
	var n uint64
	_, _ = fmt.Sscan(r.text("observedVersion"), &n)
	return n
}

// shadows are the documents of a node, without a cloud.
type shadows struct {
	changed chan struct{}

	mu       sync.Mutex
	version  uint64
	desired  map[string]state.Desired
	reported map[string]*shadow.Value
	newer    chan struct{} // closed by the next report
}

func newShadows() *shadows {
	return &shadows{changed: make(chan struct{}, 1), newer: make(chan struct{}),
		desired: map[string]state.Desired{}, reported: map[string]*shadow.Value{}}
}

func (s *shadows) set(name string, v *shadow.Value) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.desired[name] = state.Desired{Name: name, Version: s.version, DesiredVersion: s.version, Value: v, Deleted: v == nil}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.version
}

func (s *shadows) report(name string) (report, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return report{s.reported[name]}, s.newer
}

func (s *shadows) Desired() ([]state.Desired, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []state.Desired
	for _, name := range slices.Sorted(maps.Keys(s.desired)) {
		all = append(all, s.desired[name])
	}
	return all, true
}

func (s *shadows) Changed() <-chan struct{} { return s.changed }

func (s *shadows) Report(name string, v *shadow.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reported[name] = v
	close(s.newer)
	s.newer = make(chan struct{})
}

func (s *shadows) Gone(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.desired, name)
	return nil
}
