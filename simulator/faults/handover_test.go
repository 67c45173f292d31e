package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gnomon/simulator/cloudtest"
	"gnomon/simulator/edgeproc"
)

// visitor asks an address again and again, with a connection each time.
type visitor struct {
	mu     sync.Mutex
	seen   map[string]int // answers
	failed []string
}

func (v *visitor) run(ctx context.Context, url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for ctx.Err() == nil {
		answer, err := client.Get(url)
		var text []byte
		if err == nil {
			text, err = io.ReadAll(answer.Body)
			_ = answer.Body.Close()
		}
		v.mu.Lock()
		if err != nil {
			v.failed = append(v.failed, err.Error())
		} else {
			v.seen[string(text)]++
		}
		v.mu.Unlock()
	}
}

func (v *visitor) saw(answer string) (int, []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[answer], v.failed
}

// Who visits an application all the time notices nothing of one version that takes
// over from another, nor of one that can't.
func TestHandOver_LeavesNoGap(t *testing.T) {
	// What waits to be accepted by a socket that is closed goes to another of the port.
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte("1"), 0o644); err != nil {
		t.Skip("this kernel loses connections when one of several sockets of a port is closed:", err)
	}
	program := filepath.Join(t.TempDir(), "web")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testdata/web").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	cfg := Config{Cloud: cloudtest.Config(t), Agent: build(t, "gnomon-edge", "0"), Shim: build(t, "gnomon-shim", "1"), Busybox: "/bin/busybox"}
	cfg.Dir = filepath.Dir(cfg.Cloud.Data)
	r, err := newRig(t.Context(), cfg)
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	web := func(round, more string) string {
		return fmt.Sprintf(`{"mode":"host","update":{"strategy":"start-first","shared":true,"healthy":"1s"},"run":{"command":[%q,%q],"env":{"ROUND":%q%s},
			"health":{"http":{"port":%d},"startPeriod":"1s","interval":"1s"}}}`, program, address, round, more, port)
	}
	tr := &trial{rig: r, ctx: t.Context(), name: "victim"}
	tr.put(tr.name, web("first", ""))
	tr.converge(tr.name)
	before := tr.pid(tr.name)

	ctx, stop := context.WithCancel(t.Context())
	v := visitor{seen: map[string]int{}}
	done := make(chan struct{})
	go func() { defer close(done); v.run(ctx, "http://"+address) }()
	met := func(answer string, times int) {
		n, _ := v.saw(answer)
		tr.until("answers of "+answer, func() (bool, string) {
			now, failed := v.saw(answer)
			return now >= n+times, fmt.Sprint(now, " ", failed)
		})
	}
	met("first", 50)
	tr.put(tr.name, web("second", ""))
	tr.replaced(tr.name, before)
	tr.until("the former instance to be gone", func() (bool, string) { return edgeproc.Ticks(before) == "", "" })
	met("second", 50)
	after := tr.pid(tr.name)
	tr.put(tr.name, web("third", `,"BROKEN":"yes"`))
	tr.hear(tr.name, "rolled-back")
	tr.serving(after)
	met("second", 50)
	stop()
	<-done
	tr.judge()
	if tr.err != nil {
		t.Error(tr.err)
	}
	if _, failed := v.saw("third"); len(failed) > 0 && failed[0] != "" {
		t.Errorf("%d failures, the first: %s", len(failed), failed[0])
	}
	first, _ := v.saw("first")
	second, _ := v.saw("second")
	if third, _ := v.saw("third"); third > 0 {
		t.Error("what is broken has answered")
	}
	t.Logf("%d answers of the first, %d of the second", first, second)
}
