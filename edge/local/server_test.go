package local

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/health/usage"
	"gnomon/edge/override"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
	"gnomon/shadow"
)

// agent is what stands behind a server under test.
type agent struct {
	mu       sync.Mutex
	made     []override.Change
	restarts []string
	refuse   error
	blocked  chan struct{} // when set, Restart waits for it
	hurried  time.Time
	wrote    string
	kept     kept
}

func (a *agent) Make(c override.Change) (override.Told, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made = append(a.made, c)
	return override.Told{Name: c.App, Override: schema.Override{Kind: schema.OverrideChanged, By: c.By, Reason: c.Reason}}, a.refuse
}
func (a *agent) Check(override.Change) error { return a.refuse }
func (a *agent) Clear(string) error          { return a.refuse }
func (a *agent) All() []override.Told {
	return []override.Told{{Name: "web", Override: schema.Override{Kind: schema.OverrideChanged}}}
}
func (a *agent) Wanted(app string) (desired, wanted *shadow.Value) {
	if app != "web" {
		return nil, nil
	}
	return shadow.NewObject(), shadow.NewObject(shadow.Member{Key: "state", Value: shadow.Text("stopped")})
}
func (a *agent) Restart(ctx context.Context, app string) error {
	a.mu.Lock()
	a.restarts = append(a.restarts, app)
	blocked := a.blocked
	a.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
		}
	}
	return a.refuse
}
func (a *agent) Plan(_ context.Context, changes ...loop.Change) (loop.DryRun, error) {
	out := loop.DryRun{}
	for _, c := range changes {
		if c.Delete {
			out.Steps = append(out.Steps, loop.DryStep{App: c.App, Step: "remove"})
		}
	}
	return out, nil
}

// Usage has been measured just when somebody asked for that.
func (a *agent) Hurry() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hurried = time.Now()
}

func (a *agent) Usage() usage.Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return usage.Snapshot{At: a.hurried, Node: usage.Node{Cores: 2}}
}

// serve starts a server in a directory and returns a client for it.
func serve(t *testing.T, a *agent) (*Client, string) {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{
		Status: func() Status {
			return Status{Node: "n", Status: loop.Status{Applications: []loop.Application{{Name: "web", Phase: "running"}}}}
		},
		Overrides: a, Wanted: a, Loop: a, Usage: a, Meters: a, Readings: &a.kept, Reader: &a.kept, Shim: "/shim",
		LogPath:  func(app string) string { return filepath.Join(dir, app+".log") },
		Instance: func(app string) (instance.Dir, error) { return instance.Dir("/run/" + app), nil },
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return NewClient(dir), dir
}

func TestServer_ChangesAreOverrides(t *testing.T) {
	a := &agent{}
	c, _ := serve(t, a)
	var out Outcome
	if err := c.Ask(t.Context(), http.MethodPatch, "/v1/applications/web", Change{Patch: []byte(`{"state":"stopped"}`), Reason: "r", By: "ann", For: schema.Duration(time.Hour)}, &out); err != nil {
		t.Fatal(err)
	}
	made := a.made[0]
	if made.Do != override.Patch || made.App != "web" || made.Reason != "r" || made.For != time.Hour || made.By != "ann (root)" || made.Value.Get("state").Text() != "stopped" {
		t.Errorf("%+v", made)
	}
	if out.Override == nil || out.Override.By != "ann (root)" {
		t.Errorf("%+v", out.Override)
	}
	for _, test := range []struct {
		method, app, header string
		body                Change
		want                override.Action
	}{
		{http.MethodPut, "web", "", Change{Wanted: []byte(`{}`)}, override.Replace},
		{http.MethodPut, "web", "If-None-Match", Change{Wanted: []byte(`{}`)}, override.Install},
		{http.MethodPut, "new", "", Change{Wanted: []byte(`{}`)}, override.Install},
		{http.MethodPut, "new", "If-Match", Change{Wanted: []byte(`{}`)}, override.Replace},
		{http.MethodDelete, "web", "", Change{}, override.Remove},
	} {
		a.made = nil
		headers := []string{}
		if test.header != "" {
			headers = []string{test.header, "*"}
		}
		if err := c.Ask(t.Context(), test.method, "/v1/applications/"+test.app, test.body, nil, headers...); err != nil || a.made[0].Do != test.want {
			t.Errorf("%+v: %v, %+v", test, err, a.made)
		}
	}
	a.made = nil
	if err := c.Ask(t.Context(), http.MethodDelete, "/v1/applications/web", Change{Dry: true}, &out); err != nil || len(a.made) != 0 || len(out.Plan.Steps) != 1 {
		t.Errorf("dry: %v, made %v, plan %v", err, a.made, out.Plan)
	}
	if err := c.Ask(t.Context(), http.MethodPost, "/v1/applications/web/restart", nil, nil); err != nil || len(a.restarts) != 1 {
		t.Errorf("%v %v", err, a.restarts)
	}
	var app Application
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/applications/web", nil, &app); err != nil || string(app.Wanted) != `{"state":"stopped"}` || app.Override == nil {
		t.Errorf("%v %+v", err, app)
	}
	var used usage.Snapshot
	asked := time.Now()
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/usage", nil, &used); err != nil || used.Node.Cores != 2 || used.At.Before(asked) {
		t.Errorf("%v %+v", err, used)
	}
	var in Entry
	if err := c.Ask(t.Context(), http.MethodPost, "/v1/applications/web/exec", nil, &in); err != nil || in != (Entry{"/run/web", "/shim"}) {
		t.Errorf("%v %+v", err, in)
	}
}

