package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gnomon": main})
}

// server is a whole cloud in this process.
type server struct {
	http, mqtt string
	stop       func()
}

// startCloud runs a cloud on free ports until the test ends.
func startCloud(t testing.TB, dir string) *server {
	t.Helper()
	cfg := defaultCloudConfig()
	cfg.Dev, cfg.Data, cfg.LogLevel = true, dir, "warn"
	cfg.HTTP, cfg.MQTT = freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cfg.run(ctx, os.Stderr) }()
	s := &server{http: "http://" + cfg.HTTP, mqtt: cfg.MQTT}
	s.stop = func() {
		cancel()
		if err, ok := <-ended; ok {
			close(ended)
			if err != nil {
				t.Errorf("cloud: %v", err)
			}
		}
	}
	t.Cleanup(s.stop)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(s.http + "/readyz")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cloud does not get ready: %v", err)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestScripts runs the command line against a real cloud, one per script. What
// the scripts may say is in testscript's own documentation; $SERVER is set.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			s := startCloud(t, filepath.Join(e.WorkDir, "data"))
			e.Defer(s.stop)
			e.Setenv("GNOMON_SERVER", s.http)
			e.Setenv("SERVER", s.http)
			e.Setenv("TZ", "UTC")
			return nil
		},
	})
}
