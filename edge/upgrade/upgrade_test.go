package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/artifact"
	"gnomon/edge/upgrade/slot"
	"gnomon/schema"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a node's directory, and an agent of version 1.2.0 on it.
type rig struct {
	t         *testing.T
	data      string
	dir       *slot.Dir
	cfg       Config
	cloud     atomic.Bool
	resolved  atomic.Int64
	instances map[string]string
	now       time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, data: t.TempDir(), now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), instances: map[string]string{"web": "i1"}}
	r.dir = slot.At(r.data)
	r.cloud.Store(true)
	components, err := artifact.New(artifact.Config{Components: filepath.Join(r.data, "inbox"), Data: r.data})
	if err != nil {
		t.Fatal(err)
	}
	factory := filepath.Join(r.data, "factory")
	r.agent(factory, "echo gnomon-edge 1.2.0")
	r.cfg = Config{
		Version: "1.2.0", Shim: filepath.Join(factory, slot.Shim), Components: counted{components, &r.resolved},
		Launch:    &slot.Launch{Protocol: 1, Data: r.data, Factory: factory, Target: factory},
		Instances: func(context.Context) (map[string]string, error) { return r.instances, nil },
		Cloud:     r.cloud.Load,
		Now:       func() time.Time { return r.now },
	}
	return r
}

// counted counts what is asked for.
type counted struct {
	Components
	n *atomic.Int64
}

func (c counted) Resolve(ctx context.Context, reference string) (artifact.Component, error) {
	c.n.Add(1)
	return c.Components.Resolve(ctx, reference)
}

// agent writes programs that say a version.
func (r *rig) agent(dir, says string) {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for _, p := range []string{slot.Agent, slot.Shim} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte("#!/bin/sh\n"+says+"\n"), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) component(name, says string) {
	r.agent(filepath.Join(r.data, "inbox", "gnomon-edge@"+name), says)
}

// run runs an agent until it reports what ok waits for, or hands over.
func (r *rig) run(u *Upgrade, ok func(Status) bool) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := u.Begin(ctx); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	for {
		if ok != nil && ok(u.Status()) {
			cancel()
			return <-done
		}
		select {
		case err := <-done:
			if ctx.Err() != nil {
				r.t.Fatalf("waited in vain; last: %+v", u.Status())
			}
			return err
		case <-u.Changed():
		case <-ctx.Done():
		}
	}
}

func want(version string) *schema.NodeAgent {
	return &schema.NodeAgent{Version: version, Component: "gnomon-edge@" + version}
}

func failed(code string) func(Status) bool {
	return func(s Status) bool { return s.Phase == Failed && s.Error.Code == code }
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       func(*schema.NodeAgent)
		prepare    func(*rig)
	}{
		{"no launcher", "no-launcher", nil, func(r *rig) { r.cfg.Launch = nil }},
		{"lower", "downgrade", func(a *schema.NodeAgent) { a.Version = "1.1.9" }, nil},
		{"nothing there", "component-not-found", func(a *schema.NodeAgent) { a.Component = "gnomon-edge@9" }, nil},
		{"another digest", "digest-mismatch", func(a *schema.NodeAgent) { a.Digest = "sha256:" + strings.Repeat("0", 64) }, nil},
		{"another version", "version-mismatch", nil, func(r *rig) { r.component("2.0.0", "echo gnomon-edge 2.0.1") }},
		{"doesn't start", "component-unusable", nil, func(r *rig) { r.component("2.0.0", "exit 1") }},
		{"no program", "component-unusable", nil, func(r *rig) {
			_ = os.Remove(filepath.Join(r.data, "inbox", "gnomon-edge@2.0.0", slot.Agent))
		}},
		{"path", "component-reference", func(a *schema.NodeAgent) { a.Component = "file:///a/../b" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.component("2.0.0", "echo gnomon-edge 2.0.0")
			if c.prepare != nil {
				c.prepare(r)
			}
			a := want("2.0.0")
			if c.want != nil {
				c.want(a)
			}
			u := New(r.cfg)
			u.Want(a)
			var agent, upgrade *shadow.Value
			if err := r.run(u, func(Status) bool {
				agent, upgrade = u.Report()
				return upgrade.At("error", "code").Text() == c.code
			}); err != nil {
				t.Fatal(err)
			}
			if n := r.resolved.Load(); n > 1 && string(upgrade.At("error", "retryable").AppendJSON(nil)) != "true" {
				t.Errorf("tried %d times, which can't succeed", n)
			}
			if v := agent.Get("version").Text(); v != "1.2.0" || upgrade.At("error", "code").Text() != c.code {
				t.Errorf("reported %s, %s", agent.AppendJSON(nil), upgrade.AppendJSON(nil))
			}
			if r.dir.Target(slot.New) != "" {
				t.Error("it was put on trial")
			}
		})
	}
}