func TestServer_RefusesWithAProblem(t *testing.T) {
	a := &agent{}
	c, _ := serve(t, a)
	for _, test := range []struct {
		method, path string
		body         any
		refuse       error
		status       int
		text         string
	}{
		{"GET", "/v1/applications/none", nil, nil, 404, "no such application: none; gnomon-edge list"},
		{"GET", "/v1/none", nil, nil, 404, "GET /v1/none is not served"},
		{"PATCH", "/v1/applications/web", Change{}, nil, 400, "patch is missing"},
		{"PATCH", "/v1/applications/web", Change{Patch: []byte(`7`)}, nil, 400, "patch must be an object"},
		{"PATCH", "/v1/applications/web", map[string]any{"petch": 1}, nil, 400, `unknown field "petch"`},
		{"PATCH", "/v1/applications/web", Change{Patch: []byte(`{}`), For: -1}, nil, 400, "for must not be negative"},
		{"PATCH", "/v1/applications/web", map[string]any{"reason": strings.Repeat("x", maxBody)}, nil, 413, "more than 1048576 bytes"},
		{"PATCH", "/v1/applications/web", Change{Patch: []byte(`{}`)}, override.ErrDisabled, 403, "takes no changes on the node"},
		{"PATCH", "/v1/applications/web", Change{Patch: []byte(`{}`)}, override.ErrLease, 400, "bad lease"},
		{"PATCH", "/v1/applications/web", Change{Patch: []byte(`{}`)}, errors.New("disk full"), 500, "disk full; look at the agent's log"},
		{"POST", "/v1/applications/web/restart", nil, loop.ErrStopped, 409, "gnomon-edge start"},
		{"DELETE", "/v1/overrides/web", nil, override.ErrNone, 404, "gnomon-edge override list"},
		{"GET", "/v1/applications/web/logs?tail=x", nil, nil, 400, "must be a number of lines"},
		{"GET", "/v1/applications/web/logs?since=x", nil, nil, 400, "RFC 3339"},
	} {
		a.refuse = test.refuse
		err := c.Ask(t.Context(), test.method, test.path, test.body, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Status != test.status || !strings.Contains(err.Error(), test.text) || p.Title == "" {
			t.Errorf("%s %s: %v, want %d with %q", test.method, test.path, err, test.status, test.text)
		}
	}
}

// The kernel says who asks, so the rights of the file alone keep nobody out or in.
func TestServer_LetsInRootAndItselfAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("becoming somebody else needs root: run the tests as root")
	}
	c, dir := serve(t, &agent{})
	if st, err := os.Stat(filepath.Join(dir, SocketName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, st.Mode())
	}
	for _, path := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)), filepath.Join(dir, SocketName)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	conn := make(chan net.Conn, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its other user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0)); errno != 0 {
			t.Error(errno)
		}
		nc, err := net.Dial("unix", filepath.Join(dir, SocketName))
		if err != nil {
			t.Error(err)
		}
		conn <- nc
	}()
	nc := <-conn
	if nc == nil {
		return
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "GET /v1/status HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(nc)
	if err != nil || !strings.Contains(string(answer), "403 Forbidden") || !strings.Contains(string(answer), "user 65534 may not ask") {
		t.Errorf("%v: %s", err, answer)
	}
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/status", nil, nil); err != nil {
		t.Error(err)
	}
}

// More connections than are served wait, and cost those that are nothing.
func TestServer_BoundsConnections(t *testing.T) {
	a := &agent{blocked: make(chan struct{})}
	c, dir := serve(t, a)
	var idle []net.Conn
	for range maxConnections {
		nc, err := dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, nc)
	}
	answered := make(chan error, 1)
	go func() { answered <- c.Ask(context.Background(), http.MethodGet, "/v1/status", nil, nil) }()
	select {
	case err := <-answered:
		t.Errorf("answered beyond the limit: %v", err)
	case <-time.After(50 * time.Millisecond): // long enough to be wrong
	}
	idle[0].Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	for _, nc := range idle {
		nc.Close()
	}
}

func TestClient_NoAgent(t *testing.T) {
	dir := t.TempDir()
	if err := NewClient(dir).Ask(t.Context(), http.MethodGet, "/v1/status", nil, nil); !errors.Is(err, ErrNoAgent) {
		t.Error(err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // as a killed agent leaves it
		t.Fatal(err)
	}
	if err := NewClient(dir).Ask(t.Context(), http.MethodGet, "/v1/status", nil, nil); !errors.Is(err, ErrNoAgent) {
		t.Error(err)
	}
}
