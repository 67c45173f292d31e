package cloudproc_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
)

func TestMain(m *testing.M) { os.Exit(cloudtest.Main(m)) }

func start(t *testing.T, cfg cloudproc.Config) *cloudproc.Cloud {
	t.Helper()
	c, err := cloudproc.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func TestStartsServesDiesAndStartsAgain(t *testing.T) {
	cfg := cloudtest.Config(t)
	first := start(t, cfg)
	if err := first.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	if err := syscall.Kill(first.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("after Kill the process is still there: %v", err)
	}
	if err := first.Stop(time.Second); !errors.Is(err, cloudproc.ErrExited) {
		t.Errorf("Stop of a dead cloud: %v, want ErrExited", err)
	}
	second := start(t, cfg) // same data, same ports
	if err := second.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get("http://" + cfg.HTTP + "/livez"); err == nil {
		resp.Body.Close()
		t.Error("served after Stop")
	}
}

func TestReadySaysWhyItNeverWill(t *testing.T) {
	cfg := cloudtest.Config(t)
	cfg.Args = []string{"--no-such-flag"}
	if err := start(t, cfg).Ready(t.Context()); !errors.Is(err, cloudproc.ErrExited) || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("got %v, want ErrExited with the cloud's own words", err)
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	cfg := cloudtest.Config(t)
	cfg.Binary = "/bin/cat" // runs, and never serves
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	c := start(t, cfg)
	if err := c.Ready(ctx); err == nil {
		t.Error("cat became ready")
	}
}

func TestABinaryThatIsNotThere(t *testing.T) {
	cfg := cloudtest.Config(t)
	cfg.Binary = "/no/such/gnomon"
	if _, err := cloudproc.Start(cfg); err == nil {
		t.Error("started")
	}
	if _, err := cloudproc.Beside("no-such-program"); err == nil {
		t.Error("found")
	}
}

func TestFreeAddressIsNotGivenTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 1_000 { // as many as experiments side by side ask for before they listen
		address, err := cloudproc.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
	}
}