// staged brings a node to where its next start is a trial of 2.0.0.
func (r *rig) staged() *Upgrade {
	r.t.Helper()
	r.component("2.0.0", "echo gnomon-edge 2.0.0")
	u := New(r.cfg)
	u.Want(want("2.0.0"))
	if err := r.run(u, nil); !errors.Is(err, ErrHandOver) {
		r.t.Fatal(err)
	}
	next := r.cfg
	launch := *r.cfg.Launch
	launch.Target, launch.Trial, launch.Settle, launch.Alone = r.dir.Target(slot.New), 1, time.Millisecond, time.Millisecond
	next.Version, next.Launch = "2.0.0", &launch
	return New(next)
}

func TestTrial(t *testing.T) {
	done := func(s Status) bool { return s.Phase == Done }
	for _, c := range []struct {
		name    string
		prepare func(*rig, *Upgrade)
		waiting string // "": kept
	}{
		{"healthy", func(*rig, *Upgrade) {}, ""},
		{"no pass yet", func(_ *rig, u *Upgrade) { u.asked = false }, "gone over its workloads"},
		{"a workload it doesn't know", func(r *rig, _ *Upgrade) { r.instances = map[string]string{"web": "other"} }, "running web"},
		{"no cloud", func(r *rig, _ *Upgrade) { r.cloud.Store(false) }, "no connection to the cloud"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			u := r.staged()
			u.Want(want("2.0.0"))
			c.prepare(r, u)
			if c.waiting == "" {
				if err := r.run(u, done); err != nil {
					t.Fatal(err)
				}
				if r.dir.Target(slot.Current) != u.cfg.Launch.Target || r.dir.Target(slot.Old) != r.cfg.Launch.Factory {
					t.Errorf("current %s, old %s", r.dir.Target(slot.Current), r.dir.Target(slot.Old))
				}
				agent, _ := u.Report()
				if got := string(agent.AppendJSON(nil)); got != `{"component":"gnomon-edge@2.0.0","version":"2.0.0"}` {
					t.Errorf("reported %s", got)
				}
				return
			}
			if err := r.run(u, func(s Status) bool { return len(s.Waiting) > 0 }); err != nil {
				t.Fatal(err)
			}
			h := r.dir.Health(u.cfg.Launch.Target)
			if len(h.Waiting) != 1 || !strings.Contains(h.Waiting[0], c.waiting) || h.Cloud != (c.name == "no cloud") {
				t.Errorf("waiting %+v", h)
			}
			if agent, _ := u.Report(); agent.Get("version").Text() != "1.2.0" {
				t.Errorf("reported %s while on trial", agent.AppendJSON(nil))
			}
		})
	}

	t.Run("no cloud before either", func(t *testing.T) {
		r := newRig(t)
		r.cloud.Store(false)
		u := r.staged()
		u.Want(nil)
		if err := r.run(u, done); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the one before is wanted again", func(t *testing.T) {
		r := newRig(t)
		u := r.staged()
		r.cloud.Store(false)
		u.Want(want("1.2.0"))
		if err := r.run(u, nil); !errors.Is(err, ErrHandOver) {
			t.Fatal(err)
		}
		if r.dir.Target(slot.New) != "" || r.dir.Target(slot.Current) != "" {
			t.Error("the trial goes on")
		}
	})
	t.Run("another is wanted", func(t *testing.T) {
		r := newRig(t)
		u := r.staged()
		r.component("3.0.0", "echo gnomon-edge 3.0.0")
		u.Want(want("3.0.0"))
		if err := r.run(u, nil); !errors.Is(err, ErrHandOver) {
			t.Fatal(err)
		}
		if i := r.dir.Intent(); i.Version != "3.0.0" || i.From != "2.0.0" || r.dir.Target(slot.Current) != u.cfg.Launch.Target {
			t.Errorf("%+v", i)
		}
	})
}

