package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
	return startCloudSaying(t, dir, "ok\n")
}

// startCloudSaying is startCloud for one that /readyz says something else of.
func startCloudSaying(t testing.TB, dir, readiness string) *server {
	t.Helper()
	for {
		s, err := tryCloud(t, dir, readiness)
		switch {
		case err == nil:
			return s
		case !errors.Is(err, syscall.EADDRINUSE): // a port that was free may be somebody's by now
			t.Fatal(err)
		}
	}
}

func tryCloud(t testing.TB, dir, readiness string) (*server, error) {
	t.Helper()
	cfg := defaultCloudConfig()
	cfg.Dev, cfg.Data, cfg.LogLevel = true, dir, "warn"
	cfg.HTTP, cfg.MQTT = freeAddresses(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cfg.run(ctx, os.Stderr) }()
	s := &server{http: "http://" + cfg.HTTP, mqtt: cfg.MQTT}
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("cloud: %v", err)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get(s.http + "/readyz")
		if err == nil {
			body, _ := io.ReadAll(resp.Body) // what isn't there doesn't say it
			resp.Body.Close()
			if strings.Contains(string(body), readiness) {
				t.Cleanup(s.stop)
				return s, nil
			}
		}
		select {
		case err := <-ended:
			cancel()
			return nil, fmt.Errorf("the cloud has ended: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			cancel()
			return nil, fmt.Errorf("the cloud does not get ready: %w; it ended with %w", err, <-ended)
		}
	}
}

// freeAddresses are two that nobody has just now, and not the same one twice.
func freeAddresses(t testing.TB) (a, b string) {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String()
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
