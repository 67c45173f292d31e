package endtoend

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// launched is a node whose agent is started by a launcher.
type launched struct {
	*edge
	c        *api
	launcher string
	factory  string
	inbox    string
	dir      string
}

// build builds a program of the tests.
func build(t *testing.T, path, pkg, version string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version="+version, "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", pkg, err, out)
	}
}

const agentPackage = "gnomon/edge/cmd/gnomon-edge"

// newLaunched builds version 1.0.0 and lays it where a package would.
func newLaunched(t *testing.T) *launched {
	t.Helper()
	c := newCloud(t)
	l := &launched{edge: newEdge(t, c.cfg.MQTT), c: c, dir: t.TempDir()}
	l.factory, l.inbox = filepath.Join(l.dir, "lib"), filepath.Join(l.data, "inbox")
	l.launcher = filepath.Join(l.factory, "gnomon-launch")
	build(t, l.launcher, "gnomon/edge/cmd/gnomon-launch", "1.0.0")
	build(t, filepath.Join(l.factory, "gnomon-edge"), agentPackage, "1.0.0")
	if err := os.Link(shimPath, filepath.Join(l.factory, "gnomon-shim")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

// component returns the directory of a component of the agent, empty yet.
func (l *launched) component(version string) string {
	dir := filepath.Join(l.inbox, "gnomon-edge@"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	return dir
}

// archive makes a component of one program, and returns its digest.
func (l *launched) archive(version, program string) string {
	l.t.Helper()
	f, err := os.Create(filepath.Join(l.inbox, "gnomon-edge@"+version+".tar"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	w := tar.NewWriter(io.MultiWriter(f, h))
	b, err := os.ReadFile(program)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := w.WriteHeader(&tar.Header{Name: "gnomon-edge", Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		l.t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		l.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func (l *launched) launch() {
	l.t.Helper()
	l.agent = exec.Command(l.launcher, "--data", l.data, "--settle", "300ms", "--trial", "5s", "--", "run", "--dev",
		"--cloud", "mqtt://"+l.cloud, "--node", l.name, "--cgroup", l.cgroup())
	l.agent.Stdout, l.agent.Stderr = l.log, l.log
	if err := l.agent.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// want says which version the node is to have.
func (l *launched) want(agent string) {
	l.t.Helper()
	if code, text := l.c.do(http.MethodPut, "/v1/nodes/"+l.name, `{"node":{"site":"s-1","agent":`+agent+`}}`); code/100 != 2 {
		l.t.Fatalf("put node: %d %s", code, text)
	}
}

type nodeReport struct {
	Agent   struct{ Version, Component, Digest string }
	Upgrade struct {
		Phase, From, To string
		Error           *struct {
			Code, Message string
			Retryable     bool
		}
	}
}

// reported is what the cloud was told, and whether the node has converged.
func (l *launched) reported() (n nodeReport, converged bool) {
	l.t.Helper()
	code, text := l.c.do(http.MethodGet, "/v1/nodes/"+l.name, "")
	if code == http.StatusNotFound {
		return n, false
	}
	var r struct {
		Reported struct{ Node nodeReport }
		Status   struct{ Converged bool }
	}
	if err := json.Unmarshal(text, &r); err != nil || code != http.StatusOK {
		l.t.Fatalf("get node: %d %s: %v", code, text, err)
	}
	return r.Reported.Node, r.Status.Converged
}

// runs waits until the node has a version for good.
func (l *launched) runs(version string) {
	l.t.Helper()
	until(l.t, "version "+version, func() bool {
		n, converged := l.reported()
		return n.Agent.Version == version && n.Upgrade.Phase == "done" && converged
	})
}

// fails waits until a version is reported as failed.
func (l *launched) fails(version, code, message string) {
	l.t.Helper()
	until(l.t, version+" to fail with "+code, func() bool {
		n, converged := l.reported()
		e := n.Upgrade.Error
		return n.Upgrade.To == version && n.Upgrade.Phase == "failed" && e != nil && e.Code == code && strings.Contains(e.Message, message) && !converged
	})
}

// The workloads of all modes keep their processes while the agent becomes
// another, and another again, and while it can't.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	l := newLaunched(t)
	l.launch()
	until(t, "version 1.0.0", func() bool { n, _ := l.reported(); return n.Agent.Version == "1.0.0" })
	l.c.put(l.name, "apps/web", container(""))
	l.c.put(l.name, "apps/probe", attached)
	l.c.put(l.name, "apps/sampler", onHost)
	all := []string{"apps/web", "apps/probe", "apps/sampler"}
	l.c.converge(l.name, all...)
	before := l.await("all to run", func(s *status) bool { return len(s.pids()) == len(all) }).pids()
	started := map[string]string{}
	for name, pid := range before {
		started[name] = began(t, pid)
	}
	same := func(when string) {
		t.Helper()
		now := l.await("all to run "+when, func(s *status) bool { return len(s.pids()) == len(all) }).pids()
		for name, pid := range before {
			if now[name] != pid || began(t, pid) != started[name] {
				t.Errorf("%s: %s had pid %d and has %d", when, name, pid, now[name])
			}
		}
	}

	// 2.0.0 comes as an archive with the digest that is asked for.
	two := filepath.Join(l.dir, "two")
	build(t, two, agentPackage, "2.0.0")
	digest := l.archive("2.0.0", two)
	l.want(`{"version":"2.0.0","digest":"sha256:` + strings.Repeat("0", 64) + `"}`)
	l.fails("2.0.0", "digest-mismatch", digest)
	l.want(`{"version":"2.0.0","digest":"` + digest + `"}`)
	l.runs("2.0.0")
	same("after the upgrade")

	// 3.0.0 panics. After three bad starts 2.0.0 is back, says so, and stays.
	build(t, filepath.Join(l.component("3.0.0"), "gnomon-edge"), "./testdata/crashing", "3.0.0")
	l.want(`{"version":"3.0.0"}`)
	l.fails("3.0.0", "crashed", "3 bad starts, the last one: exit status 2")
	same("after a version that crashes")
	l.kill()
	l.launch() // it is remembered
	l.fails("3.0.0", "crashed", "3 bad starts")

	// 4.0.0 starts, and never finds the cloud.
	four := filepath.Join(l.dir, "four")
	build(t, four, agentPackage, "4.0.0")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = version ] || set -- \"$@\" --cloud mqtt://127.0.0.1:1 --shim %s\nexec %s \"$@\"\n", shimPath, four)
	if err := os.WriteFile(filepath.Join(l.component("4.0.0"), "gnomon-edge"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	l.want(`{"version":"4.0.0"}`)
	l.fails("4.0.0", "no-cloud", "no connection to the cloud")
	same("after a version that never gets healthy")

	// Back to what was there before, if that is said in so many words.
	if err := os.Link(filepath.Join(l.factory, "gnomon-edge"), filepath.Join(l.component("1.0.0"), "gnomon-edge")); err != nil {
		t.Fatal(err)
	}
	l.want(`{"version":"1.0.0"}`)
	l.fails("1.0.0", "downgrade", "lower than 2.0.0")
	l.want(`{"version":"1.0.0","downgrade":true}`)
	l.runs("1.0.0")
	same("after the way back")
	if n := len(l.processes("")); n == 0 {
		t.Error("nothing runs")
	}
}

// Agent and launcher are killed at any moment of upgrades there and back; one of
// the versions is always there in the end, and it is the one asked for.
func TestUpgrade_Killed(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l := newLaunched(t)
	l.launch()
	build(t, filepath.Join(l.component("2.0.0"), "gnomon-edge"), agentPackage, "2.0.0")
	if err := os.Link(filepath.Join(l.factory, "gnomon-edge"), filepath.Join(l.component("1.0.0"), "gnomon-edge")); err != nil {
		t.Fatal(err)
	}
	l.c.put(l.name, "apps/sampler", onHost)
	l.c.converge(l.name, "apps/sampler")
	before := l.await("it to run", func(s *status) bool { return len(s.pids()) == 1 }).pids()
	for i := range 4 {
		version := []string{"2.0.0", "1.0.0"}[i%2]
		l.want(`{"version":"` + version + `","downgrade":true}`)
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond) // the moment is what is random
		if i%3 == 2 {
			if s := l.ask(); s != nil && s.PID > 1 {
				p, err := os.FindProcess(s.PID)
				if err == nil {
					_ = p.Kill() // the agent alone; if it has ended, so much the better
				}
			}
		} else {
			l.kill()
			l.launch()
		}
		l.runs(version)
	}
	now := l.await("it to run", func(s *status) bool { return len(s.pids()) == 1 }).pids()
	if now["sampler"] != before["sampler"] {
		t.Errorf("pid %d before, %d after", before["sampler"], now["sampler"])
	}
}