// A version that failed is not tried again for being called something else; one
// that failed for another's fault is, a few times.
func TestRemembered(t *testing.T) {
	for _, c := range []struct {
		retryable bool
		tried     []bool // after each next hour
	}{
		{false, []bool{false, false}},
		{true, []bool{true, true, false, false}},
	} {
		t.Run(fmt.Sprint(c.retryable), func(t *testing.T) {
			r := newRig(t)
			r.staged()
			r.component("2.0.0-again", "echo gnomon-edge 2.0.0")
			a := want("2.0.0")
			a.Component = "gnomon-edge@2.0.0-again"
			giveUp := func() {
				if err := errors.Join(r.dir.SetVerdict(slot.Verdict{Name: r.dir.Intent().Name, Code: "x", Retryable: c.retryable, At: r.now}), r.dir.Reject()); err != nil {
					t.Fatal(err)
				}
			}
			giveUp()
			r.now = r.now.Add(time.Minute)
			var tried []bool
			for range c.tried {
				u := New(r.cfg)
				u.Want(a)
				if err := r.run(u, failed("x")); err != nil {
					t.Fatal("too soon:", err)
				}
				r.now = r.now.Add(time.Hour)
				r.resolved.Store(0) // what failed before a start is told at once
				u = New(r.cfg)
				u.Want(a)
				handedOver := errors.Is(r.run(u, func(s Status) bool { return r.resolved.Load() > 0 && s.Phase == Failed }), ErrHandOver)
				tried = append(tried, handedOver)
				if handedOver {
					giveUp()
				}
			}
			if !slices.Equal(tried, c.tried) {
				t.Errorf("tried %v, want %v", tried, c.tried)
			}
		})
	}
}

// Versions that came to nothing don't pile up while an agent runs.
func TestRefused_LeavesNothing(t *testing.T) {
	r := newRig(t)
	r.staged()
	if err := r.dir.Reject(); err != nil { // one that is looked into stays
		t.Fatal(err)
	}
	u := New(r.cfg)
	u.Want(nil)
	var versions []string
	for i := range 4 {
		version := fmt.Sprintf("3.%d.0", i)
		r.component(version, "echo gnomon-edge 0.0."+fmt.Sprint(i))
		versions = append(versions, version)
	}
	i := 0
	if err := r.run(u, func(s Status) bool {
		if i == 0 || s.To == versions[i-1] && failed("version-mismatch")(s) {
			if i == len(versions) {
				return true
			}
			u.Want(want(versions[i]))
			i++
		}
		return false
	}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(r.data, "agent", "versions"))
	if err != nil || len(left) != 2 {
		t.Errorf("%v %v", left, err)
	}
}

// A program that doesn't answer is given up at once when something else is wanted,
// whatever it has started.
func TestOvertaken_WhileAProgramIsAsked(t *testing.T) {
	r := newRig(t)
	asked := filepath.Join(r.data, "asked")
	r.component("2.0.0", "sleep 25 &\ntouch "+asked+"\nwait\necho gnomon-edge 2.0.0")
	u := New(r.cfg)
	u.Want(want("2.0.0"))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	go func() {
		for range 4000 {
			if _, err := os.Stat(asked); err == nil {
				break
			}
			<-tick.C
		}
		u.Want(nil)
	}()
	began := time.Now()
	if err := r.run(u, func(s Status) bool { return s.Phase == "" && r.resolved.Load() > 0 }); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestLower(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1.4.0", "1.10.0", true}, {"v1.4", "1.4.1", true}, {"1.4.0-rc1", "1.4.0", true}, {"1.4.0", "1.4.0-rc1", false},
		{"1.4.0", "1.4.0", false}, {"2.0.0", "1.9.9", false}, {"1.4.0-3-g12ab34c", "1.4.0", false}, {"1.4.0", "1.4.0-3-g12ab34c", false},
		{"88a23ba", "1.0.0", false}, {"1.0.0", "88a23ba", false}, {"dev", "dev", false}, {"1.0.0+x", "1.0.0", false}, {"1.2.3.4", "1.2.3", false},
		{"1.4.0-rc.2", "1.4.0-rc.10", true}, {"1.4.0-rc.10", "1.4.0-rc.2", false}, {"1.4.0-rc", "1.4.0-rc.1", true}, {"1.4.0-2", "1.4.0-rc", true},
	} {
		if got := lower(c.a, c.b); got != c.want {
			t.Errorf("lower(%s, %s) = %v", c.a, c.b, got)
		}
	}
}
