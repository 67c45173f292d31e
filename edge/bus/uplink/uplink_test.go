package uplink

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/bus/devices"
	"gnomon/edge/state"
	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A broker that announces a huge packet is left at once, before there is room made
// for it: as an answer to CONNECT, and later. That it was left over and over costs
// no memory either.
func TestRun_HugePacket(t *testing.T) {
	for name, text := range map[string]string{
		"before the session": "\x20\xff\xff\xff\x7f",
		"in the session":     "\x20\x03\x00\x00\x00\x30\xff\xff\xff\x7f",
	} {
		t.Run(name, func(t *testing.T) {
			disk, err := state.Open(state.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			d, err := devices.New(devices.Config{Store: disk, Epoch: disk, Publish: func(string, []byte) {}})
			if err != nil {
				t.Fatal(err)
			}
			d.Serve(&schema.NodeDevices{Names: []string{"pump"}})
			var peers sync.WaitGroup
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ctx, cancel := context.WithCancel(t.Context())
			sessions := 0
			var u *Uplink
			u = New(Config{Node: "n", Devices: d, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, Dial: func(context.Context) (net.Conn, error) {
				if problem := u.Status().Problem; sessions > 0 && !strings.Contains(problem, "more than 524288 bytes") {
					t.Errorf("the session ended with: %s", problem)
				}
				if sessions++; sessions > 3 {
					cancel()
					return nil, context.Canceled
				}
				far, near := net.Pipe()
				peers.Go(func() {
					defer far.Close()
					_, _ = far.Read(make([]byte, 1024)) // what it says doesn't matter
					peers.Go(func() { _, _ = io.WriteString(far, text) })
					_, _ = io.Copy(io.Discard, far) // until it is left
				})
				return near, nil
			}})
			if err := u.Run(ctx); err != nil {
				t.Error(err)
			}
			peers.Wait()
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
				t.Errorf("%d MiB were allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		})
	}
}
